"""The smallest HTTP/1.1 server that can also misbehave: one protocol object a connection, no task, no stream.

Before me: a socket. After me: `_endpoint.py` gets each request whole and says when and how its answer leaves.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Protocol, cast

MAX_HEAD_BYTES = 32 * 1024
# DynamoDB's own limit of a request. SQS's is 1 MiB of UTF-8, of which JSON's escapes make at most 3.
MAX_BODY_BYTES = 16 * 1024 * 1024


@dataclass(slots=True, frozen=True)
class Head:
    """What the endpoint needs of a request's first line and headers."""

    target: str
    length: int
    # The older query protocol: the action is in the body.
    is_form: bool = False
    # `X-Amz-Date`: when the client says that it signed.
    signed_at: str = ""


class Handler(Protocol):
    """Who answers."""

    def opened(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...
    def wants_body(self, connection: Connection, head: Head) -> bool: ...
    def serve(self, connection: Connection, head: Head, body: bytes) -> None: ...


class BadRequestError(Exception):
    """A request that can't be read; its argument is the HTTP status."""


class Connection(asyncio.Protocol):
    """One client's connection: reads a request at a time, and holds back the next until `finish` was called."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._head: Head | None = None
        # A request was handed to the handler and `finish` has not been called for it.
        self._is_busy = False
        self._is_reading = False

    @property
    def is_open(self) -> bool:
        """Whether something written now can still reach the client."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)
        self._handler.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        del exc
        self._transport = None
        self._handler.closed(self)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        self._buffer += data
        self._read()

    def write(self, data: bytes) -> None:
        """Send a piece of the answer; nothing happens when the client has left."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def finish(self) -> None:
        """The answer is out: go on with the next request of this connection."""
        self._is_busy = False
        self._head = None
        self._read()

    def drop(self, *, resets: bool = False, flushes: bool = False) -> None:
        """Close without another byte.

        Args:
            resets: the client sees a TCP reset rather than an orderly end.

            flushes: what was written before still goes out.
        """
        if self._transport is None:
            return
        if resets:
            raw = cast("socket.socket", self._transport.get_extra_info("socket"))
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if flushes:
            self._transport.close()
        else:
            self._transport.abort()

    def _read(self) -> None:
        if self._is_reading:
            return
        self._is_reading = True
        try:
            while not self._is_busy and self.is_open and self._step():
                pass
        except BadRequestError as error:
            self.write(f"HTTP/1.1 {error.args[0]} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            self.drop(flushes=True)
        finally:
            self._is_reading = False
        if len(self._buffer) > MAX_HEAD_BYTES + MAX_BODY_BYTES:
            self.drop()

    def _step(self) -> bool:
        """Read one head or one body; False when more bytes are needed."""
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end > MAX_HEAD_BYTES or (end < 0 and len(self._buffer) > MAX_HEAD_BYTES):
                raise BadRequestError(431)
            if end < 0:
                return False
            self._head = parse_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            return self._handler.wants_body(self, self._head)
        if len(self._buffer) < self._head.length:
            return False
        body = bytes(self._buffer[: self._head.length])
        del self._buffer[: self._head.length]
        self._is_busy = True
        self._handler.serve(self, self._head, body)
        return True


def parse_head(head: bytes) -> Head:
    """Find the action and the length.

    Raises:
        BadRequestError: if the request is no POST of a known and bearable length.
    """
    lines = head.split(b"\r\n")
    if not lines[0].startswith(b"POST "):
        raise BadRequestError(405)
    target, length, is_form, signed_at = "", -1, False, ""
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name == b"x-amz-target":
            target = value.strip().decode("latin-1")
        elif name == b"content-length":
            digits = value.strip()
            if not digits.isdigit():
                raise BadRequestError(400)
            length = int(digits[:20])
        elif name == b"content-type":
            is_form = value.strip().lower().startswith(b"application/x-www-form-urlencoded")
        elif name == b"x-amz-date":
            signed_at = value.strip().decode("latin-1")
    if length < 0:
        raise BadRequestError(411)
    if length > MAX_BODY_BYTES:
        raise BadRequestError(413)
    return Head(target, length, is_form, signed_at)
