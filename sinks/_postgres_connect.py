"""Getting to the server: a URI that no repr shows, TLS that is verified unless told otherwise, and a pool."""

from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import parse_qs, urlsplit

from ._extras import needs_extra

with needs_extra("postgres"):
    import asyncpg

if TYPE_CHECKING:
    from typing import TypeAlias

    from asyncpg.pool import PoolConnectionProxy
    from pydantic import SecretStr

    Mode: TypeAlias = Literal["disable", "prefer", "allow", "require", "verify-ca", "verify-full"]
    Tls: TypeAlias = ssl.SSLContext | Mode | bool | None
    Connection: TypeAlias = PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]

# Closed after so long without use, before a firewall forgets it in silence.
_IDLE_SECONDS: Final = 300.0
_LOOPBACK: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})
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

    def _places(self) -> list[str]:
        """Return each `host:port`, as the URI or libpq's variable tells them; an empty one is a unix socket."""
        parts = urlsplit(self._uri)
        named = parts.netloc.rpartition("@")[2] or ",".join(parse_qs(parts.query).get("host", []))
        return (named or os.environ.get("PGHOST", "")).split(",")

    def tls(self) -> Tls:
        """Choose TLS: (1) what the URI says, (2) none needed on this machine, (3) verified, host name included."""
        query = parse_qs(urlsplit(self._uri).query)
        if "sslmode" in query:
            return None
        if "sslrootcert" in query:
            return "verify-full"
        is_elsewhere = "service" in query or "PGSERVICE" in os.environ
        if not is_elsewhere and all(
            host in _LOOPBACK or host.startswith("/") for host in map(_host_of, self._places())
        ):
            return None
        return ssl.create_default_context()


def _host_of(place: str) -> str:
    if place.count(":") > 1 and not place.startswith("["):
        return place  # a bare IPv6 address, as PGHOST has them
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place.partition(":")[0].replace("%2F", "/").replace("%2f", "/")


async def _leave_as_it_is(_connection: object) -> None:
    """Spare asyncpg's reset, a round trip: we set nothing on a connection that the next batch could see."""


async def open_pool(dsn: Dsn, *, size: int, timeout: float, tls: Tls) -> Pool:
    """Return a pool that connects when it is first used."""
    return await asyncpg.create_pool(
        dsn.reveal(),
        min_size=0,  # with more, asyncpg reconnects in the background for as long as the server is away
        max_size=size,
        max_inactive_connection_lifetime=_IDLE_SECONDS,
        command_timeout=None,
        timeout=timeout,
        ssl=dsn.tls() if tls is None else tls,
        reset=_leave_as_it_is,
    )


def sentence_of(error: Exception) -> str:
    """Tell an error of connecting without any part of the URI, which asyncpg quotes in its own."""
    is_quoting = isinstance(error, (asyncpg.InterfaceError, ValueError)) and not isinstance(error, OSError)
    return type(error).__name__ if is_quoting else f"{type(error).__name__}: {error}"


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
