"""Many records in, their outcomes out, in order and in bounded memory. Before: `Sink.stream`. After: the dispatcher.

One task feeds records as fast as there is room, while the generator gives outcomes as they come; so a slow source does
not hold back the outcomes of what it gave before. Entries carry no future of their own but for the one waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Final, final

from ._budget import Waiting
from ._entry import Entry, Place
from ._errors import InvalidRecord, SinkClosed, SinkwellError, not_encoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from ._destination import Destination
    from ._dispatcher import Dispatcher
    from ._entry import Encoded

_DONE: Final = Place.DONE
# Records fed between two chances for requests to leave; small enough for the loop to stay responsive.
_FED_AT_ONCE: Final = 500


@final
class _Feed:
    """The records of one stream whose outcomes nobody has taken yet."""

    def __init__(
        self, dispatcher: Dispatcher, destination: Destination[Any, Any], closed: Callable[[], SinkClosed]
    ) -> None:
        self._dispatcher = dispatcher
        self._destination = destination
        self._closed = closed
        # In the records' order. A record that was not accepted stands here as its error.
        self.window: deque[Entry | SinkwellError] = deque()
        # Outcomes count too: a slow reader must not make the window grow.
        self._most = dispatcher.budget.max_records
        # The reader waits for a first element, the feeder for less than the most.
        self._arrived: asyncio.Future[None] | None = None
        self._taken: asyncio.Future[None] | None = None

    async def run(self, records: Iterable[Any] | AsyncIterable[Any]) -> None:
        """Feed every record, then end; raises what the iterable raises."""
        if isinstance(records, AsyncIterable):
            async for record in records:
                if (encoded := self._feed(record)) is not None:
                    await self._line_up(record, encoded)
                self.tell_reader()
                while len(self.window) >= self._most:
                    await self._wait_for_reader()
            return
        fed = 0
        for record in records:
            if (encoded := self._feed(record)) is not None:
                await self._line_up(record, encoded)
            fed += 1
            if fed == _FED_AT_ONCE:
                fed = 0
                self.tell_reader()
                await asyncio.sleep(0)
            while len(self.window) >= self._most:
                await self._wait_for_reader()

    def _feed(self, record: Any) -> Encoded | None:
        """Put the record into the window, accepted or refused; or return what has to wait in line, for want of room."""
        dispatcher = self._dispatcher
        if dispatcher.is_closing:
            self.window.append(self._closed())
            return None
        try:
            encoded = self._destination.encode(record)
            entry = dispatcher.accept(record, encoded, None)
        except InvalidRecord as error:
            self.window.append(error)
            return None
        except Exception as error:  # noqa: BLE001 - one bad record never hurts its neighbours
            self.window.append(not_encoded(self._destination.name, error))
            return None
        if entry is None:
            return encoded
        self.window.append(entry)
        return None

    async def _line_up(self, record: Any, encoded: Encoded) -> None:
        """Wait in line for room, like every other caller."""
        self.tell_reader()
        accepted: asyncio.Future[Entry] = self._dispatcher.new_future()
        self._dispatcher.wait_for_room(Waiting(record, encoded, None, accepted), accepted)
        try:
            self.window.append(await accepted)
        except SinkClosed as error:
            self.window.append(error)
        except asyncio.CancelledError:
            if not accepted.cancelled():
                self.window.append(accepted.result())  # It was accepted in this very tick.
            raise

    async def _wait_for_reader(self) -> None:
        self.tell_reader()
        self._taken = self._dispatcher.new_future()
        await self._taken

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

    def take_first(self) -> None:
        """Let go of the first element, whose outcome is told now."""
        self.window.popleft()
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(None)


async def stream_outcomes(
    dispatcher: Dispatcher,
    destination: Destination[Any, Any],
    records: Iterable[Any] | AsyncIterable[Any],
    closed: Callable[[], SinkClosed],
) -> AsyncIterator[Any]:
    """Put the records and give their outcomes in order; see `Sink.stream`."""
    dispatcher.sender.check_loop()
    feed = _Feed(dispatcher, destination, closed)
    feeder = asyncio.get_running_loop().create_task(feed.run(records))
    feeder.add_done_callback(feed.ended)
    window = feed.window
    try:
        while window or not feeder.done():
            if not window:
                await feed.wait_for_first()
                continue
            first = window[0]
            if isinstance(first, SinkwellError):
                outcome: Any = first
            else:
                if first.place is not _DONE:
                    first.future = dispatcher.new_future()
                    # The outcome is read from the entry; only whether it is there matters here.
                    await asyncio.wait([first.future])
                    first.future.exception()
                outcome = first.outcome
            feed.take_first()
            yield outcome
    finally:
        feeder.cancel()
        try:
            await asyncio.wait([feeder])
        finally:
            for element in window:
                if isinstance(element, Entry):
                    dispatcher.ledger.disown(element)
    feeder.result()  # Raises what the source raised, its cancellation too: it was not exhausted.
