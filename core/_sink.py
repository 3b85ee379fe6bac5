"""The user's door: accept a record, tell its outcome, close truthfully. Before: the caller. After: the dispatcher."""

from __future__ import annotations

import asyncio
import random
import warnings
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ._budget import Waiting
from ._closing import Closing, close_destination
from ._dead_letter import DeadLetters, DeadLetterTarget
from ._dispatcher import Dispatcher
from ._entry import Entry
from ._errors import ConfigError, InvalidRecord, SinkClosed, SinkFull, SinkwellError, not_encoded
from ._policy import Policy, bounds_of
from ._stream import stream_outcomes
from ._tally import Tally

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Hashable, Iterable
    from types import TracebackType

    from ._destination import Destination
    from ._errors import DeliveryError
    from ._observe import CloseReport, Observer, SinkStats
    from ._policy import Bounds

T = TypeVar("T")
R = TypeVar("R")


class Sink(Generic[T, R]):
    """Records in, one at a time; the provider's largest, fewest and safest requests out.

    Every record that is accepted ends in exactly one outcome: a receipt, or a `DeliveryError` whose `outcome` is
    NOT_WRITTEN or UNKNOWN. A sink belongs to the event loop that opened it.

    Example:
        >>> async with Sink(destination, Policy(linger=0.01)) as sink:
        ...     receipt = await sink.put(record)

    Args:
        destination: the provider. The sink owns it: it opens and closes it.
        policy: what the user chooses; see `Policy`.
        dead_letter: where records that ended without a receipt are handed on: a callable, plain or async, that gets
            a `DeadLetter`, or another open sink, which is put `DeadLetter.as_dict()`. Its pace holds back ours: a
            record keeps its room until its letter is taken. So it must come to an end, and must not wait for room in
            this same sink, where its own letters may hold all of it.
        observer: sees requests and failures as they happen.
        rng: where backoff's jitter comes from; for tests that must be repeatable.

    Raises:
        ConfigError: the policy is above the provider's limits, or contradicts itself.
    """

    def __init__(
        self,
        destination: Destination[T, R],
        policy: Policy | None = None,
        *,
        dead_letter: DeadLetterTarget | None = None,
        observer: Observer | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._destination = destination
        self._policy = policy or Policy()
        self._dead_letter = dead_letter
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._tally = Tally(destination.name, observer)
        self._may_open = True
        # None before open and after close.
        self._dispatcher: Dispatcher | None = None
        self._closing: Closing | None = None
        # As they were when it closed.
        self._last_stats: SinkStats | None = None
        bounds_of(self._policy, destination.limits, destination.name)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect to the provider. `async with` does it.

        Cancelled: the destination is closed again, and the sink can't be used.

        Raises:
            ConfigError: the destination refuses the setup, or the sink was opened before.
            SinkClosed: it was closed meanwhile.
        """
        if not self._may_open:
            raise ConfigError(f"{self._destination.name}: a sink is opened once; make a new one")
        self._may_open = False
        try:
            await self._destination.open()
            bounds = bounds_of(self._policy, self._destination.limits, self._destination.name)
        except BaseException:
            await close_destination(self._destination)
            raise
        if self._closing is not None:
            await close_destination(self._destination)
            raise self._closed_error()
        self._start(bounds)

    def _start(self, bounds: Bounds) -> None:
        """Accept records from now on, on the running loop: the destination is open."""
        self._dispatcher = Dispatcher(
            self._destination,
            self._policy,
            bounds,
            loop=asyncio.get_running_loop(),
            rng=self._rng,
            tally=self._tally,
            error_for_caller=self._error_for_caller,
        )
        if self._dead_letter is not None:
            self._dispatcher.ledger.dead_letters = DeadLetters(
                self._dead_letter,
                report=self._tally.dead_letter_failed,
                taken=self._dispatcher.dead_letter_taken,
                sink=self._destination.name,
            )

    # --- in ----------------------------------------------------------------------------------------------------------

    def put(self, record: T) -> asyncio.Future[R]:
        """Accept a record; awaiting the result gives its receipt. Waits its turn if there is no room.

        A plain function: the record is in line when it returns, whether or not anybody awaits. Cancelled while it
        waits for room: the record was not accepted and leaves no trace. Cancelled later: it is still delivered, only
        the answer is lost (the observer gets it).

        Raises:
            InvalidRecord: at once, if the record can't be sent as it is; whatever else encoding raises is its cause.
            SinkClosed: at once, or while waiting for room, if the sink is not open.
            DeliveryError: from the await, if the record ended without a receipt.
        """
        dispatcher = self._dispatcher
        if dispatcher is None or dispatcher.is_closing:
            raise self._closed_error()
        try:
            encoded = self._destination.encode(record)
        except InvalidRecord:
            raise
        except Exception as error:
            raise not_encoded(self._destination.name, error) from error
        future: asyncio.Future[R] = dispatcher.new_future()
        if not dispatcher.accept(record, encoded, future):
            dispatcher.wait_for_room(Waiting(record, encoded, future, None), future)
        return future

    def put_nowait(self, record: T) -> asyncio.Future[R]:
        """Accept a record now, or not at all; awaiting the result gives its receipt.

        Raises:
            SinkFull: there is no room, or others wait for it; the record was not accepted.
            InvalidRecord, SinkClosed, DeliveryError: as `put`.
        """
        dispatcher = self._dispatcher
        if dispatcher is None or dispatcher.is_closing:
            raise self._closed_error()
        try:
            encoded = self._destination.encode(record)
        except InvalidRecord:
            raise
        except Exception as error:
            raise not_encoded(self._destination.name, error) from error
        future: asyncio.Future[R] = dispatcher.new_future()
        if not dispatcher.accept(record, encoded, future):
            budget = dispatcher.budget
            raise SinkFull(
                f"{self._destination.name}: {budget.records:,} of {budget.max_records:,} records and "
                f"{budget.bytes:,} of {budget.max_bytes:,} bytes are pending, {len(budget.waiting):,} callers wait"
            )
        return future

    async def submit(self, record: T) -> asyncio.Future[R]:
        """Wait only until the record is accepted, and return its delivery, to be awaited whenever it suits.

        Cancelled while it waits for room: the record was not accepted and leaves no trace.

        Raises:
            InvalidRecord, SinkClosed: as `put`.
        """
        future, accepted = self._line_up(record)
        if accepted is not None:
            try:
                await accepted
            except asyncio.CancelledError:
                # Accepted in the same tick, it is delivered all the same, and its outcome is nobody's but the
                # observer's.
                future.cancel()
                raise
        return future

    def _line_up(self, record: T) -> tuple[asyncio.Future[R], asyncio.Future[Any] | None]:
        """Accept a record, or let it wait in line: its delivery, and, if it waits, what tells that it is accepted."""
        dispatcher = self._dispatcher
        if dispatcher is None or dispatcher.is_closing:
            raise self._closed_error()
        try:
            encoded = self._destination.encode(record)
        except InvalidRecord:
            raise
        except Exception as error:
            raise not_encoded(self._destination.name, error) from error
        future: asyncio.Future[R] = dispatcher.new_future()
        if dispatcher.accept(record, encoded, future):
            return future, None
        accepted: asyncio.Future[Any] = dispatcher.new_future()
        dispatcher.wait_for_room(Waiting(record, encoded, future, accepted), accepted)
        return future, accepted

    async def put_many(self, records: Iterable[T] | AsyncIterable[T]) -> list[R | SinkwellError]:
        """Put all records and wait for all outcomes: a list in the records' order, never an exception for one record.

        Each element is a receipt, a `DeliveryError`, or, for a record that was not accepted, `InvalidRecord` or
        `SinkClosed`. Cancelled: what was accepted is still delivered, and the observer gets its outcomes; the rest is
        not put. What the iterable itself raises is raised, with the same effect.
        """
        dispatcher = self._dispatcher
        if dispatcher is None or dispatcher.is_closing:
            raise self._closed_error()
        settled: list[Any] = []
        try:
            async for item in stream_outcomes(
                dispatcher, self._destination, records, self._closed_error, as_entries=True
            ):
                settled.append(item)  # noqa: PERF401 - a comprehension would take them along when it is cancelled
        except BaseException:
            # Nobody is told what was collected so far, but the observer.
            for item in settled:
                if isinstance(item, Entry):
                    dispatcher.ledger.disown(item)
            raise
        return [item.outcome if isinstance(item, Entry) else item for item in settled]

    def stream(self, records: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[R | SinkwellError]:
        """Put records from any iterable or async iterable in bounded memory, and give their outcomes in their order.

        A plain iterable is read up to 500 records ahead, which are accepted together afterwards: what it puts into this
        sink itself, while it is read, overtakes them. Records of an async iterable are accepted one by one.

        Elements are as those of `put_many`. Whatever the iterable itself raises is raised after the outcomes of what
        came before it. Leaving the loop early, or being cancelled: what was accepted is still delivered, and the
        observer gets its outcomes.
        """
        dispatcher = self._dispatcher
        if dispatcher is None or dispatcher.is_closing:
            raise self._closed_error()
        return stream_outcomes(dispatcher, self._destination, records, self._closed_error)

    # --- out ---------------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Wait until every record accepted before this call has its outcome; they leave without linger.

        Cancelled: only the waiting ends.

        Raises:
            SinkClosed: the sink is not open.
        """
        if self._dispatcher is None:
            raise self._closed_error()
        await self._dispatcher.flush()

    def resume(self, key: Hashable, *, target: Hashable = None) -> bool:
        """Let a key's lane go on that `on_failure="block"` stopped; whether it was stopped.

        Args:
            key: as the destination makes it: an SQS message group, a DynamoDB key.
            target: where the sink has several: the queue URL, the table.

        Raises:
            SinkClosed: the sink is not open.
        """
        if self._dispatcher is None:
            raise self._closed_error()
        return self._dispatcher.resume(key, target)

    async def close(self, timeout: float | None = None) -> CloseReport:
        """Refuse new records, deliver what was accepted, and tell what became of it. `async with` does it.

        Batches leave without linger and failed entries are retried until the timeout. Then what never left is
        NOT_WRITTEN, requests on the wire are cancelled, and what they leave open is UNKNOWN. Dead letters are handed
        on within the same time. Called again, it waits for the first call, and a shorter timeout counts.

        Cancelled: the timeout is now; everything gets its outcome before the cancellation is raised.

        Args:
            timeout: seconds; `None` for the policy's `delivery_timeout`, by when every record has its outcome.
        """
        self._may_open = False
        if self._closing is None:
            self._closing = Closing(self._destination, self._dispatcher, self._tally, self._policy)
        try:
            return await self._closing.run(self._policy.delivery_timeout if timeout is None else timeout)
        finally:
            if self._closing.is_done and self._dispatcher is not None:
                self._last_stats = self.stats()
                self._dispatcher = None

    def stats(self) -> SinkStats:
        """Return a snapshot of what is pending and what has happened so far; after close, the last one."""
        counters = self._tally.counters()
        return self._last_stats or (counters if self._dispatcher is None else self._dispatcher.gauges(counters))

    def __del__(self) -> None:
        dispatcher = getattr(self, "_dispatcher", None)  # none where a subclass's constructor refused its arguments
        if dispatcher is not None and dispatcher.ledger.open:
            # Its loop has ended, and with it every promise.
            message = f"{self._destination.name}: never closed, {len(dispatcher.ledger.open):,} records have no outcome"
            warnings.warn(
                f"{message}; use `async with`, or await sink.close()", ResourceWarning, stacklevel=2, source=self
            )

    def __repr__(self) -> str:
        if not hasattr(self, "_tally"):  # a traceback shows it while a subclass's constructor refuses its arguments
            return f"<{type(self).__name__} not made>"
        stats = self.stats()
        state = "closed" if self._dispatcher is None else "closing" if self._dispatcher.is_closing else "open"
        return (
            f"<{type(self).__name__} {self._destination.name} {state} pending={stats.pending_records:,} "
            f"bytes={stats.pending_bytes:,} in_flight={stats.requests_in_flight}/{stats.concurrency} "
            f"retrying={stats.retrying:,} waiting={stats.waiting:,} oldest={stats.oldest_seconds:.1f}s>"
        )

    def _error_for_caller(self, failure: DeliveryError) -> BaseException:
        """Say what a record's future raises for its failure; for a sink's caller it is the failure itself."""
        return failure

    def _closed_error(self) -> SinkClosed:
        if self._closing is None:
            return SinkClosed(
                f"{self._destination.name}: the sink is not open yet; use `async with`, or await sink.open() first"
            )
        return SinkClosed(f"{self._destination.name}: the sink is closed, the record was not accepted")
