"""Rows of a Parquet or Arrow file, some at a time. Before: the file. After: the pipe, as numbered lines.

Only what is being read is in memory: of Parquet the pages of one row group that are needed next, of Arrow one record
batch. A thread reads and makes Python values; the next rows are read when these are on their way.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sinkwell.core import ConfigError
from sinkwell.sinks._extras import needs_extra

from ._arrow_rows import ArrowReader, ArrowRow, Through
from ._arrow_values import values_of
from ._input import InputBroken
from ._lines import BadLine, Line

with needs_extra("parquet", "reading Parquet and Arrow"):
    import pyarrow as pa
    from pyarrow import ipc, parquet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

_MOST_ROWS: Final = 1_024
_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
# Else each column's share of a row group is read as a whole.
_READ_BUFFER_BYTES: Final = 256 * 1024


class ArrowInput:
    """What `sinkwell pipe` reads by columns: a Parquet file, or an Arrow one (Feather).

    Attributes:
        name: as messages call it.
        size: bytes on disk.
        is_replayable: what was not read can be read later.
        bytes_read: of the size, the share that the rows read so far are of all rows.
    """

    def __init__(self, path: str, kind: str) -> None:
        self.name = path
        self.is_replayable = True
        if path == "-":
            raise ConfigError(f"{kind} is read from its end, so it must be a file and can't be standard input")
        try:
            self.size = Path(path).stat().st_size
            self._file = _ParquetRows(path) if kind == "parquet" else _ArrowRows(path)
        except OSError as error:
            raise ConfigError(f"can't read {path}: {error.strerror or error}") from error
        except pa.ArrowException as error:
            raise ConfigError(f"{path} is no {kind.capitalize()} file, or a damaged one: {error}") from error
        self.reader = ArrowReader(self._file.names)
        self._is_stopped = False
        self._rows_read = 0

    @property
    def bytes_read(self) -> int:
        """The share that was read, in bytes."""
        return self.size * self._rows_read // max(1, self._file.count)

    async def blocks(self) -> AsyncIterator[list[Line | BadLine]]:
        """Give the rows, some at a time, until they end or `stop` is called.

        Raises:
            InputBroken: the file is damaged; what came before is good.
        """
        batches = self._file.batches(self.reader.header)
        while not self._is_stopped:
            lines = await asyncio.to_thread(self._take, batches)
            if not lines:
                return
            self._rows_read += len(lines)
            yield lines

    def _take(self, batches: Iterator[pa.RecordBatch]) -> list[Line | BadLine]:
        try:
            batch = next(batches, None)
            return [] if batch is None else self._lines_of(batch)
        except (pa.ArrowException, OSError) as error:
            raise InputBroken(f"{self.name} can't be read any further: {error}") from error

    def _lines_of(self, batch: pa.RecordBatch) -> list[Line | BadLine]:
        rows, problems = values_of(batch)
        lines: list[Line | BadLine] = []
        for number, row in enumerate(rows, start=self._rows_read + 1):
            problem = problems.get(number - self._rows_read - 1)
            lines.append(ArrowRow(number, "", row, row) if problem is None else BadLine(number, str(row), problem))
        return lines

    def splitter(self) -> Through:
        """Give what passes the rows on as they are."""
        return Through()

    def stop(self) -> None:
        """Take no more."""
        self._is_stopped = True

    async def leftover(self) -> list[list[Line | BadLine]]:
        """Give nothing: what was not read is still in the file."""
        return []

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class _ParquetRows:
    def __init__(self, path: str) -> None:
        self._file = parquet.ParquetFile(path, buffer_size=_READ_BUFFER_BYTES, pre_buffer=False)
        self.count: int = self._file.metadata.num_rows
        self.names: list[str] = self._file.schema_arrow.names

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        metadata = self._file.metadata
        groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
        row_bytes = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=1)
        rows = max(1, min(_MOST_ROWS, _BYTES_AT_ONCE // max(1, row_bytes)))
        # Group by group: rows of a good one must not wait in a batch for those of a bad one.
        file: Any = self._file  # as for a file of unknown types, the stubs' own parameters are
        for index in range(metadata.num_row_groups):
            for batch in file.iter_batches(rows, row_groups=[index], columns=[*names], use_threads=False):
                yield from _slices(batch.select([*names]))

    def close(self) -> None:
        self._file.close()


class _ArrowRows:
    def __init__(self, path: str) -> None:
        self._source = pa.OSFile(path, "rb")
        try:
            self._file = ipc.open_file(self._source)
            self.names: list[str] = self._file.schema.names
            reader: Any = self._file  # the stubs (20) do not know of this
            self.count = int(reader.count_rows())
        except BaseException:
            self._source.close()
            raise

    def batches(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for index in range(self._file.num_record_batches):
            yield from _slices(self._file.get_batch(index).select([*names]))

    def close(self) -> None:
        self._source.close()


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch: an Arrow file may have all its rows in one."""
    rows = max(1, min(_MOST_ROWS, _BYTES_AT_ONCE // max(1, batch.nbytes // max(1, batch.num_rows))))
    for begin in range(0, batch.num_rows, rows):
        yield batch.slice(begin, rows)
