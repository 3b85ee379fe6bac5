"""Requests out, answers in: slots, pace, attempts, isolation, backoff.

State changes in plain functions, between awaits.

Before: `Targets`, which says whose batch may leave. After: `Destination.write`, whose answer comes back to `_landed`;
the judge turns it into outcomes or retries.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

from ._batch import Batch
from ._concurrency import AdaptiveConcurrency, FixedConcurrency
from ._entry import Place
from ._errors import SinkwellError
from ._flight import Flight
from ._isolation import Isolation
from ._pace import Pace
from ._policy import Adaptive
from ._retry import RetryQueue
from ._targets import Targets
from ._verdict import BatchRefused, Delivered, Retry, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._batch import SealReason
    from ._concurrency import Concurrency
    from ._destination import Destination
    from ._entry import Entry
    from ._judge import Judge
    from ._ledger import Ledger
    from ._policy import Bounds, Policy
    from ._tally import Tally
    from ._verdict import Verdict

_FLYING: Final = Place.FLYING
_HELD: Final = Place.HELD
_DONE: Final = Place.DONE


@final
class Sender:
    """The slots that all targets of one sink share, the pace, and the backoff of what goes again."""

    def __init__(
        self,
        destination: Destination[Any, Any],
        policy: Policy,
        bounds: Bounds,
        *,
        loop: asyncio.AbstractEventLoop,
        ledger: Ledger,
        judge: Judge,
        tally: Tally,
        after_outcomes: Callable[[], None],
    ) -> None:
        self._destination = destination
        self._policy = policy
        self._bounds = bounds
        self._loop = loop
        self._judge = judge
        self._tally = tally
        # Called whenever entries ended or a request came back.
        self._after_outcomes = after_outcomes
        # A request serves many callers: it runs in the context in which the sink was opened, not in one caller's.
        self._context = copy_context()
        self.concurrency: Concurrency = (
            AdaptiveConcurrency(policy.concurrency)
            if isinstance(policy.concurrency, Adaptive)
            else FixedConcurrency(policy.concurrency)
        )
        self._pace = Pace(policy.rate)
        self.targets = Targets(bounds, linger=policy.linger, loop=loop, ledger=ledger, wake=self.pump_soon)
        # In the order in which their slots were taken, so that close calls them back in an order that repeats.
        self.flights: dict[Flight, None] = {}
        self._retries = RetryQueue()
        # One handle each, or None: an idle sink has nothing scheduled.
        self.pump_handle: asyncio.Handle | None = None
        self._pace_timer: asyncio.TimerHandle | None = None
        self._retry_timer: asyncio.TimerHandle | None = None
        # Whether all slots were in use after the last pump: only then would more of them have been of use.
        self._is_full = False
        # The loop's time as of the first event of this tick; valid while the pump is scheduled.
        self.now = 0.0

    # --- what leaves, and when ---------------------------------------------------------------------------------------

    def pump_soon(self, now: float = 0.0) -> None:
        """Send at the end of this tick what may leave, so that all puts of one tick share batches."""
        if self.pump_handle is None:
            self.check_loop()
            self.now = self._loop.time()
            self.pump_handle = self._loop.call_soon(self._pump)
        self.now = max(self.now, now)

    def check_loop(self) -> None:
        """Refuse a caller on another loop or thread, whose record might lie unsent. Asked once a tick: no cost.

        Raises:
            SinkwellError: the caller is not on the loop that opened the sink.
        """
        try:
            is_ours = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_ours = False
        if not is_ours:
            raise SinkwellError(
                f"{self._destination.name}: the sink belongs to the event loop that opened it; from elsewhere use "
                "asyncio.run_coroutine_threadsafe(sink.submit(record), loop)"
            )

    def _pump(self) -> None:
        """Send what may leave: the targets take turns, a batch each, until no slot is free or none has a reason."""
        self.pump_handle = None
        now = max(self.now, self._loop.time())
        self._send_all(now)
        self._is_full = len(self.flights) >= self.concurrency.limit

    def _send_all(self, now: float) -> None:
        while len(self.flights) < self.concurrency.limit:
            turn = self.targets.next_to_send(now)
            if turn is None:
                return
            if self._pace.free_at > now:
                self._wait_for_pace()
                return
            batcher, reason = turn
            batcher.in_flight += 1
            flight = Flight(batcher, batcher.cut())
            self.targets.end_turn()
            self.flights[flight] = None
            self._launch(flight, flight.entries, reason, now)

    def _wait_for_pace(self) -> None:
        if self._pace_timer is None:
            due = self._pace.free_at
            self._pace_timer = self._loop.call_at(due, self._pace_over, due)

    def _pace_over(self, due: float) -> None:
        self._pace_timer = None
        # Not free_at, which a request that waited for the same moment may have pushed back since.
        self.pump_soon(due)

    # --- on the wire -------------------------------------------------------------------------------------------------

    def _launch(self, flight: Flight, entries: list[Entry], reason: SealReason, now: float) -> None:
        """Put entries on the wire. Sealed before the first await: what is put meanwhile joins another batch."""
        batch = flight.batch = Batch(flight.batcher.target, entries, reason)
        size = 0
        for entry in entries:
            entry.place = _FLYING
            entry.attempts += 1
            size += entry.size
        assert 0 < len(entries) <= self._bounds.max_records
        assert size <= self._bounds.max_bytes
        units = sum(entry.units for entry in entries) if self._pace.counts_units else 0.0
        self._pace.spend(now, records=len(entries), size=size, units=units)
        flight.sent_at = now
        flight.has_begun = flight.is_over_time = False
        flight.task = self._context.run(self._loop.create_task, self._write(flight, batch))
        flight.timer = self._loop.call_at(now + self._policy.attempt_timeout, self._over_time, flight)
        flight.task.add_done_callback(partial(self._landed, flight))
        self._tally.sent(batch, size, in_flight=len(self.flights))

    async def _write(self, flight: Flight, batch: Batch) -> Sequence[Verdict[Any]]:
        """Call the destination from inside the task, so that whatever it raises is an answer."""
        flight.has_begun = True
        return await self._destination.write(batch)

    def _over_time(self, flight: Flight) -> None:
        assert flight.task is not None
        flight.is_over_time = True
        flight.task.cancel()

    def _landed(self, flight: Flight, task: asyncio.Task[Sequence[Verdict[Any]]]) -> None:
        """Take the answer of a request: (1) a refusal, (2) verdicts, (3) none, which leaves every entry unknown.

        Called however the task ended, also when it was cancelled from outside: no entry is left without an answer.
        """
        batch = flight.batch
        assert batch is not None
        assert flight.timer is not None
        flight.timer.cancel()
        flight.timer = flight.task = None
        now = self._loop.time()
        error: BaseException | None
        verdicts: Sequence[Verdict[Any]]
        if task.cancelled():
            error = TimeoutError(
                f"no answer within attempt_timeout ({self._policy.attempt_timeout} s)"
                if flight.is_over_time
                else "the request was cancelled before its answer came"
            )
        else:
            error = task.exception()
        if isinstance(error, BatchRefused):
            self._refused(flight, batch, error, now)
            return
        if error is None:
            verdicts = self._paired(batch, task.result())
        elif flight.has_begun:
            verdicts = [Unknown(error)] * len(batch)
        else:
            # Cancelled before its first step: nobody has seen it, so it was no attempt.
            verdicts = [Retry(error, unsent=True)] * len(batch)
        throttled = self._judge.apply(flight, batch.entries, verdicts, now)
        self._tally.landed(batch, verdicts, seconds=now - flight.sent_at, throttled=throttled, error=error)
        self.concurrency.answered(sent_at=flight.sent_at, now=now, throttled=throttled, was_full=self._is_full)
        if flight.isolation is not None:
            flight.isolation.written(all_of_it=all(type(verdict) is Delivered for verdict in verdicts))
        self._next_part(flight, now)

    def _paired(self, batch: Batch, verdicts: Sequence[Verdict[Any]]) -> Sequence[Verdict[Any]]:
        """A list that can't be paired with the entries says nothing about any of them."""
        if isinstance(verdicts, (list, tuple)) and len(verdicts) == len(batch):
            return verdicts
        count = f"{len(verdicts)} verdicts" if isinstance(verdicts, (list, tuple)) else type(verdicts).__name__
        return [Unknown(TypeError(f"{self._destination.name} answered {count} for {len(batch)} entries"))] * len(batch)

    def _refused(self, flight: Flight, batch: Batch, error: BatchRefused, now: float) -> None:
        """Nothing was written, and nobody is charged an attempt, but for a culprit found."""
        for entry in batch.entries:
            entry.attempts -= 1
            if entry.place is _FLYING:
                entry.place = _HELD
        self._tally.refused(batch, seconds=now - flight.sent_at, error=error)
        if flight.isolation is None:
            flight.isolation = Isolation()
        flight.isolation.refused(batch.entries, error.suspect)
        flight.refusal = error.__cause__ or error
        self._next_part(flight, now)

    def _next_part(self, flight: Flight, now: float) -> None:
        """Send the next part of a refused batch, in the same slot; without one, the flight is over."""
        flight.batch = None
        isolation = flight.isolation
        group: list[Entry] = []
        if isolation is not None:
            # First, for a culprit may block its key, and a blocked key's followers must not go.
            self._reject_culprits(flight, isolation)
            group = [] if self._judge.is_abandoning else isolation.next_group()
            if self._reject_culprits(flight, isolation):
                group = isolation.next_group()
        if self._judge.is_abandoning:
            # A refusal that landed just after abandon had asked who is on the wire.
            self._judge.abandon(flight.entries)
        if not group:
            self._finish(flight, now)
        elif self._pace.free_at > now:
            self._wait_with_part(flight, group)
            self._after_outcomes()
        else:
            self._launch(flight, group, "isolation", now)
            self._after_outcomes()

    def _reject_culprits(self, flight: Flight, isolation: Isolation) -> bool:
        """Reject the culprits found by now; whether there were any."""
        culprits = isolation.culprits
        isolation.culprits = []
        for culprit in culprits:
            if culprit.place is not _DONE:
                culprit.attempts += 1
                assert flight.refusal is not None
                self._judge.reject(culprit, flight.refusal)
        isolation.stalled_keys.update(flight.batcher.blocked)
        return bool(culprits)

    def _wait_with_part(self, flight: Flight, group: list[Entry]) -> None:
        due = self._pace.free_at
        flight.timer = self._loop.call_at(due, self._next_paced_part, flight, group, due)

    def _next_paced_part(self, flight: Flight, group: list[Entry], due: float) -> None:
        # A loop's clock may be coarser than its timers: the timer is the judge.
        now = max(self._loop.time(), due)
        flight.timer = None
        if any(entry.place is _DONE for entry in group):
            self._next_part(flight, now)
        elif self._pace.free_at > now:
            # Another request, waiting for the same moment, has gone first.
            self._wait_with_part(flight, group)
        else:
            self._launch(flight, group, "isolation", now)

    def _finish(self, flight: Flight, now: float) -> None:
        """Free the slot and the lanes, and send to backoff what goes again."""
        batcher = flight.batcher
        del self.flights[flight]
        batcher.in_flight -= 1
        assert batcher.in_flight >= 0
        for entry in batcher.settle(flight.entries, now):
            self._retries.push(flight.dues.get(entry, now), batcher, entry)
        if batcher.retrying:
            self._arm_retries()
        self.targets.tidy(batcher)
        self._after_outcomes()

    # --- backoff -----------------------------------------------------------------------------------------------------

    def _arm_retries(self) -> None:
        due = self._retries.next_due()
        if self._retry_timer is not None:
            if due is not None and self._retry_timer.when() <= due:
                return
            self._retry_timer.cancel()
            self._retry_timer = None
        if due is not None:
            self._retry_timer = self._loop.call_at(due, self._retries_due, due)

    def _retries_due(self, due: float) -> None:
        self._retry_timer = None
        now = max(self._loop.time(), due)
        for batcher, entries in self._retries.pop_due(now).items():
            batcher.retry(entries, now)
            self.targets.consider(batcher)
        self._arm_retries()

    # --- the end -----------------------------------------------------------------------------------------------------

    def cancel_flights(self) -> None:
        """Call back what is on the wire: its last word decides between an outcome and unknown."""
        for flight in list(self.flights):
            if flight.task is not None:
                flight.task.cancel()
            else:
                assert flight.timer is not None
                flight.timer.cancel()
                self._next_part(flight, self._loop.time())

    def cancel_timers(self) -> None:
        """Leave nothing scheduled behind."""
        for handle in (self.pump_handle, self._pace_timer, self._retry_timer):
            if handle is not None:
                handle.cancel()
        for flight in self.flights:
            # Its client would not stop: nobody waits for its attempt_timeout any more.
            assert flight.timer is not None
            flight.timer.cancel()
        self.targets.cancel_timers()
