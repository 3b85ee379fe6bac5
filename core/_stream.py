"""Many records in, their outcomes out, in order and in bounded memory. Before: `Sink.stream`. After: the dispatcher.

One task feeds records as fast as there is room, while the generator gives outcomes as they come; so a slow source does
not hold back the outcomes of what it gave before. Entries carry no future of their own but for the one waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, final

from ._budget import Waiting
from ._entry import Entry, Place
from ._errors import InvalidRecord, SinkClosed, SinkwellError, not_encoded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

    from ._destination import Destination
    from ._dispatcher import Dispatcher

_DONE: Final = Place.DONE
# Records, and seconds, between two chances for requests to leave and for others to run.
_FED_AT_ONCE: Final = 500
_LONGEST_BLOCK: Final = 0.002
# Outcomes given, if all are there, between two chances for others to run: as many as take about a millisecond.
_GIVEN_AT_ONCE: Final = 1_000
# Records encoded between two looks at the clock.
_BETWEEN_LOOKS: Final = 50


@final
class _Block:
    """Records encoded one after the other, to be accepted at once."""

    __slots__ = ("entries", "records", "refusal")

    def __init__(self) -> None:
        self.records: list[Any] = []
        self.entries: list[Entry] = []
        # Why the record after them can't be accepted, if that ended the block.
        self.refusal: SinkwellError | None = None


@final
class _Feed:
    """The records of one stream whose outcomes nobody has taken yet."""

    def __init__(
        self, dispatcher: Dispatcher, destination: Destination[Any, Any], closed: Callable[[], SinkClosed]
    ) -> None:
        self._dispatcher = dispatcher
        self._destination = destination
        self._closed = closed
        self._clock = asyncio.get_running_loop().time
        # In the records' order. A record that was not accepted stands here as its error.
        self.window: deque[Entry | SinkwellError] = deque()
        # Outcomes count too: a slow reader must not make the window grow.
        self._most = dispatcher.budget.max_records
        # The reader waits for a first element, the feeder for less than the most.
        self._arrived: asyncio.Future[None] | None = None
        self.taken: asyncio.Future[None] | None = None

    async def run(self, records: Iterable[Any] | AsyncIterable[Any]) -> None:
        """Feed every record, then end; raises what the iterable raises."""
        if isinstance(records, AsyncIterable):
            async for record in records:
                await self._feed(iter((record,)))
                self.tell_reader()
                await self._wait_for_reader()
            return
        source = iter(records)
        while await self._feed(source):
            self.tell_reader()
            await asyncio.sleep(0)
            await self._wait_for_reader()

    async def _feed(self, source: Iterator[Any]) -> bool:
        """Put the next block of records into the window, accepted or refused; whether there may be more."""
        block = _Block()
        try:
            return self._encode(source, block)
        finally:
            # Also if the source raises: what it gave before is put.
            await self._put(block)

    def _encode(self, source: Iterator[Any], block: _Block) -> bool:
        """Encode the next records, no longer than the loop can wait, and no more than there is room for.

        But for one, which has to wait for room: so bytes that nobody counts yet are those of one record.
        """
        encode, clock = self._destination.encode, self._clock
        budget = self._dispatcher.budget
        entries, records = block.entries, block.records
        room = max(1, min(_FED_AT_ONCE, self._most - len(self.window), budget.max_records - budget.records))
        room_bytes = 0 if budget.waiting else budget.max_bytes - budget.bytes
        until = clock() + _LONGEST_BLOCK
        # The clock is looked at last: a record of an async source comes alone, and would not come again.
        while True:
            wanted = len(entries) + min(room, _BETWEEN_LOOKS)
            for record in islice(source, wanted - len(entries)):
                try:
                    entry = encode(record)
                    room_bytes -= entry.size
                except InvalidRecord as error:
                    block.refusal = error
                    return True
                except Exception as error:  # noqa: BLE001 - one bad record never hurts its neighbours
                    block.refusal = not_encoded(self._destination.name, error)
                    return True
                entries.append(entry)
                records.append(record)
                if room_bytes <= 0:
                    return True
            if len(entries) < wanted:
                return False
            room -= _BETWEEN_LOOKS
            if room <= 0 or clock() > until:
                return True

    async def _put(self, block: _Block) -> None:
        """Put the block into the window: its plain entries at once, the others one by one."""
        count = self._dispatcher.accept_block(block.records, block.entries)
        self.window.extend(block.entries[:count])
        for record, entry in zip(block.records[count:], block.entries[count:], strict=True):
            self.window.append(self._put_now(record, entry) or await self._line_up(record, entry))
        if block.refusal is not None:
            self.window.append(block.refusal)

    def _put_now(self, record: Any, entry: Entry) -> Entry | SinkwellError | None:
        """Accept or refuse a record as every other caller's; `None` if it has to wait for room."""
        if self._dispatcher.is_closing:
            return self._closed()
        try:
            return entry if self._dispatcher.accept(record, entry, None) else None
        except InvalidRecord as error:
            return error
        except Exception as error:  # noqa: BLE001 - one bad record never hurts its neighbours
            return not_encoded(self._destination.name, error)

    async def _line_up(self, record: Any, encoded: Entry) -> Entry | SinkClosed | InvalidRecord:
        """Wait in line for room, like every other caller."""
        self.tell_reader()
        accepted: asyncio.Future[Entry] = self._dispatcher.new_future()
        try:
            self._dispatcher.wait_for_room(Waiting(record, encoded, None, accepted), accepted)
            return await accepted
        except (SinkClosed, InvalidRecord) as error:
            return error
        except asyncio.CancelledError:
            if accepted.done() and not accepted.cancelled() and accepted.exception() is None:
                # Accepted in the tick of the cancellation: it is delivered, and its outcome is the observer's.
                self._dispatcher.ledger.disown(encoded)
            raise

    async def _wait_for_reader(self) -> None:
        while len(self.window) >= self._most:
            self.taken = self._dispatcher.new_future()
            await self.taken

    def tell_feeder(self) -> None:
        """Wake the feeder if it waits for the reader to take something."""
        if self.taken is not None and not self.taken.done():
            self.taken.set_result(None)
        self.taken = None

    def ended(self, feeder: asyncio.Task[None]) -> None:
        """Wake the reader, who raises what the source raised; if the reader has left, nobody need be told."""
        if not feeder.cancelled():
            feeder.exception()
        self.tell_reader()

    def tell_reader(self) -> None:
        """Wake the reader if it waits for a first element, or for the end."""
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def wait_for_first(self) -> None:
        """Wait until there is an element, or the end."""
        self._arrived = self._dispatcher.new_future()
        await self._arrived

    async def wait_for_outcome(self, entry: Entry) -> None:
        """Wait until the entry has its outcome, which is read from the entry."""
        entry.future = self._dispatcher.new_future()
        await asyncio.wait([entry.future])
        entry.future.exception()


