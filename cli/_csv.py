"""CSV with a header line; a quoted cell may span lines. Before: lines. After: records, or why lines are none."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, Final

from ._lines import MAX_RECORD_BYTES, BadLine, Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# A quote that is never closed must not take the rest of the file with it.
_LONGEST_RECORD: Final = 1024 * 1024


class _NeedsMore(Exception):
    """The last record has begun in these lines and does not end in them."""


class CsvReader:
    """Reads rows under a header; the first line names the columns.

    Args:
        delimiter: between cells.
        nulls: cells that mean that there is no value.
    """

    def __init__(self, *, delimiter: str = ",", nulls: frozenset[str] = frozenset({""})) -> None:
        self._delimiter = delimiter
        self._nulls = nulls
        self.header: list[str] | None = None
        # Lines of the record that the last block left unfinished.
        self._open: list[str] = []
        self._open_bytes = 0
        # The line before the first of these lines.
        self._number = 0
        csv.field_size_limit(MAX_RECORD_BYTES)

    def feed(self, lines: Iterable[str | BadLine], *, is_last: bool = False) -> Iterator[Line | BadLine]:
        """Give the records that these lines end."""
        run: list[str] = self._open
        self._open = []
        for line in lines:
            if isinstance(line, BadLine):
                # It can't be inside a quoted cell and be read: whatever was open ends here.
                yield from self._read_run(run, is_last=True)
                run = []
                self.header = self.header or []
                self._number += 1
                line.number = self._number
                yield line
            else:
                run.append(line)
        yield from self._read_run(run, is_last=is_last)

    def _read_run(self, lines: list[str], *, is_last: bool) -> Iterator[Line | BadLine]:
        """Read lines that follow one another; keep the last record open if it may go on."""
        begin = 0
        while begin < len(lines):
            rows = csv.reader(_until(lines, begin, is_last=is_last), delimiter=self._delimiter, strict=True)
            start = begin
            while True:
                try:
                    cells = next(rows)
                except StopIteration:
                    begin = len(lines)
                    break
                except _NeedsMore:
                    is_kept = self._keep(lines, begin)
                    if not is_kept:
                        yield from self._broken(lines[begin:], "its quote is not closed")
                    begin = len(lines)
                    break
                except csv.Error as error:
                    end = max(start + rows.line_num, begin + 1)
                    yield from self._broken(lines[begin:end], str(error))
                    begin = end
                    break
                end = start + rows.line_num
                yield from self._row(lines, begin, end, cells)
                begin = end

    def _row(self, lines: list[str], begin: int, end: int, cells: list[str]) -> Iterator[Line | BadLine]:
        if self.header is None:
            self._number += end - begin
            if cells:
                self.header = cells
        elif len(cells) == len(self.header):
            text = lines[begin] if end == begin + 1 else "".join(lines[begin:end])
            number = self._number + 1
            self._number += end - begin
            yield Line(number, text, cells)
        elif not cells:
            self._number += end - begin
        else:
            problem = f"{len(cells)} cells under a header of {len(self.header)}"
            yield from self._broken(lines[begin:end], problem)

    def _keep(self, lines: list[str], begin: int) -> bool:
        """Keep the unfinished record for the next block, unless it grows beyond all measure."""
        self._open = lines[begin:]
        if sum(map(len, self._open)) <= _LONGEST_RECORD:
            return True
        self._open = []
        return False

    def _broken(self, lines: list[str], problem: str) -> Iterator[Line | BadLine]:
        """Tell lines that make no record.

        Where a stray quote joined whole records to the first line, each of them reads well by itself: then only the
        first line is bad. Otherwise the lines may be the inside of one cell, and none of them is taken for a record.
        """
        first = self._number + 1
        self._number += len(lines)
        rest = [self._alone(line) for line in lines[1:]]
        if self.header is not None and all(rest):
            yield BadLine(first, _bare(lines[0]), problem)
            for number, (line, cells) in enumerate(zip(lines[1:], rest, strict=True), start=first + 1):
                yield Line(number, line, cells)
        else:
            self.header = self.header or []
            yield BadLine(first, _bare("".join(lines)), problem)

    def _alone(self, line: str) -> list[str] | None:
        """Read a line by itself; `None` if it is no row under this header."""
        try:
            cells = next(csv.reader([line], delimiter=self._delimiter, strict=True))
        except csv.Error:
            return None
        return cells if self.header is not None and len(cells) == len(self.header) else None

    def record_of(self, line: Line) -> Any:
        """Give the record as a dead letter shows it: cells by column, empty ones as null."""
        return self.named(next(csv.reader([line.text], delimiter=self._delimiter, strict=True)))

    def named(self, cells: list[str]) -> dict[str, str | None]:
        """Give a row's cells by column; those that mean nothing as `None`."""
        nulls = self._nulls
        return {name: None if cell in nulls else cell for name, cell in zip(self.header or [], cells, strict=True)}


def _until(lines: list[str], begin: int, *, is_last: bool) -> Iterator[str]:
    for at in range(begin, len(lines)):
        yield lines[at]
    if not is_last:
        raise _NeedsMore


def _bare(text: str) -> str:
    return text.rstrip("\r\n")
