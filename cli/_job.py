"""One `sinkwell pipe` from its options to its summary. Before: the command line, or a program. After: an exit code."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

from sinkwell.core import ConfigError, SinkStats

from ._arrow_rows import ArrowReader
from ._csv import CsvReader
from ._input import Input
from ._letters import Letters
from ._ndjson import NdjsonReader
from ._options import flag_of
from ._pipe import Pipe
from ._progress import Progress
from ._sinks import Setup, kind_of
from ._summary import Summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from ._arrow import ArrowInput
    from ._sinks import Feed, SinkKind

    TextReader = CsvReader | NdjsonReader

Format = Literal["ndjson", "csv", "parquet", "arrow"]
_SUFFIXES: Final[Mapping[str, tuple[Format, str]]] = {
    ".ndjson": ("ndjson", ""),
    ".jsonl": ("ndjson", ""),
    ".csv": ("csv", ","),
    ".tsv": ("csv", "\t"),
    ".parquet": ("parquet", ""),
    ".arrow": ("arrow", ""),
    ".feather": ("arrow", ""),
}


@dataclass(slots=True, frozen=True, kw_only=True)
class Job:
    """What `sinkwell pipe` is asked for.

    Attributes:
        path: the file, or `-`.
        sink: a name in the table of sinks.
        options: settings of the sink and its policy; they count before the environment.
        format: `None` for what the suffix says.
        delimiter: of CSV; `None` for what the suffix says.
        nulls: CSV cells that mean that there is no value, beside the empty one.
        dead_letters: where they are written; `None` to show the first few.
        progress: whether to show any.
        grace: seconds that what is on its way has after an interruption.
        env_file: `None` for the `.env` here.
    """

    path: str
    sink: str
    options: Mapping[str, object] = field(default_factory=dict[str, object])
    format: Format | None = None
    delimiter: str | None = None
    nulls: tuple[str, ...] = ()
    dead_letters: Path | None = None
    progress: bool = True
    grace: float = 10.0
    env_file: Path | None = None

    async def run(self, errors: Console) -> Summary:
        """Do it, and give the summary. SIGINT and SIGTERM stop the reading, and once more end it.

        Args:
            errors: where progress is shown.

        Raises:
            ConfigError: the setup is wrong; nothing was sent.
            ImportError: the sink's client is not installed.
        """
        kind = kind_of(self.sink, self.options, flag_of)
        source, reader = self._open(kind)
        try:
            letters = Letters(self.dead_letters)
            try:
                return await self._run(Pipe(source, reader, letters, grace=self.grace), kind, reader, errors)
            finally:
                letters.close()
        finally:
            source.close()

    def _open(self, kind: SinkKind) -> tuple[Input, TextReader] | tuple[ArrowInput, ArrowReader]:
        """Open the file; what reads columns has its reader from it."""
        chosen = self._format()
        if chosen not in ("parquet", "arrow"):
            reader = self._reader(chosen, exact=kind.is_exact)
            return Input(self.path), reader
        if not kind.takes_columns:
            raise ConfigError(f"{chosen} can be read for --sink postgres alone")
        from ._arrow import ArrowInput

        source = ArrowInput(self.path, chosen)
        return source, source.reader

    async def _run(self, pipe: Pipe, kind: SinkKind, reader: TextReader | ArrowReader, errors: Console) -> Summary:
        loop = asyncio.get_running_loop()
        began = loop.time()
        stats = SinkStats()
        with _Signals(pipe) as signals:
            try:
                # A pipe may not give its first line for long: there, a wrong sink is told at once, where that can be.
                is_text = not isinstance(reader, ArrowReader)
                looks_first = is_text and (
                    kind.needs_columns or isinstance(reader, CsvReader) or pipe.source.is_replayable
                )
                first = await pipe.first_record() if looks_first else None
                setup = Setup(
                    options=self.options, env_file=self.env_file, reader=reader, first=first, nulls=self._nulls
                )
                stats = await self._pump(pipe, kind.feed(setup), errors)
            except asyncio.CancelledError:
                if not signals.number:
                    raise
                await pipe.abandon()
        return Summary(pipe=pipe, stats=stats, seconds=loop.time() - began, signal=signals.number)

    async def _pump(self, pipe: Pipe, feed: Feed, errors: Console) -> SinkStats:
        if not self.progress:
            return await pipe.run(feed)
        progress = Progress(pipe, f"{pipe.source.name} → {feed.name}", errors)
        showing = asyncio.create_task(progress.run())
        try:
            return await pipe.run(feed)
        finally:
            showing.cancel()
            with suppress(asyncio.CancelledError):
                await showing

    @property
    def _nulls(self) -> frozenset[str]:
        return frozenset(("", *self.nulls))

    def _suffix(self) -> tuple[Format, str] | None:
        if self.path == "-":
            return ("ndjson", "")
        return _SUFFIXES.get(Path(self.path.removesuffix(".gz")).suffix)

    def _format(self) -> Format:
        known = self._suffix()
        chosen = self.format or (known[0] if known else None)
        if chosen is None:
            suffixes = ", ".join(_SUFFIXES)
            raise ConfigError(
                f"the name of {self.path} does not tell its format ({suffixes}, .gz after it): use --format"
            )
        return chosen

    def _reader(self, chosen: Format, *, exact: bool) -> TextReader:
        known = self._suffix()
        if chosen == "ndjson":
            return NdjsonReader(exact=exact)
        delimiter = self.delimiter or (known[1] if known else "") or ","
        if len(delimiter) != 1 or delimiter in '"\r\n ':
            raise ConfigError(f"--delimiter {delimiter!r} must be one character, and no quote, space or line's end")
        return CsvReader(delimiter=delimiter, nulls=self._nulls)


class _Signals:
    """While it is entered, SIGINT and SIGTERM stop the pipe, or whatever comes before it."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        # The first that came.
        self.number = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._stop, number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.remove_signal_handler(number)

    def _stop(self, number: int) -> None:
        self.number = self.number or number
        if not self._pipe.stop("Interrupted"):
            self._pipe.stopped = "Interrupted before anything was sent"
            assert self._task is not None
            self._task.cancel()