async def stream_outcomes(
    dispatcher: Dispatcher,
    destination: Destination[Any, Any],
    records: Iterable[Any] | AsyncIterable[Any],
    closed: Callable[[], SinkClosed],
    *,
    as_entries: bool = False,
) -> AsyncGenerator[Any, None]:
    """Put the records and give their outcomes in order, see `Sink.stream`; or the entries that have them."""
    dispatcher.sender.check_loop()
    feed = _Feed(dispatcher, destination, closed)
    feeder = asyncio.get_running_loop().create_task(feed.run(records))
    feeder.add_done_callback(feed.ended)
    window = feed.window
    given = 0
    try:
        while window or not feeder.done():
            if not window:
                await feed.wait_for_first()
                continue
            given += 1
            if given % _GIVEN_AT_ONCE == 0:
                await asyncio.sleep(0)
            element: Any = window[0]
            if type(element) is Entry:
                if element.place is not _DONE:
                    await feed.wait_for_outcome(element)
                if not as_entries:
                    element = element.outcome
            window.popleft()
            if feed.taken is not None:
                feed.tell_feeder()
            yield element
    finally:
        feeder.cancel()
        try:
            await asyncio.wait([feeder])
        finally:
            for element in window:
                if isinstance(element, Entry):
                    dispatcher.ledger.disown(element)
    feeder.result()  # Raises what the source raised, its cancellation too: it was not exhausted.
