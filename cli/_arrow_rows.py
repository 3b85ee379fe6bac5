"""Rows that came by columns, among lines of text. Before: a Parquet or Arrow file. After: the pipe.

Apart from what reads them, since it needs pyarrow and the pipe does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._lines import Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ._lines import BadLine


@dataclass(slots=True)
class ArrowRow(Line):
    """A row; `kept` is what a dead letter shows, as `value` is let go when the row is on its way."""

    kept: tuple[Any, ...]


class ArrowReader:
    """Knows the columns, and shows a row as a dead letter does."""

    def __init__(self, names: Sequence[str]) -> None:
        self.header = [*names]

    def choose(self, names: Sequence[str]) -> None:
        """Read only these columns."""
        self.header = [*names]

    def feed(self, lines: Iterable[Any], *, is_last: bool = False) -> Iterator[Line | BadLine]:  # noqa: ARG002 - as CSV's, whose records may span lines
        """Give the rows, which are read already."""
        yield from lines

    def record_of(self, line: Line) -> Any:
        """Give the record as a dead letter shows it."""
        assert isinstance(line, ArrowRow)
        return {name: shown(value) for name, value in zip(self.header, line.kept, strict=True)}


class Through:
    """Splits nothing: stands where text is cut into lines."""

    def feed(self, block: list[Line | BadLine]) -> list[Line | BadLine]:
        """Give what came."""
        return block

    def end(self) -> list[Line | BadLine]:
        """Give nothing: no row is cut in two."""
        return []


def shown(value: Any) -> Any:
    """Give a value as JSON has it, so that a dead letter can be mended and sent again."""
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [shown(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - of anything
    if isinstance(value, dict):
        return {str(key): shown(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - of anything
    return value
