"""Bytes in, lines out: split, decoded, numbered, none too long. Before: the input. After: a format's reader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

MAX_RECORD_BYTES: Final = 16 * 1024 * 1024
"""A record that is longer is a dead letter: nothing that a sink takes is near it, and memory must stay bounded."""
# What is kept of a line that is too long: enough to find it by.
_KEPT_OF_LONG = 1_000
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Line:
    """One record as the input had it.

    Attributes:
        number: the line it begins in, from 1.
        text: as it was, without the line's end: what a dead letter is made of.
        value: what the format's reader made of it.
    """

    number: int
    text: str
    value: Any


@dataclass(slots=True)
class BadLine:
    """A line that is no record; `problem` says why."""

    number: int
    text: str
    problem: str


class LineSplitter:
    """Cuts blocks of bytes into lines and keeps what is not a whole line yet."""

    def __init__(self, max_bytes: int = MAX_RECORD_BYTES) -> None:
        self._max_bytes = max_bytes
        self._rest = b""
        # Bytes of a line that is too long, which were let go already.
        self._skipped = 0
        self._is_first = True

    def feed(self, block: bytes) -> list[str | BadLine]:
        """Give the lines that this block ends, each with its newline. Numbers are the caller's: a BadLine has 0."""
        data = self._rest + block
        if self._is_first and len(data) >= len(_BOM):
            self._is_first = False
            data = data.removeprefix(_BOM)
        end = data.rfind(b"\n") + 1
        whole, self._rest = data[:end], data[end:]
        lines = self._lines(whole) if whole else []
        if len(self._rest) > self._max_bytes:
            self._skipped += len(self._rest) - _KEPT_OF_LONG
            self._rest = self._rest[:_KEPT_OF_LONG]
        return lines

    def end(self) -> list[str | BadLine]:
        """Give the last line, if the input did not end it."""
        if self._is_first:
            self._rest = self._rest.removeprefix(_BOM)
        rest, self._rest = self._rest, b""
        return self._lines(rest) if rest else []

    def _lines(self, data: bytes) -> list[str | BadLine]:
        # At the newline only: `splitlines` also splits at characters that may stand inside a value.
        parts = data.split(b"\n")
        last = parts.pop()
        lines = [_decoded(part + b"\n") for part in parts]
        if last:
            lines.append(_decoded(last))
        if self._skipped:
            first = lines[0]
            size = self._skipped + len(data.partition(b"\n")[0])
            kept = (first if isinstance(first, str) else first.text)[:_KEPT_OF_LONG]
            problem = f"the line is {size:,} bytes long, above {self._max_bytes:,}; only its beginning is kept here"
            lines[0] = BadLine(0, kept, problem)
            self._skipped = 0
        return lines


def _decoded(line: bytes) -> str | BadLine:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        # Each byte that is no UTF-8 becomes a lone surrogate, which JSON can write: nothing of it is lost.
        text = line.decode(errors="surrogateescape").rstrip("\r\n")
        return BadLine(0, text, f"byte {error.start + 1} is not UTF-8")
