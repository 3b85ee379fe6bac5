"""HTTP/1.1 to one endpoint over connections that are kept: a request whole, an answer whole, and nothing clever.

Before: `_aws_direct` has a signed request. After: status, headers and body, or an exception that says whether the
request can have reached the server. A general HTTP client costs more for a request than all
that Sinkwell does for its ten records.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from typing import TYPE_CHECKING, NamedTuple, cast

from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError, SSLError

from ._aws_answer import AnswerReader, UnreadableError
from ._aws_verdicts import NotConnectedError

if TYPE_CHECKING:
    from ._aws_answer import Answer


_IS_ADDRESS = re.compile(r"[0-9.]+\Z|.*:")


class Address(NamedTuple):
    """Where to connect.

    Attributes:
        host: a name or an address.
        port: its port.
        tls: how to judge the server's certificate; `None` for plain HTTP.
        url: for messages.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    url: str


class Connection(asyncio.Protocol):
    """One request at a time; lost with the first answer that is not clean."""

    def __init__(self, url: str, opened: set[Connection]) -> None:
        self._url = url
        self._opened = opened
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._lost = asyncio.get_running_loop().create_future()
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the next request can go over it."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)
        self._opened.add(self)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        waiter, reader = self._waiter, self._reader
        if waiter is None or reader is None or waiter.done():
            self.abort()  # words that nobody asked for would be taken for the answer to the next request
            return
        try:
            answer = reader.feed(data)
        except UnreadableError as error:
            self._fail(error)
            return
        if answer is not None:
            waiter.set_result(answer)

    def eof_received(self) -> None:
        """Called by the event loop, which then closes the connection."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop, once."""
        self._transport = None
        self._opened.discard(self)
        if not self._lost.done():
            self._lost.set_result(None)
        waiter, reader = self._waiter, self._reader
        if waiter is None or reader is None or waiter.done():
            return
        answer = reader.ended() if exc is None else None
        if answer is not None:
            waiter.set_result(answer)
        else:
            self._fail(exc)

    async def exchange(self, request: bytes, most_bytes: int, timeout: float) -> Answer:
        """Send a request and return its answer.

        Cancelled: the connection is closed; the server may have the request. But an answer that is there already is
        the answer.

        Raises:
            ConnectionClosedError: there was no whole answer; `ReadTimeoutError` if that is because it took too long.
        """
        assert self._transport is not None, "taken from the pool while it is open"
        assert self._waiter is None, "one request at a time"
        self._reader = AnswerReader(most_bytes)
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Answer] = loop.create_future()
        self._waiter = waiter
        timer = loop.call_later(timeout, self._too_late)  # cheaper than `asyncio.timeout`
        self._transport.write(request)
        try:
            answer = await waiter
        except asyncio.CancelledError:
            if waiter.cancelled() or waiter.exception() is not None:
                self.abort()
                raise
            answer = waiter.result()
        except BaseException:
            self.abort()
            raise
        finally:
            timer.cancel()
            self._waiter = self._reader = None
        if not answer.keeps_open:
            self.abort()
        return answer

    def abort(self) -> None:
        """Close it at once."""
        if self._transport is not None:
            self._transport.abort()

    async def closed(self) -> None:
        """Wait until the event loop has let go of it."""
        self.abort()
        if self._transport is not None:
            await asyncio.shield(self._lost)

    def _too_late(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ReadTimeoutError(endpoint_url=self._url))
            self.abort()

    def _fail(self, cause: Exception | None) -> None:
        assert self._waiter is not None, "checked by the callers"
        self._waiter.set_exception(ConnectionClosedError(endpoint_url=self._url, error=cause))
        self.abort()


class Pool:
    """The connections to one endpoint. As many as there are requests at once: the core's slots are their limit."""

    def __init__(self, address: Address, timeout: float, keepalive: float) -> None:
        self._address = address
        # One that was idle for longer may be closed at the other end by now.
        self._keepalive = keepalive
        # Of a connection's making, and then of the whole answer.
        self._timeout = timeout
        # The one used last is the last: taken first, so that a surplus grows old.
        self._idle: list[Connection] = []
        # Those that the event loop has not let go of, aborted ones too.
        self._open: set[Connection] = set()

    async def send(self, request: bytes, most_bytes: int) -> Answer:
        """Send one request.

        Raises:
            NotConnectedError: no connection, so nothing was sent, also when cancelled before there was one;
                `ConnectTimeoutError` and `SSLError` say the same.
            ConnectionClosedError: the server may have the request; `ReadTimeoutError` says the same.
        """
        connection = self._take() or await self._connect()
        try:
            return await connection.exchange(request, most_bytes, self._timeout)
        finally:
            if connection.is_open:
                connection.idle_since = asyncio.get_running_loop().time()
                self._idle.append(connection)

    async def aclose(self) -> None:
        """Close all connections, those with requests too."""
        self._idle.clear()
        for connection in [*self._open]:
            await connection.closed()
        await asyncio.sleep(0)  # what was given up while it was being made is let go of, too

    def _take(self) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - self._keepalive
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since >= oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        host, port, tls, url = self._address
        # Of a name's addresses, the second gets its chance soon if the first does not answer.
        delay = None if _IS_ADDRESS.match(host) else 0.25
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(url, self._open), host, port, ssl=tls, happy_eyeballs_delay=delay
                )
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=url, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=url, error=error) from error
        except (OSError, asyncio.CancelledError) as error:
            raise NotConnectedError(endpoint_url=url, error=error) from error
        return connection
