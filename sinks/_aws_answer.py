"""One HTTP/1.1 answer, read from bytes as they come. Pure. Whatever is not plain is not read at all.

Before: a connection's bytes. After: the answer, once it is whole.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_HEAD_BYTES = 32 * 1024
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: [^\r\n]*)?\Z")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_DIGITS = re.compile(r"\d{1,15}\Z", re.ASCII)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})(?:[ \t]*;[^\r\n]*)?\Z")
_BODILESS = (204, 304)
_INTERIM = range(100, 200)
_SWITCHED = 101


# What a service echoes may be longer than what it got: numbers written out, characters as escapes.
_ECHO = 16
_LEAST_LIMIT_BYTES = 1024 * 1024


def most_bytes(request_bytes: int) -> int:
    """Return the size of the largest answer to a request of so many bytes."""
    return max(_LEAST_LIMIT_BYTES, _ECHO * request_bytes)


class UnreadableError(Exception):
    """The answer is not HTTP, or is larger than any that the service sends."""


class Answer(NamedTuple):
    """A whole answer.

    Attributes:
        status: its number.
        headers: by lower-case name; of one that came twice, the last.
        body: decoded from chunks, if it came so.
        keeps_open: whether the connection can carry another request.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    keeps_open: bool


def is_intact(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a body has the checksum that DynamoDB gives its answers; one that is not told proves nothing."""
    checksum = headers.get("x-amz-crc32")
    return checksum is None or checksum == str(zlib.crc32(body))


@lru_cache(maxsize=100)
def _key_of(name: str) -> str:
    """Return a header's name in lower case; a service's answers have the same few again and again."""
    if not _NAME.match(name):
        raise UnreadableError("a header that is none")
    return name.lower()


class AnswerReader:
    """Reads one answer."""

    __slots__ = ("_buffer", "_headers", "_keeps_open", "_length", "_most_bytes", "_pieces", "_status")

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._buffer = b""
        self._status = 0
        self._headers: dict[str, str] = {}
        self._keeps_open = False
        # Of the body; `None` until the connection ends.
        self._length: int | None = None
        # The chunks read so far; `None` if the body is not chunked.
        self._pieces: list[bytes] | None = None

    def feed(self, data: bytes) -> Answer | None:
        """Take more bytes; return the answer when it is whole.

        Raises:
            UnreadableError: it never will be.
        """
        self._buffer = self._buffer + data if self._buffer else data
        while not self._status:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if len(head) > _MOST_HEAD_BYTES:
                raise UnreadableError("the head is too long")
            if not found:
                return None
            self._buffer = rest
            self._read_head(head)
        if self._pieces is not None:
            return self._read_chunks()
        if self._length is None:
            self._check_size(len(self._buffer))
            return None
        if len(self._buffer) < self._length:
            return None
        return self._answer(self._buffer[: self._length], self._buffer[self._length :])

    def ended(self) -> Answer | None:
        """Return the answer if the connection's end is its end, too."""
        if not self._status or self._length is not None or self._pieces is not None:
            return None
        return self._answer(self._buffer, b"")

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        start = _STATUS.match(first)
        if start is None:
            raise UnreadableError("no status line")
        status = int(start[2])
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                raise UnreadableError("a header that is none")
            key = _key_of(name)
            text = value.strip(" \t")
            if key == "content-length" and headers.get(key, text) != text:
                raise UnreadableError("two lengths")
            headers[key] = text
        if status in _INTERIM:
            if status == _SWITCHED:
                raise UnreadableError("another protocol")
            return  # the answer itself follows
        self._status, self._headers = status, headers
        told = headers.get("connection", "" if start[1] == b"1" else "close").lower()
        self._keeps_open = told in ("", "keep-alive")
        self._read_length()

    def _read_length(self) -> None:
        coding = self._headers.get("transfer-encoding")
        if self._status in _BODILESS:
            self._length = 0
        elif coding is not None:
            if coding.lower() != "chunked":
                raise UnreadableError("an unknown transfer encoding")
            self._pieces = []
        elif (told := self._headers.get("content-length")) is not None:
            if not _DIGITS.match(told):
                raise UnreadableError("no length")
            self._length = int(told)
            self._check_size(self._length)

    def _read_chunks(self) -> Answer | None:
        assert self._pieces is not None, "checked by feed"
        while True:
            line, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                self._check_size(len(line))
                return None
            size = _CHUNK.match(line)
            if size is None:
                raise UnreadableError("a chunk without a size")
            length = int(size[1], 16)
            self._check_size(sum(map(len, self._pieces)) + length)
            if length == 0:
                # Trailers, if there are any, are of no use: the connection ends with them.
                clean = rest == b"\r\n"
                if not clean and not rest.endswith(b"\r\n\r\n"):
                    self._check_size(len(rest))
                    return None
                return self._answer(b"".join(self._pieces), b"" if clean else rest)
            if len(rest) < length + 2:
                return None
            if rest[length : length + 2] != b"\r\n":
                raise UnreadableError("a chunk without an end")
            self._pieces.append(rest[:length])
            self._buffer = rest[length + 2 :]

    def _check_size(self, length: int) -> None:
        if length > self._most_bytes:
            raise UnreadableError("larger than any answer of this service")

    def _answer(self, body: bytes, surplus: bytes) -> Answer:
        keeps_open = self._keeps_open and not surplus and (self._length is not None or self._pieces is not None)
        return Answer(self._status, self._headers, body, keeps_open)
