"""The asyncio shell: it acts on what the pure rules decide. Every state change happens in a plain function, between awaits.

Before: `Sink.put`. After: `Destination.write`, whose verdicts come back to `_landed` and end entries or send them again.

A record's journey: `accept` (budget, then batcher) -> `_pump` (which target may send) -> `_launch` (a task a request)
-> `_landed` (its answer) -> `_apply` (a verdict for each entry) -> `_finish` (lanes and slot are free again).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, final

from ._batch import Batch, SealReason
from ._batcher import Batcher
from ._budget import Budget, Waiting
from ._concurrency import AdaptiveConcurrency, Concurrency, FixedConcurrency
from ._entry import Encoded, Entry, Place
from ._errors import DeliveryAbandoned, DeliveryError, DeliveryExpired, DeliveryRejected, RecordTooLarge
from ._flight import Flight
from ._isolation import Isolation
from ._pace import Pace
from ._policy import Adaptive, Bounds, Policy
from ._receipt import Outcome
from ._retry import RetryQueue
from ._tally import Tally
from ._verdict import BatchRefused, Delivered, Rejected, Retry, Unknown

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable, Iterable, Sequence

    from ._dead_letter import DeadLetters
    from ._destination import Destination
    from ._observe import SinkStats
    from ._verdict import Verdict

_FLYING: Final = Place.FLYING
_HELD: Final = Place.HELD
_DONE: Final = Place.DONE


def _in_time(policy: Policy) -> str:
    return f"delivery_timeout ({policy.delivery_timeout} s)"


@final
@dataclass(slots=True, eq=False)
class Flush:
    """Somebody waits for everything accepted up to an epoch."""

    epoch: int
    # Open entries of that epoch or an earlier one.
    remaining: int
    done: asyncio.Future[None]


@final
class Dispatcher:
    """Everything between acceptance and outcome, for one open sink on one event loop."""

    def __init__(
        self,
        destination: Destination[Any, Any],
        policy: Policy,
        bounds: Bounds,
        *,
        loop: asyncio.AbstractEventLoop,
        rng: random.Random,
        tally: Tally,
    ) -> None:
        self._destination = destination
        self._policy = policy
        self._bounds = bounds
        self._loop = loop
        self.new_future = loop.create_future
        self._rng = rng
        self._tally = tally
        self.dead_letters: DeadLetters | None = None
        self.budget = Budget(max_records=bounds.max_pending_records, max_bytes=bounds.max_pending_bytes)
        self.concurrency: Concurrency = (
            AdaptiveConcurrency(policy.concurrency)
            if isinstance(policy.concurrency, Adaptive)
            else FixedConcurrency(policy.concurrency)
        )
        self._pace = Pace(policy.rate)
        # Accepted and without an outcome, in order of acceptance, which is also the order of their deadlines.
        self.open: dict[Entry, None] = {}
        # Targets that hold anything at all; an idle target is forgotten.
        self.batchers: dict[Hashable, Batcher] = {}
        # Targets that may have a reason to send, each once, taking turns. Holds exactly those with is_queued.
        self._queue: deque[Batcher] = deque()
        self.flights: set[Flight] = set()
        self._retries = RetryQueue()
        # One handle each, or None: an idle sink has nothing scheduled.
        self._pump_handle: asyncio.Handle | None = None
        self._pace_timer: asyncio.TimerHandle | None = None
        self._retry_timer: asyncio.TimerHandle | None = None
        self._expiry_timer: asyncio.TimerHandle | None = None
        # The loop's time as of the first event of this tick; valid while the pump is scheduled.
        self._now = 0.0
        # Flushes under way: how many open entries of an epoch up to theirs there still are, and who waits.
        self.epoch = 0
        self._flushes: list[Flush] = []
        # Since close began: batches leave without linger. After its time ran out: nothing goes again.
        self.is_closing = False
        self.is_abandoning = False
        # Resolved when the last entry has its outcome and the last request is back.
        self._drained: asyncio.Future[None] | None = None

    # --- in ----------------------------------------------------------------------------------------------------------

    def accept(self, record: Any, encoded: Encoded, future: asyncio.Future[Any] | None) -> Entry | None:
        """Accept the record if there is room and nobody waits; `None` says that there is none.

        Raises:
            RecordTooLarge: it would not fit into a batch of its own.
        """
        size = encoded.size
        budget = self.budget
        if size > self._bounds.max_bytes:
            raise RecordTooLarge(
                f"{self._destination.name}: a record of {size:,} bytes is above the {self._bounds.max_bytes:,} that "
                "one batch may hold: split it, or store it elsewhere and send a reference"
            )
        if budget.waiting or budget.records >= budget.max_records or budget.bytes + size > budget.max_bytes:
            return None
        return self._take_in(record, encoded, future)

    def _take_in(self, record: Any, encoded: Encoded, future: asyncio.Future[Any] | None) -> Entry:
        if self._pump_handle is None:
            self._pump_soon()
        entry = Entry(record, encoded, future, self._now, self.epoch)
        target = entry.target
        if not self._bounds.keys_order:
            entry.key = None
        self.open[entry] = None
        self.budget.records += 1
        self.budget.bytes += entry.size
        batcher = self.batchers.get(target)
        if batcher is None:
            batcher = self.batchers[target] = Batcher(
                target,
                max_records=self._bounds.max_records,
                max_bytes=self._bounds.max_bytes,
                keys_repeat=self._bounds.keys_repeat,
            )
        batcher.add(entry)
        if not batcher.is_queued:
            self._consider(batcher)
        if self._expiry_timer is None:
            self._expiry_timer = self._loop.call_at(self._now + self._policy.delivery_timeout, self._expire)
        return entry

    def wait_for_room(self, waiting: Waiting, key: asyncio.Future[Any]) -> None:
        """Queue a record that is not accepted yet; `key` is the future whose cancellation takes it out again."""
        is_first = not self.budget.waiting
        self.budget.waiting[key] = waiting
        key.add_done_callback(self._waiter_done)
        if is_first:
            # Room is short: what is ready leaves without linger, so that room comes back.
            self._consider_all()

    def _waiter_done(self, key: asyncio.Future[Any]) -> None:
        """A cancelled waiter leaves no trace, and passes its turn on."""
        if self.budget.waiting.pop(key, None) is not None:
            self._admit()

    def _admit(self) -> None:
        """Accept who waits, in order, as far as there is room: here, not when they wake, so that nobody comes between."""
        while (waiting := self.budget.next_admitted()) is not None:
            entry = self._take_in(waiting.record, waiting.encoded, waiting.future)
            if waiting.accepted is not None and not waiting.accepted.done():
                waiting.accepted.set_result(entry)

    # --- what leaves, and when ---------------------------------------------------------------------------------------

    def _pump_soon(self) -> None:
        """Send at the end of this tick what may leave, so that all puts of one tick share batches."""
        if self._pump_handle is None:
            self._now = self._loop.time()
            self._pump_handle = self._loop.call_soon(self._pump)

    def _consider(self, batcher: Batcher) -> None:
        """Queue the target if it may have a reason to send; else see to it that its oldest entry lingers no longer than allowed."""
        if batcher.is_queued or not batcher.ready_records:
            return
        if batcher.in_flight == 0 or batcher.is_full or self.is_closing or self.budget.waiting or self._flushes:
            batcher.is_queued = True
            self._queue.append(batcher)
            self._pump_soon()
        else:
            self._linger(batcher)

    def _consider_all(self) -> None:
        for batcher in self.batchers.values():
            self._consider(batcher)

    def _linger(self, batcher: Batcher) -> None:
        if batcher.linger_timer is None:
            due = batcher.oldest.ready_at + self._policy.linger
            batcher.linger_timer = self._loop.call_at(due, self._linger_over, batcher, due)

    def _linger_over(self, batcher: Batcher, due: float) -> None:
        batcher.linger_timer = None
        if batcher.is_queued or not batcher.ready_records:
            return
        if batcher.oldest.ready_at + self._policy.linger <= due:
            batcher.is_queued = True
            self._queue.append(batcher)
            self._pump_soon()
            # A loop's clock may be coarser than its timers: the timer is the judge.
            self._now = max(self._now, due)
        else:
            self._linger(batcher)

    def _pump(self) -> None:
        """Send what may leave: the targets take turns, a batch each, until no slot is free or none has a reason."""
        self._pump_handle = None
        now = max(self._now, self._loop.time())
        while self._queue and len(self.flights) < self.concurrency.limit:
            batcher = self._queue[0]
            reason = self._reason(batcher, now)
            if reason is None:
                self._queue.popleft()
                batcher.is_queued = False
                if batcher.ready_records:
                    self._linger(batcher)
                continue
            if self._pace.free_at > now:
                self._wait_for_pace()
                return
            self._queue.rotate(-1)
            batcher.in_flight += 1
            flight = Flight(batcher, batcher.cut())
            self.flights.add(flight)
            self._launch(flight, flight.entries, reason, now)

    def _reason(self, batcher: Batcher, now: float) -> SealReason | None:
        """Say why the target's next batch may leave now, by Nagle's rule; `None` if it had better wait for company."""
        if not batcher.ready_records:
            return None
        if batcher.is_full:
            return "full"
        if batcher.in_flight == 0:
            return "idle"
        oldest = batcher.oldest
        if now >= oldest.ready_at + self._policy.linger:
            return "linger"
        if self.is_closing:
            return "close"
        if self.budget.waiting:
            return "room"
        if any(oldest.epoch <= flush.epoch for flush in self._flushes):
            return "flush"
        return None

    def _wait_for_pace(self) -> None:
        if self._pace_timer is None:
            self._pace_timer = self._loop.call_at(self._pace.free_at, self._pace_over)

    def _pace_over(self) -> None:
        self._now = max(self._now, self._pace.free_at)
        self._pace_timer = None
        self._pump_soon()

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
        self._pace.spend(now, records=len(entries), size=size)
        flight.sent_at = now
        flight.task = self._loop.create_task(self._write(batch))
        flight.timer = self._loop.call_at(now + self._policy.attempt_timeout, self._over_time, flight)
        flight.task.add_done_callback(partial(self._landed, flight))
        self._tally.sent(batch, size, in_flight=len(self.flights))

    async def _write(self, batch: Batch) -> Sequence[Verdict[Any]]:
        """Call the destination from inside the task, so that whatever it raises is an answer."""
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
        verdicts = self._paired(batch, [Unknown(error)] * len(batch) if error is not None else task.result())
        throttled = self._apply(flight, batch.entries, verdicts, now)
        self._tally.landed(batch, verdicts, seconds=now - flight.sent_at, throttled=throttled, error=error)
        self.concurrency.answered(
            sent_at=flight.sent_at, now=now, throttled=throttled, in_flight=len(self.flights)
        )
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
            group = [] if self.is_abandoning else isolation.next_group()
            for culprit in isolation.culprits:
                if culprit.place is not _DONE:
                    culprit.attempts += 1
                    assert flight.refusal is not None
                    self._reject(culprit, flight.refusal)
            isolation.culprits.clear()
        if not group:
            self._finish(flight, now)
        elif self._pace.free_at > now:
            flight.timer = self._loop.call_at(self._pace.free_at, self._next_paced_part, flight, group)
            self._after_outcomes()
        else:
            self._launch(flight, group, "isolation", now)
            self._after_outcomes()

    def _next_paced_part(self, flight: Flight, group: list[Entry]) -> None:
        now = max(self._loop.time(), self._pace.free_at)
        flight.timer = None
        if self.is_abandoning or any(entry.place is _DONE for entry in group):
            self._next_part(flight, now)
        else:
            self._launch(flight, group, "isolation", now)

    # --- verdicts ----------------------------------------------------------------------------------------------------

    def _apply(self, flight: Flight, entries: Sequence[Entry], verdicts: Sequence[Verdict[Any]], now: float) -> bool:
        """Turn verdicts into outcomes or retries; whether the provider throttled. The hot path is a delivered entry."""
        opened = self.open
        records = size = orphaned = 0
        others: list[tuple[Entry, Any]] = []
        for entry, verdict in zip(entries, verdicts, strict=True):
            if entry.place is _DONE:
                continue  # Its time ran out while it was on the wire: a late answer changes nothing.
            if type(verdict) is not Delivered:
                others.append((entry, verdict))
                continue
            entry.place = _DONE
            entry.outcome = receipt = verdict.receipt
            del opened[entry]
            records += 1
            size += entry.size
            future = entry.future
            if future is not None:
                if not future.done():
                    future.set_result(receipt)
                else:
                    orphaned += 1
                    self._tally.orphaned(entry)
            if self._flushes:
                self._count_down(entry)
        self._tally.delivered += records
        self.budget.give_back(records, size)
        throttled = False
        chance = self._policy.backoff.draw(self._rng) if others else 0.0
        for entry, verdict in others:
            throttled = self._judge(flight, entry, verdict, now, chance) or throttled
        return throttled

    def _judge(self, flight: Flight, entry: Entry, verdict: Any, now: float, chance: float) -> bool:
        """Take a verdict other than Delivered; whether it says that the provider throttled."""
        entry.place = _HELD
        match verdict:
            case Retry(error=error, throttled=throttled, after=after):
                self._again(flight, entry, error, now, chance, after)
                return throttled
            case Rejected(error=error):
                self._reject(entry, error)
            case Unknown(error=error):
                self._unanswered(flight, entry, error, now, chance)
            case _:
                mistake = TypeError(f"{self._destination.name} answered a {type(verdict).__name__}, not a verdict")
                self._unanswered(flight, entry, mistake, now, chance)
        return False

    def _unanswered(self, flight: Flight, entry: Entry, error: BaseException, now: float, chance: float) -> None:
        entry.ambiguous = True
        if self._bounds.retries_unknown:
            self._again(flight, entry, error, now, chance, None)
        else:
            self._end(entry, DeliveryError, "was sent, and no answer tells what became of it", error)

    def _again(
        self, flight: Flight, entry: Entry, error: BaseException, now: float, chance: float, after: float | None
    ) -> None:
        """Send the entry again after its backoff, unless it has run out of attempts or of time."""
        policy = self._policy
        delay = policy.backoff.delay(entry.attempts, chance)
        if after is not None and after > delay:
            delay = after
        if self.is_abandoning:
            self._end(entry, DeliveryAbandoned, "was not delivered before the sink closed", error)
        elif policy.max_attempts is not None and entry.attempts >= policy.max_attempts:
            self._end(entry, DeliveryExpired, f"has no receipt after max_attempts ({policy.max_attempts})", error)
        elif now + delay >= entry.accepted_at + policy.delivery_timeout:
            self._end(entry, DeliveryExpired, f"has no receipt within {_in_time(policy)}", error)
        else:
            flight.dues[entry] = now + delay
            if entry.key is not None and flight.isolation is not None:
                flight.isolation.stalled_keys.add(entry.key)
            self._tally.retries += 1

    def _reject(self, entry: Entry, error: BaseException) -> None:
        self._end(entry, DeliveryRejected, f"was rejected ({type(error).__name__})", error)

    def _end(self, entry: Entry, kind: type[DeliveryError], what: str, error: BaseException | None) -> None:
        """End an entry without a receipt: the only place that does."""
        assert entry.place is not _DONE
        is_unknown = entry.ambiguous or entry.place is _FLYING
        outcome = Outcome.UNKNOWN if is_unknown else Outcome.NOT_WRITTEN
        state = "the provider may have it" if is_unknown else "it is not written"
        attempts = "1 attempt" if entry.attempts == 1 else f"{entry.attempts} attempts"
        failure = kind(
            f"{self._destination.name}: a record of {entry.size:,} bytes {what}; {attempts}, {state}",
            outcome=outcome,
            attempts=entry.attempts,
            record=entry.record,
        )
        failure.__cause__ = error
        if entry.key is not None and self._policy.on_failure == "block" and not self.is_abandoning:
            self.batchers[entry.target].block(entry.key)
        entry.place = _DONE
        entry.outcome = failure
        del self.open[entry]
        if self._flushes:
            self._count_down(entry)
        if self.dead_letters is None:
            self.budget.give_back(1, entry.size)
        else:
            self.dead_letters.add(failure, entry.size)
        if entry.future is not None:
            if not entry.future.done():
                entry.future.set_exception(failure)
                if self.dead_letters is not None:
                    entry.future.exception()  # Handed on: nobody need be told that the future was not looked at.
            else:
                self._tally.orphaned(entry)
        self._tally.failed(failure)

    def dead_letter_taken(self, _failure: DeliveryError, size: int) -> None:
        """Give back the room that a failed record kept until its dead letter was handed on."""
        self.budget.give_back(1, size)
        self._after_outcomes()

    def _finish(self, flight: Flight, now: float) -> None:
        """Free the slot and the lanes, and send to backoff what goes again."""
        batcher = flight.batcher
        self.flights.remove(flight)
        batcher.in_flight -= 1
        assert batcher.in_flight >= 0
        for entry in batcher.settle(flight.entries, now):
            self._retries.push(flight.dues.get(entry, now), batcher, entry)
        if batcher.retrying:
            self._arm_retries()
        self._after_outcomes()
        self._tidy(batcher)

    def _after_outcomes(self) -> None:
        """Whenever entries ended or a request came back: let in who waits, send what may leave, see whether all is done."""
        if self.budget.waiting:
            self._admit()
        if self._queue:
            self._pump_soon()
        if self._drained is not None and not self.open and not self.flights and not self._drained.done():
            self._drained.set_result(None)

    def _tidy(self, batcher: Batcher) -> None:
        """Queue the target again, or forget it if nothing of it is left."""
        self._consider(batcher)
        if batcher.is_idle:
            if batcher.linger_timer is not None:
                batcher.linger_timer.cancel()
                batcher.linger_timer = None
            if batcher.is_queued:
                self._queue.remove(batcher)
                batcher.is_queued = False
            if self.batchers.get(batcher.target) is batcher:
                del self.batchers[batcher.target]
            if not self.open and self._expiry_timer is not None:
                self._expiry_timer.cancel()
                self._expiry_timer = None

    # --- time --------------------------------------------------------------------------------------------------------

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
            self._consider(batcher)
        self._arm_retries()

    def _expire(self) -> None:
        """End what has had no outcome within delivery_timeout, wherever it is."""
        assert self._expiry_timer is not None
        now = max(self._loop.time(), self._expiry_timer.when())
        self._expiry_timer = None
        # The same sum as the timer's: the difference may round to the other side of it, and the timer would never end.
        timeout = self._policy.delivery_timeout
        late = list(takewhile(lambda entry: entry.accepted_at + timeout <= now, self.open))
        self._end_all(late, DeliveryExpired, f"has no receipt within {_in_time(self._policy)}", now)
        oldest = next(iter(self.open), None)
        # The room that came back may have let in a record, and armed the timer, just now.
        if oldest is not None and self._expiry_timer is None:
            self._expiry_timer = self._loop.call_at(oldest.accepted_at + timeout, self._expire)

    def _end_all(self, entries: Iterable[Entry], kind: type[DeliveryError], what: str, now: float) -> None:
        """End entries that have no answer of their own: those on the wire are unknown, the others leave their target."""
        touched: dict[Batcher, None] = {}
        for entry in entries:
            batcher = self.batchers[entry.target]
            place = entry.place
            if place is _FLYING or place is _HELD:
                self._end(entry, kind, what, None)
                continue
            if entry.key is not None and self._policy.on_failure == "block":
                batcher.block(entry.key)
            batcher.remove(entry, now)
            self._end(entry, kind, what, None)
            touched[batcher] = None
        for batcher in touched:
            self._tidy(batcher)
        self._after_outcomes()

    # --- flush, resume, close ----------------------------------------------------------------------------------------

    def flush(self) -> asyncio.Future[None]:
        """Let everything accepted so far leave without linger; the future resolves when all of it has its outcome."""
        flush = Flush(epoch=self.epoch, remaining=len(self.open), done=self._loop.create_future())
        if flush.remaining == 0:
            flush.done.set_result(None)
            return flush.done
        self.epoch += 1
        self._flushes.append(flush)
        flush.done.add_done_callback(lambda _: self._flushes.remove(flush))
        self._consider_all()
        return flush.done

    def _count_down(self, entry: Entry) -> None:
        for flush in self._flushes:
            if entry.epoch <= flush.epoch:
                flush.remaining -= 1
                if flush.remaining == 0 and not flush.done.done():
                    flush.done.set_result(None)

    def resume(self, key: Hashable, target: Hashable) -> bool:
        """Let a lane go on that `on_failure="block"` stopped."""
        batcher = self.batchers.get(target)
        if batcher is None or not batcher.resume(key, self._loop.time()):
            return False
        self._tidy(batcher)
        return True

    def start_closing(self, error: BaseException) -> asyncio.Future[None]:
        """Refuse who waits for room, let the rest leave without linger; the future resolves when nothing is left."""
        self.is_closing = True
        waiting = list(self.budget.waiting)
        self.budget.waiting.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        self._drained = self._loop.create_future()
        self._consider_all()
        self._after_outcomes()
        return self._drained

    def abandon(self) -> None:
        """End what is not on the wire, and call back what is: its last word decides between outcome and unknown."""
        self.is_abandoning = True
        now = self._loop.time()
        for batcher in self.batchers.values():
            batcher.drop_waiting()
        for entry in [entry for entry in self.open if entry.place is not _FLYING]:
            self._end(entry, DeliveryAbandoned, "was not delivered before the sink closed", None)
        for batcher in list(self.batchers.values()):
            self._tidy(batcher)
        self._after_outcomes()
        for flight in list(self.flights):
            if flight.task is not None:
                flight.task.cancel()
            else:
                assert flight.timer is not None
                flight.timer.cancel()
                self._next_part(flight, now)

    def end_unanswered(self) -> None:
        """End what is still on the wire, because its client does not stop when it is cancelled."""
        for entry in list(self.open):
            self._end(entry, DeliveryAbandoned, "was on the wire when the sink closed, and its client did not stop", None)
        self._after_outcomes()

    def cancel_timers(self) -> None:
        """Leave nothing scheduled behind."""
        for handle in (self._pump_handle, self._pace_timer, self._retry_timer, self._expiry_timer):
            if handle is not None:
                handle.cancel()
        for batcher in self.batchers.values():
            if batcher.linger_timer is not None:
                batcher.linger_timer.cancel()

    def gauges(self, counters: SinkStats) -> SinkStats:
        """Add to the counters what is pending now."""
        oldest = next(iter(self.open), None)
        capacity = counters.requests * self._bounds.max_records
        return replace(
            counters,
            pending_records=len(self.open),
            pending_bytes=self.budget.bytes,
            waiting=len(self.budget.waiting),
            requests_in_flight=len(self.flights),
            retrying=sum(batcher.retrying for batcher in self.batchers.values()),
            concurrency=self.concurrency.limit,
            oldest_seconds=0.0 if oldest is None else self._loop.time() - oldest.accepted_at,
            targets=len(self.batchers),
            dead_letters=0 if self.dead_letters is None else self.dead_letters.handed_on,
            dead_letters_failed=0 if self.dead_letters is None else self.dead_letters.failed,
            fill=counters.records_sent / capacity if capacity else 0.0,
        )
