"""One run from the input to the sink, with every line accounted for. Before: the job. After: its summary.

A line's way: block -> `LineSplitter` -> reader -> feed's shape -> `Sink.stream` -> an outcome, in the lines' order.
What does not come to a receipt becomes a letter, at whichever of these steps it leaves the way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from sinkwell.core import ConfigError, InvalidRecord, SinkClosed, SinkwellError

from ._csv import CsvReader
from ._input import InputBroken
from ._letters import Letter
from ._lines import BadLine, Line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from sinkwell.core import CloseReport, SinkStats

    from ._letters import Letters
    from ._sinks import Feed
    from ._sources import Reader, Source

_MOST_BAD_AT_FIRST: Final = 1_000


class Pipe:
    """Reads an input and puts each of its records.

    Attributes:
        read: records read so far, bad lines included.
        delivered: records with a receipt.
        last_line: the last line that was read.
        stopped: why it ended before the input did: a sentence, or `None`.
    """

    def __init__(self, source: Source, reader: Reader, letters: Letters, *, grace: float) -> None:
        self.source = source
        self.letters = letters
        self.read = 0
        self.delivered = 0
        self.last_line = 0
        self.stopped: str | None = None
        self._reader = reader
        self._grace = grace
        self._splitter = source.splitter()
        self._batches = self._read_batches()
        # Lines that were read to learn what the input is like.
        self._head: list[Line | BadLine] = []
        # Lines that were put, in order, without the outcome.
        self._pending: deque[Line] = deque()
        self._feed: Feed | None = None
        self._closing: asyncio.Task[CloseReport] | None = None

    async def first_record(self) -> Any:
        """Read until there is a record, and give it as a dead letter would show it; `None` if there is none.

        Raises:
            ConfigError: this is no such input.
        """
        try:
            async for lines in self._batches:
                for line in lines:
                    self._head.append(line)
                first = next((line for line in self._head if isinstance(line, Line)), None)
                self._check_head(first)
                if first is not None:
                    return self._reader.record_of(first)
        except InputBroken as broken:
            raise ConfigError(f"there is no record to begin with: {broken}") from broken
        self._check_head(None)
        return None

    def _check_head(self, first: Line | None) -> None:
        reader = self._reader
        if isinstance(reader, CsvReader) and reader.header is not None:
            repeated = sorted({name for name in reader.header if reader.header.count(name) > 1})
            if repeated or "" in reader.header or not reader.header:
                what = f"names a column twice ({', '.join(repeated)})" if repeated else "leaves a column without a name"
                raise ConfigError(
                    f"the header in line 1 of {self.source.name} {what if reader.header else 'is no CSV'}"
                )
        if first is None and len(self._head) >= _MOST_BAD_AT_FIRST and isinstance(self._head[0], BadLine):
            problem = self._head[0].problem
            raise ConfigError(f"{self.source.name} has no record in its first lines ({problem}): is --format right?")

    async def run(self, feed: Feed) -> SinkStats:
        """Put every record and see each to its outcome; give the sink's last counters.

        Cancelled: as any sink that is closed with no time left; each line is accounted for.

        Raises:
            ConfigError: the sink can't be opened.
        """
        sink = feed.sink
        async with sink:
            self._feed = feed
            outcomes = sink.stream(self._records(feed.shape()))
            try:
                async for outcome in outcomes:
                    line = self._pending.popleft()
                    if isinstance(outcome, SinkwellError):
                        self._bury(line, outcome)
                    else:
                        self.delivered += 1
            except InputBroken as broken:
                self.stopped = str(broken)
            if self._closing is not None:
                await self._closing
        assert not self._pending, "every record that was put has had its outcome"
        return sink.stats()

    def stats(self) -> SinkStats | None:
        """Give the sink's counters, once it is there."""
        return None if self._feed is None else self._feed.sink.stats()

    def stop(self, why: str) -> bool:
        """Read no more, and give what is on its way the grace to arrive; called again, none.

        False if nothing runs yet that could be stopped.
        """
        if self._feed is None:
            return False
        self._closing_for(0.0 if self.stopped else self._grace)
        self.stopped = self.stopped or why
        self.source.stop()
        return True

    def _closing_for(self, seconds: float) -> None:
        assert self._feed is not None
        task = asyncio.get_running_loop().create_task(self._feed.sink.close(timeout=seconds))
        # The first call's task ends when the sink is closed, whoever made it quicker.
        self._closing = self._closing or task

    async def abandon(self) -> None:
        """Account for what was read when the run ends before it began."""
        self.source.stop()
        for line in self._head:
            self._give_up(line)
        await self._give_up_rest()

    # --- in ----------------------------------------------------------------------------------------------------------

    async def _records(self, shape: Callable[[Line], Any]) -> AsyncIterator[Any]:
        head, self._head = self._head, []
        for record in self._shaped(head, shape):
            yield record
        async for lines in self._batches:
            for record in self._shaped(lines, shape):
                yield record
            # So that requests and their answers get their turn, however fast the input is.
            await asyncio.sleep(0)
        if self.stopped is not None:
            await self._give_up_rest()

    def _shaped(self, lines: Iterable[Line | BadLine], shape: Callable[[Line], Any]) -> Iterator[Any]:
        for line in lines:
            if self.stopped is not None:
                self._give_up(line)
                continue
            self.read += 1
            self.last_line = line.number
            if isinstance(line, BadLine):
                self._add(Letter.unsent(line.number, "unreadable", line.problem, line.text))
                continue
            try:
                record = shape(line)
            except InvalidRecord as error:
                self._bury(line, error)
                continue
            # Until its outcome only the text is kept: a letter reads it again.
            line.value = None
            self._pending.append(line)
            yield record

    async def _read_batches(self) -> AsyncIterator[Iterable[Line | BadLine]]:
        try:
            async for block in self.source.blocks():
                yield self._reader.feed(self._splitter.feed(block))
        except InputBroken as broken:
            rest = self._reader.feed(self._splitter.end(), is_last=True)
            yield (BadLine(line.number, line.text, f"cut off: {broken}") for line in rest)
            raise
        if self.stopped is None:
            yield self._reader.feed(self._splitter.end(), is_last=True)

    async def _give_up_rest(self) -> None:
        """Account for what was read and not come to; its last line may go on in what was not read."""
        for block in await self.source.leftover():
            for line in self._reader.feed(self._splitter.feed(block)):
                self._give_up(line)
        for line in self._reader.feed(self._splitter.end(), is_last=True):
            self._give_up(BadLine(line.number, line.text, "cut off"))

    def _give_up(self, line: Line | BadLine) -> None:
        """Make a letter of a line that was not put, unless it can be read again from its file."""
        if self.source.is_replayable:
            return
        self.read += 1
        self.last_line = line.number
        record = line.text if isinstance(line, BadLine) else self._reader.record_of(line)
        self._add(Letter.unsent(line.number, "interrupted", "the run ended before it was sent", record))

    # --- out ---------------------------------------------------------------------------------------------------------

    def _bury(self, line: Line, error: SinkwellError) -> None:
        record = self._reader.record_of(line)
        if isinstance(error, SinkClosed):
            self._add(Letter.unsent(line.number, "interrupted", "the run ended before it was sent", record))
        else:
            self._add(Letter.of(line.number, error, record))

    def _add(self, letter: Letter) -> None:
        self.letters.add(letter)
        if self.letters.problem is not None and self.stopped is None:
            self.stop(self.letters.problem)
