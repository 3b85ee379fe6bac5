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
        IncompatibleProtocolError,
        InvalidFrameError,
        ProbableAuthenticationError,
    )
    from pamqp.commands import Connection as Method
    from pamqp.exceptions import PAMQPException
    from pamqp.frame import unmarshal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import SupportsIndex

    from pydantic import SecretStr
    from yarl import URL

_SETUP: Final = (
    AuthenticationError,
    IncompatibleProtocolError,
    ProbableAuthenticationError,
    ssl.SSLCertVerificationError,
)
# AMQP's "access refused" and "not allowed": of a virtual host, here.
_REFUSALS: Final = (403, 530)
# What the broker also refuses so, though nobody need mend it: a virtual host that starts, a connection too many.
_PASSING: Final = ("is down", "limit")


class Refused(Exception):
    """The broker took the log-in and closed the connection then.

    Attributes:
        code: AMQP's reply code, as 530 for a virtual host that is not there.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


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


class _Reader(asyncio.StreamReader):
    """Remembers what came last: aiormq drops the broker's reason for refusing a virtual host."""

    last = b""

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        self.last = bytes(data)
        super().feed_data(self.last)


class Wire(TransportFactory):
    """Opens the socket for aiormq, and keeps the way to write to it: its own queue takes one message at a time."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._reader = _Reader()
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect; called by aiormq, which passes its own idea of TLS along."""
        context: ssl.SSLContext | None = None
        if url.scheme == "amqps":
            context = self._tls or await kwargs["ssl_context_provider"].get_context()
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(self._reader)
        assert url.host is not None
        assert url.port is not None
        transport, _ = await loop.create_connection(lambda: protocol, url.host, url.port, ssl=context)
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)
        return self._reader, self._writer

    def refusal(self) -> Refused | None:
        """Return the broker's reason for closing the connection, if that is what it said last."""
        try:
            frame = unmarshal(self._reader.last)[2]
        except PAMQPException:
            return None
        if not isinstance(frame, Method.Close):
            return None
        return Refused(frame.reply_code or 0, frame.reply_text or "the broker gave no reason")

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
    refused: Refused | None = None
    try:
        await cast("Any", connection).connect()  # aiormq hides its type behind a decorator
    except InvalidFrameError:
        wire.cut()
        refused = wire.refusal()
        if refused is None:
            raise
    except BaseException:
        wire.cut()
        raise
    if refused is not None:
        raise refused
    return connection


def is_setup(error: BaseException) -> bool:
    """Tell whether a person must mend what kept us from connecting."""
    if isinstance(error, Refused):
        return error.code in _REFUSALS and not any(words in str(error) for words in _PASSING)
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
