"""What the pipe reads from: bytes that are split into lines and read by a format, or rows that come as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from ._lines import BadLine, Line


class Splitter(Protocol):
    """Cuts blocks into what a reader takes."""

    def feed(self, block: Any) -> Iterable[Any]:
        """Give what this block ends."""
        ...

    def end(self) -> Iterable[Any]:
        """Give what is left."""
        ...


class Source(Protocol):
    """What is read, block by block."""

    @property
    def name(self) -> str:
        """As messages call it."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes on disk; `None` where it has no end that is known."""
        ...

    @property
    def is_replayable(self) -> bool:
        """Whether what was not read can be read later."""
        ...

    @property
    def bytes_read(self) -> int:
        """How much of the size was read."""
        ...

    def splitter(self) -> Splitter:
        """Give what cuts the blocks."""
        ...

    def blocks(self) -> AsyncIterator[Any]:
        """Give the content until it ends or `stop` is called."""
        ...

    def stop(self) -> None:
        """Take no more."""
        ...

    async def leftover(self) -> Sequence[Any]:
        """Give the blocks that were taken and not given, once stopped."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Reader(Protocol):
    """Makes records of what a splitter gives."""

    def feed(self, lines: Iterable[Any], *, is_last: bool = False) -> Iterator[Line | BadLine]:
        """Give the records that these lines end."""
        ...

    def record_of(self, line: Line) -> Any:
        """Give the record as a dead letter shows it."""
        ...
