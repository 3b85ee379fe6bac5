"""The callers of a simulated world: each puts its records through one of the sink's doors and keeps what it is told."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from sinkwell.core import DeliveryError, InvalidRecord, Receipt, SinkClosed, SinkFull

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from .scenario import Producer, Record
    from .world import World

NOT_ACCEPTED = (SinkClosed, SinkFull, InvalidRecord)


class SourceError(Exception):
    """A stream's source raises it half-way."""


class Callers:
    """All callers, their tasks, and what each has under way."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._oracle = world.oracle
        self.tasks: list[asyncio.Task[None]] = []
        # What each task waits for, so that who cancels it can tell the oracle.
        self.busy_with: dict[asyncio.Task[None], Record] = {}
        # Futures that their callers hold, for those who cancel them.
        self.held: dict[Record, asyncio.Future[Any]] = {}

    def start(self) -> list[asyncio.Task[None]]:
        """Start them all."""
        for number, producer in enumerate(self._world.scenario.producers):
            task = self._world.loop.create_task(self._run(producer), name=f"sim caller {number} ({producer.api})")
            self.tasks.append(task)
        return self.tasks

    async def _run(self, producer: Producer) -> None:
        if producer.starts_at:
            await asyncio.sleep(producer.starts_at)
        match producer.api:
            case "put_many":
                await self._put_many(producer)
            case "stream":
                await self._stream(producer)
            case _:
                await self._one_by_one(producer)

    async def _one_by_one(self, producer: Producer) -> None:
        waiting: list[tuple[Record, asyncio.Future[Any]]] = []
        for record in producer.records:
            future = await self._put(producer.api, record)
            if future is not None:
                self.held[record] = future
                if producer.api == "put":
                    await self._wait_for(record, future)
                else:
                    waiting.append((record, future))
            if producer.pause:
                await asyncio.sleep(producer.pause)
        for record, future in waiting:
            await self._wait_for(record, future)

    async def _put(self, api: str, record: Record) -> asyncio.Future[Any] | None:
        sink = self._world.sink
        try:
            if api == "put_nowait":
                future = sink.put_nowait(record)
                if record.accepted_at is None:
                    self._oracle.breach("I1", f"put_nowait returned, and record {record.id} is not accepted")
                return future
            if api == "submit":
                return await self._submit(record)
            return sink.put(record)
        except NOT_ACCEPTED as error:
            self._oracle.turned_away(record, error)
            if isinstance(error, SinkFull):
                self._oracle.rare("put_nowait found no room")
            return None

    async def _submit(self, record: Record) -> asyncio.Future[Any]:
        task = asyncio.current_task()
        assert task is not None
        self.busy_with[task] = record
        try:
            future = await self._world.sink.submit(record)
        except asyncio.CancelledError:
            if record.accepted_at is not None:
                self._oracle.rare("submit cancelled in the tick of acceptance")
                record.is_lost = True
            raise
        finally:
            del self.busy_with[task]
        if record.accepted_at is None:
            self._oracle.breach("I1", f"submit returned, and record {record.id} is not accepted")
        return future

    async def _wait_for(self, record: Record, future: asyncio.Future[Any]) -> None:
        """Wait for an outcome; a future that somebody else cancelled is no outcome."""
        task = asyncio.current_task()
        assert task is not None
        self.busy_with[task] = record
        try:
            self._oracle.told(record, await future)
        except DeliveryError as error:
            self._oracle.told(record, error)
        except SinkClosed as error:
            self._oracle.rare("close refused a caller who waited for room")
            self._oracle.turned_away(record, error)
        except asyncio.CancelledError:
            if task.cancelling():
                raise
        finally:
            del self.busy_with[task]
            self.held.pop(record, None)

    async def _put_many(self, producer: Producer) -> None:
        self._mark(producer)
        try:
            outcomes = await self._world.sink.put_many(self._source(producer))
        except SourceError:
            self._oracle.rare("a put_many's source raised")
            return
        except SinkClosed:
            return
        except asyncio.CancelledError:
            # What it had put by then has its outcomes told to the observer.
            if any(record.ended_at is not None for record in producer.records):
                self._oracle.rare("put_many cancelled with outcomes in hand")
            raise
        records = producer.records
        if len(outcomes) != len(records):
            self._oracle.breach("I1", f"put_many gave {len(outcomes)} outcomes for {len(records)} records")
            return
        for record, outcome in zip(records, outcomes, strict=True):
            self._streamed(record, outcome)

    async def _stream(self, producer: Producer) -> None:
        self._mark(producer)
        taken = 0
        try:
            stream = self._world.sink.stream(self._source(producer))
        except SinkClosed:
            return
        try:
            async for outcome in stream:
                self._streamed(producer.records[taken], outcome)
                if taken == producer.leaves_at:
                    self._oracle.rare("a stream's reader left early")
                    break
                taken += 1
                if producer.reader_pause:
                    await asyncio.sleep(producer.reader_pause)
        except SourceError:
            self._oracle.rare("a stream's source raised")
        finally:
            await stream.aclose()

    def _mark(self, producer: Producer) -> None:
        for record in producer.records:
            record.is_streamed = True

    def _streamed(self, record: Record, outcome: Any) -> None:
        if isinstance(outcome, (Receipt, DeliveryError)):
            self._oracle.told(record, outcome)
        else:
            self._oracle.turned_away(record, outcome)

    def _source(self, producer: Producer) -> Any:
        return self._async_source(producer) if producer.is_async else self._plain_source(producer)

    def _plain_source(self, producer: Producer) -> Iterator[Record]:
        for number, record in enumerate(producer.records):
            if number == producer.raises_at:
                raise SourceError
            yield record

    async def _async_source(self, producer: Producer) -> AsyncIterator[Record]:
        for record in self._plain_source(producer):
            await asyncio.sleep(producer.pause)
            yield record

    def cancel_one(self) -> None:
        """Cancel a caller, whatever it waits for."""
        tasks = [task for task in self.tasks if not task.done()]
        if tasks:
            task = self._world.rng.choice(tasks)
            self._oracle.note("cancel", task.get_name())
            record = self.busy_with.get(task)
            if record is not None:
                future = self.held.get(record)
                if future is None or not future.done():
                    self._oracle.withdrawn(record)
                else:
                    self._oracle.rare("caller cancelled in the tick of completion")
            task.cancel()

    def cancel_around(self, records: list[Record]) -> None:
        """Cancel a caller within the next few ticks, in which answers land, waiters are let in and callers wake."""
        world = self._world
        if self._oracle.is_over or world.rng.random() >= world.scenario.cancel_on_answer:
            return
        kind = world.rng.choice(("one of these", "any", "a waiter"))
        if kind == "one of these":
            cancel = partial(self.cancel_future, world.rng.choice(records))
        elif kind == "any":
            cancel = self.cancel_one
        else:
            cancel = self.cancel_waiter
        self._after_ticks(world.rng.randrange(4), cancel)

    def _after_ticks(self, ticks: int, act: Callable[[], None]) -> None:
        if ticks:
            self._world.loop.call_soon(self._after_ticks, ticks - 1, act)
        else:
            act()

    def cancel_waiter(self) -> None:
        """Cancel who is first in line for room."""
        first = next(iter(self._oracle.in_line), None)
        if first in self.held:
            self.cancel_future(first)
        for task, record in self.busy_with.items():
            if record is first and first not in self.held:
                self._oracle.withdrawn(record)
                task.cancel()
                return

    def cancel_future(self, record: Record | None = None) -> None:
        """Cancel a future that somebody holds, as a timeout around it would."""
        pending = [one for one, future in self.held.items() if not future.done()]
        if record is None and pending:
            record = self._world.rng.choice(pending)
        if record in self.held and not self.held[record].done():
            self._oracle.withdrawn(record)
            self.held[record].cancel()
