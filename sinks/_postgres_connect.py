"""Getting to the server: a URI that no repr shows, TLS that is verified unless told otherwise, and a pool."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from socket import gaierror
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from ._extras import needs_extra
from ._postgres_table import quote_ident

with needs_extra("postgres"):
    import asyncpg

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from asyncpg.pool import PoolConnectionProxy
    from pydantic import SecretStr

    Mode: TypeAlias = Literal["disable", "prefer", "allow", "require", "verify-ca", "verify-full"]
    Tls: TypeAlias = ssl.SSLContext | Mode | bool | None
    Connection: TypeAlias = PoolConnectionProxy[asyncpg.Record]
    Bare: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Teach: TypeAlias = Callable[[Bare], Any]  # a coroutine, for which mypy and pyright know no common name

# Closed after so long without use, before a firewall forgets it in silence.
_IDLE_SECONDS: Final = 300.0
_LOOPBACK: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})
_DEFAULT_PORT: Final = 5432
# Another host may do better than one that is away, starting up, or no primary.
_NEXT_PLACE: Final = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.TargetServerAttributeNotMatched,
)
_NO_STATEMENTS: Final[dict[str, Any]] = {"statement_cache_size": 0}
_IS_PREPARED: Final = """
SELECT name FROM pg_catalog.pg_prepared_statements WHERE statement LIKE '%does sinkwell keep this?%' LIMIT 1
"""
_HAS_PORT: Final = re.compile(r"(?:^[^\[:/]*|\]):[^:]*$")


class Dsn:
    """A connection URI. It may hold a password, so only `reveal` gives it away; no repr and no message do.

    Args:
        uri: `postgresql://user:password@host:port/database?sslmode=...`; what it leaves out, asyncpg takes from
            libpq's `PG*` variables.
    """

    __slots__ = ("_uri",)

    def __init__(self, uri: str | SecretStr) -> None:
        self._uri = uri if isinstance(uri, str) else uri.get_secret_value()

    def __repr__(self) -> str:
        return "Dsn(**********)"

    def reveal(self) -> str:
        """Return the URI."""
        return self._uri

    def problem(self) -> str | None:
        """Tell in a sentence, without any part of the URI, why it can't be one."""
        try:
            scheme = urlsplit(self._uri).scheme
        except ValueError:
            scheme = ""
        if scheme not in ("postgresql", "postgres"):
            return "dsn must begin with postgresql:// and be a URI"
        ports = [place.rpartition(":")[2] for place in self._places() if _HAS_PORT.search(place)]
        if not all(port.isdigit() for port in ports):
            return "dsn has a port that is no number: percent-encode the special characters of its password"
        return None

    def places(self) -> list[tuple[str, int | None]]:
        """Return each host with its port, if that is told."""
        places = self._places()
        ports = (self._said("port", "PGPORT") or "").split(",")
        if len(ports) != len(places):
            ports = ports[:1] * len(places)
        beside = [place.rpartition(":")[2] if _HAS_PORT.search(place) else "" for place in places]
        told = (one or other for one, other in zip(beside, ports, strict=True))
        return [
            (_host_of(place), int(port) if port.isdigit() else None) for place, port in zip(places, told, strict=True)
        ]

    def has(self, name: str, variable: str) -> bool:
        """Tell whether the URI, or libpq's variable, sets something."""
        return self._said(name, variable) is not None

    def _said(self, name: str, variable: str) -> str | None:
        said = parse_qs(urlsplit(self._uri).query).get(name)
        return said[-1] if said else os.environ.get(variable) or None

    def _places(self) -> list[str]:
        """Return each `host:port`, as the URI or libpq's variable tells them; an empty one is a unix socket."""
        parts = urlsplit(self._uri)
        named = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", []))
        return (named or os.environ.get("PGHOST", "")).split(",")

    def tls(self) -> Tls:
        """Choose TLS: (1) what the URI or libpq's variable says, (2) none needed here, (3) verified, host included."""
        mode, root = self._said("sslmode", "PGSSLMODE"), self._said("sslrootcert", "PGSSLROOTCERT")
        if mode in ("verify-ca", "verify-full") and root in (None, "system"):
            return self._verified(is_named=mode == "verify-full")
        if mode is not None:
            return None
        if root not in (None, "system"):
            return "verify-full"
        is_elsewhere = self._said("service", "PGSERVICE") is not None
        if root is None and not is_elsewhere and all(_is_here(host) for host in map(_host_of, self._places())):
            return None
        return self._verified(is_named=True)

    def _verified(self, *, is_named: bool) -> ssl.SSLContext:
        """Trust the system's authorities; show the client's own certificate, if there is one."""
        context = ssl.create_default_context()
        context.check_hostname = is_named
        certificate = self._said("sslcert", "PGSSLCERT")
        if certificate is not None:
            password = self._said("sslpassword", "PGSSLPASSWORD")
            context.load_cert_chain(certificate, self._said("sslkey", "PGSSLKEY"), password)
        return context


def _is_here(host: str) -> bool:
    return host in _LOOPBACK or host.startswith("/")


