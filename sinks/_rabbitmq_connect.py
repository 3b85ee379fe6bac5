"""How the broker is reached: its URI, TLS, log-in, and what a failure means. Before: the link. After: aiormq."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

from ._extras import needs_extra

with needs_extra("rabbitmq"):
    from aiormq import Connection
    from aiormq.connection import TransportFactory
    from aiormq.exceptions import (
        AuthenticationError,
        ConnectionClosed,
        ConnectionNotAllowed,
        IncompatibleProtocolError,
        ProbableAuthenticationError,
    )

if TYPE_CHECKING:
    from pydantic import SecretStr
    from yarl import URL

_SETUP: Final = (
    AuthenticationError,
    IncompatibleProtocolError,
    ProbableAuthenticationError,
    ssl.SSLCertVerificationError,
)
# What the broker refuses with "not allowed" though nobody need mend it.
_PASSING: Final = ("is down", "limit")
_NOT_ALLOWED: Final = 530


class BrokerUrl:
    """An AMQP URI. It may hold a password, so only `reveal` gives it away; no repr and no message do.

    Args:
        url: `amqps://user:password@host:port/vhost?heartbeat=60`, or `amqp://` for no TLS.
    """

    __slots__ = ("_url",)

    def __init__(self, url: str | SecretStr) -> None:
        self._url = url if isinstance(url, str) else url.get_secret_value()

    def __repr__(self) -> str:
        return "BrokerUrl(**********)"

    def reveal(self) -> str:
        """Return the URI."""
        return self._url

    def problem(self) -> str | None:
        """Tell in a sentence, without any part of the URI, why it can't be one."""
        try:
            parts = urlsplit(self._url)
            port = parts.port
        except ValueError:
            return "url has a port that is no number: percent-encode the special characters of its password"
        if parts.scheme not in ("amqp", "amqps") or not parts.hostname or port == 0:
            return "url must be a URI like amqps://user:password@host:5671/vhost"
        if parse_qs(parts.query).get("no_verify_ssl", ["0"]) != ["0"]:
            return "url must not turn off the check of certificates: give tls= an ssl.SSLContext that trusts yours"
        return None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password as it is and as it is written: neither may appear in what others read."""
        written = urlsplit(self._url).password or ""
        return tuple({written, unquote(written)} - {""})


class Wire(TransportFactory):
    """Opens the socket for aiormq, and keeps the way to write to it: its own queue takes one message at a time."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect; called by aiormq, which passes its own idea of TLS along."""
        context: ssl.SSLContext | None = None
        if url.scheme == "amqps":
            context = self._tls or await kwargs["ssl_context_provider"].get_context()
        reader, self._writer = await asyncio.open_connection(url.host, url.port, ssl=context)
        return reader, self._writer

    def write(self, data: bytes) -> None:
        """Hand whole frames to the socket."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(data)

    @property
    def is_open(self) -> bool:
        """Whether what is written may still arrive."""
        return self._writer is not None and not self._writer.is_closing()

    def cut(self) -> None:
        """End the connection now, whatever is on its way."""
        if self._writer is not None:
            self._writer.transport.abort()


async def connect(url: BrokerUrl, wire: Wire, name: str) -> Connection:
    """Open a connection; cancelled or failed, nothing of it is left."""
    connection = Connection(
        url.reveal(), transport_factory=wire, client_properties={"connection_name": name, "product": "sinkwell"}
    )
    try:
        await cast("Any", connection).connect()  # aiormq hides its type behind a decorator
    except BaseException:
        wire.cut()
        raise
    return connection


def is_setup(error: BaseException) -> bool:
    """Tell whether a person must mend what kept us from connecting."""
    if isinstance(error, (ConnectionNotAllowed, ConnectionClosed)):
        refused = isinstance(error, ConnectionNotAllowed) or error.args[:1] == (_NOT_ALLOWED,)
        return refused and not any(words in str(error) for words in _PASSING)
    return isinstance(error, _SETUP)


def bare(error: BaseException) -> BaseException:
    """Take the frames from an error and from those it came of: aiormq's hold the password."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            break
        seen.__traceback__ = None
        seen = seen.__cause__ or seen.__context__
    return error