def _host_of(place: str) -> str:
    if place.count(":") > 1 and not place.startswith("["):
        return place  # a bare IPv6 address, as PGHOST has them
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place.partition(":")[0].replace("%2F", "/").replace("%2f", "/")


class Route:
    """The way to a server that takes writes: each host of the URI in turn, with its share of the time.

    asyncpg (0.32) has one deadline for all hosts, so that one which never answers would hide the others, and asks no
    other host where one is starting up.

    Args:
        dsn: which hosts.
        timeout: seconds for all of them.
        tls: overrides what the URI and the host ask for.
    """

    def __init__(self, dsn: Dsn, *, timeout: float, tls: Tls) -> None:
        self._dsn = dsn
        self._timeout = timeout
        places = dsn.places()
        # One place is left to asyncpg, which also knows service files.
        self._places = places if len(places) > 1 else [None]
        # The one that was right last.
        self._first = 0
        self._options: dict[str, Any] = {"ssl": dsn.tls() if tls is None else tls}
        if not dsn.has("target_session_attrs", "PGTARGETSESSIONATTRS"):
            self._options["target_session_attrs"] = "read-write"

    async def connect(self, *_: object, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
        """Connect to the first host that is the right one; a pool calls this for each of its connections."""
        loop = asyncio.get_running_loop()
        deadline, count = loop.time() + self._timeout, len(self._places)
        for tried in range(count):
            index = (self._first + tried) % count
            share = max(0.0, deadline - loop.time()) / (count - tried)
            try:
                connection = await self._connect_to(self._places[index], share, options)
            except _NEXT_PLACE:
                if tried == count - 1:
                    raise
            else:
                self._first = index
                return connection
        raise AssertionError

    async def _connect_to(
        self, place: tuple[str, int | None] | None, timeout: float, options: dict[str, Any]
    ) -> asyncpg.Connection[asyncpg.Record]:
        chosen: dict[str, Any] = {**options, **self._options, "timeout": timeout}
        if place is not None:
            chosen |= {"host": place[0] or None, "port": place[1] or _DEFAULT_PORT}
        return await asyncpg.connect(self._dsn.reveal(), **chosen)

    async def is_shared(self) -> bool:
        """Tell whether a pooler such as PgBouncer stands before the server."""
        connection = await self.connect(**_NO_STATEMENTS)
        try:
            return await is_shared(connection)
        finally:
            connection.terminate()


async def is_shared(connection: Connection | asyncpg.Connection[asyncpg.Record]) -> bool:
    """Tell whether the server's session is another than the one that greeted us: a pooler makes up the greeting.

    Asked in the one way that prepares no statement, which would stay behind in a session that others use as well.
    """
    pid = connection.get_server_pid()
    return await connection.execute(f"SELECT WHERE pg_catalog.pg_backend_pid() = {pid:d}") != "SELECT 1"


async def keeps_statements(connection: Connection) -> bool:
    """Tell whether the client prepares statements that a pooler might mix up with another client's."""
    async with connection.transaction():
        name = await connection.fetchval(_IS_PREPARED)
        # PgBouncer 1.21 and later can keep clients' statements apart, under names of its own.
        if name is None or str(name).startswith("PGBOUNCER_"):
            return False
        await connection.execute(f"DEALLOCATE {quote_ident(str(name))}")
        return True


async def _leave_as_it_is(_connection: object) -> None:
    """Spare asyncpg's reset, a round trip: we set nothing on a connection that the next batch could see."""


async def open_pool(route: Route, *, size: int, is_shared: bool, teach: Teach) -> Pool:
    """Return a pool that connects when it is first used.

    Args:
        route: the way to the server.
        size: the most connections.
        is_shared: a pooler hands the server's sessions around: what one of them was taught, the next has not learned.
        teach: prepares each new connection.
    """
    return await asyncpg.create_pool(
        connect=route.connect,
        min_size=0,  # with more, asyncpg reconnects in the background for as long as the server is away
        max_size=size,
        max_inactive_connection_lifetime=_IDLE_SECONDS,
        command_timeout=None,
        reset=_leave_as_it_is,
        init=teach,
        **(_NO_STATEMENTS if is_shared else {}),
    )


def sentence_of(error: Exception) -> str:
    """Tell an error of connecting without any part of the URI, which asyncpg quotes in its own."""
    is_quoting = isinstance(error, (asyncpg.InterfaceError, ValueError)) and not isinstance(error, OSError)
    return type(error).__name__ if is_quoting else f"{type(error).__name__}: {error}"


def advice(error: Exception) -> str:
    """Say in words to be put behind the error's own what a person can do; nothing if the error says it."""
    is_away = isinstance(error, (ConnectionError, gaierror))
    return ": check host and port of the dsn, and that the server runs" if is_away else ""


def bare(error: Exception) -> Exception:
    """Take the frames from an error and from those it came of: locals of asyncpg's hold passwords and rows.

    Also takes the server's detail, which quotes the row.
    """
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            break
        seen.__traceback__ = None
        if isinstance(seen, asyncpg.PostgresError):
            vars(seen)["detail"] = None
        seen = seen.__cause__ or seen.__context__
    return error
