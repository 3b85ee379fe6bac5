"""What must hold after every step of the loop, and at the end of a world; I1 to I18 and C1 to C6 number the promises.

This is the only file that looks inside the core; the oracle sees what callers and the provider see.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sinkwell.core import DeliveryError, Outcome, Receipt
from sinkwell.core._entry import Place
from sinkwell.core._lane import newest

from .breach import EPSILON, describe
from .faults import Superseded
from .oracle import OpenLog, Oracle

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from sinkwell.core import BatchSent, Entry, Sink

    from .scenario import Record


class Watch:
    """Looks at the dispatcher after every step."""

    def __init__(self, oracle: Oracle, sink: Sink[Any, Any]) -> None:
        self._oracle = oracle
        dispatcher = sink._dispatcher
        assert dispatcher is not None
        self.budget = dispatcher.budget
        self.ledger = dispatcher.ledger
        self.sender = dispatcher.sender
        self.targets = dispatcher.sender.targets
        self._dispatcher = dispatcher
        self.open = OpenLog(oracle)
        self.ledger.open = self.open
        self._accept_block = dispatcher.accept_block
        dispatcher.accept_block = self._block_put  # type: ignore[method-assign] - only looked at
        oracle.is_abandoning = lambda: dispatcher._judge.is_abandoning
        # For each target that may send: its batch's first entry, and how often each other target has gone before it.
        self._bypassed: dict[Hashable, tuple[Any, dict[Hashable, int]]] = {}
        self._steps = 0
        # Requests of which the observer was told.
        self.sent = 0

    def _block_put(self, records: Sequence[Any], entries: Sequence[Entry]) -> int:
        count = self._accept_block(records, entries)
        if count > 1:
            self._oracle.rare("a block of several was accepted")
        if 0 < count < len(entries):
            self._oracle.rare("a block was accepted in part")
        return count

    def after_step(self, due: float) -> None:
        """Check all that must hold between two steps; timers up to `due` have run."""
        self._steps += 1
        self._budget()
        self._stuck(due)
        if self._bypassed:
            self._forget_unqueued()
        if self._steps % 8 == 0:
            self._entries(due)

    def _budget(self) -> None:
        budget = self.budget
        oracle = self._oracle
        letters = self.ledger.dead_letters
        held = 0 if letters is None else oracle.number_ended["not_written"] + oracle.number_ended["unknown"]
        if letters is not None:
            held -= letters.handed_on + letters.failed
            if held:
                oracle.rare("a dead letter kept its room")
        if budget.records != len(self.open) + held:
            oracle.breach(
                "I8", f"budget counts {budget.records} records, {len(self.open)} are open, {held} letters held"
            )
        if not held and budget.bytes != self.open.bytes:
            oracle.breach("I8", f"budget counts {budget.bytes} bytes, {self.open.bytes} are open")
        if budget.records > budget.max_records or budget.bytes > budget.max_bytes:
            oracle.breach("I8", f"budget is exceeded: {budget.records} records, {budget.bytes} bytes")
        if budget.waiting:
            oracle.rare("callers waited for room")
            first = next(iter(budget.waiting))
            if not first.done() and budget.has_room(budget.waiting[first].encoded.size):
                oracle.breach("I12", "there is room, and the first in line was not let in")

    def _stuck(self, due: float) -> None:
        """I10, I16, I17: whatever may leave is about to; whatever waits has a timer that will end it."""
        sender = self.sender
        oracle = self._oracle
        if self.open and not self._is_armed(self._dispatcher.expiry.timer):
            oracle.breach("I17", "records are open, and nothing will end them at delivery_timeout")
        retrying = False
        for batcher in self.targets.batchers.values():
            retrying = retrying or batcher.retrying > 0
            if not batcher.ready_records or sender.pump_handle is not None:
                continue
            if len(sender.flights) >= sender.concurrency.limit:
                if not (batcher.is_queued or self._is_armed(batcher.linger_timer)):
                    oracle.breach("I17", f"target {batcher.target} is ready and forgotten, all slots being in use")
                continue
            if sender._pace.free_at > due:
                if batcher.is_queued and not self._is_armed(sender._pace_timer):
                    oracle.breach("I17", f"target {batcher.target} waits for its rate, and no timer will end it")
                continue
            self._may_leave(batcher, due)
        if retrying:
            due_at = sender._retries.next_due()
            timer = sender._retry_timer
            if due_at is None or not self._is_armed(timer) or timer.when() > due_at:
                oracle.breach("I17", "records wait for their backoff, and no timer will end it in time")

    def _may_leave(self, batcher: Any, due: float) -> None:
        """A slot is free and the pump has nothing to do: then nothing ready may have a reason to leave."""
        oracle = self._oracle
        linger = oracle.policy.linger
        entries = list(batcher._ready)
        since = min(entry.ready_at for entry in entries)
        reason = ""
        if batcher.in_flight == 0:
            reason = "nothing is in flight for it"
        elif batcher.ready_records >= oracle.max_records or batcher.ready_bytes >= oracle.max_bytes:
            reason = "it is full"
        elif since + linger <= due - EPSILON:
            reason = f"it has lingered {due - since:.6f} s"
        elif oracle.is_closing:
            reason = "the sink is closing"
        elif self.budget.waiting:
            reason = "callers wait for room"
        elif any(_epoch(entry) <= flush.epoch for flush in self.ledger.flushes for entry in entries):
            reason = "it is being flushed"
        timer = batcher.linger_timer
        if reason and self._is_armed(timer) and timer.when() <= due:
            return  # The loop stalled: a timer armed for a time gone by fires in the next step.
        if reason:
            oracle.breach("I10", f"target {batcher.target} may leave ({reason}), a slot is free, and it does not")
        elif not self._is_armed(batcher.linger_timer):
            oracle.breach("I17", f"target {batcher.target} lingers, and no timer will end it")
        else:
            oracle.rare("a batch lingered for company")

    @staticmethod
    def _is_armed(handle: Any) -> bool:
        return handle is not None and not handle.cancelled()

    def _entries(self, due: float) -> None:
        """I1, I10: an open entry has no outcome yet, and has lingered from the moment it could have left."""
        self._counts()
        for entry in self.open:
            if entry.place is Place.DONE or entry.outcome is not None:
                self._oracle.breach("I1", f"record {entry.record.id} is open and has an outcome")
            future = entry.future
            if future is not None and future.done() and not future.cancelled():
                self._oracle.breach("I1", f"record {entry.record.id} is open and its caller was told")
            is_fresh = (
                entry.place is Place.READY
                and entry.key is None
                and not (entry.record.attempts or entry.record.is_recalled)
            )
            if is_fresh and entry.ready_at > entry.record.accepted_at + EPSILON:
                self._oracle.breach("I10", f"record {entry.record.id} lingers from later than its acceptance")

    def _counts(self) -> None:
        """I8: what each target counts is what it holds."""
        flights = [flight.batcher for flight in self.sender.flights]
        repeat = self._oracle.scenario.limits.keys_repeat
        for target, batcher in self.targets.batchers.items():
            ready = [
                entry
                for head in map(newest, batcher._ready)
                for entry in (head, *(head.lane.entries if repeat and head.lane else ()))
            ]
            counted = (batcher.ready_records, batcher.ready_bytes, batcher.in_flight)
            held = (len(ready), sum(entry.size for entry in ready), flights.count(batcher))
            if counted != held:
                self._oracle.breach(
                    "I8", f"target {target} counts {counted} records, bytes, requests, and holds {held}"
                )
            if ready and min(entry.ready_at for entry in batcher._ready) < batcher.oldest.ready_at - EPSILON:
                self._oracle.breach(
                    "I10", f"target {target} lingers by an entry that is not the one that waits longest"
                )
            if batcher.is_idle:
                self._oracle.breach("I13", f"target {target} is idle, and was not forgotten")

    def _forget_unqueued(self) -> dict[Hashable, Any]:
        """Forget the targets that have no reason to send any more; give the first entry of those that have."""
        queued = {
            batcher.target: batcher.oldest
            for batcher in self.targets._queue
            if batcher.ready_records and (batcher.is_full or batcher.in_flight == 0)
        }
        for target, (first, _) in list(self._bypassed.items()):
            if queued.get(target) is not first:
                del self._bypassed[target]
        return queued

    def on_batch_sent(self, event: BatchSent) -> None:
        """I9: slots; I11: between targets, nobody is passed over twice by the same one."""
        oracle = self._oracle
        self.sent += 1
        if event.reason == "isolation":
            return
        if event.in_flight > self.sender.concurrency.limit:
            oracle.breach("I9", f"{event.in_flight} slots are in use of {self.sender.concurrency.limit}")
        queued = self._forget_unqueued()
        self._bypassed.pop(event.target, None)
        for target, first in queued.items():
            if target == event.target:
                continue
            _, counts = self._bypassed.setdefault(target, (first, {}))
            counts[event.target] = counts.get(event.target, 0) + 1
            if counts[event.target] > 1:
                oracle.breach("I11", f"target {target} was passed over {counts[event.target]} times by {event.target}")
        if len(queued) > 1:
            oracle.rare("several targets waited for a slot")

    def cancel_newest(self) -> None:
        """Cancel the request that was just launched, before its first step."""
        for flight in self.sender.flights:
            if flight.task is not None and not flight.has_begun:
                newest = flight
        self._oracle.requests.recalled([entry.record for entry in newest.batch.entries])
        newest.task.cancel()


def _epoch(entry: Any) -> int:
    """The epoch of the oldest record that waits for this one's turn."""
    return entry.versions[0].epoch if entry.versions else entry.epoch


def at_the_end(oracle: Oracle, sink: Sink[Any, Any], report: Any, watch: Watch) -> None:
    """Check what must hold when everything is over."""
    _records(oracle)
    _log(oracle)
    _order(oracle)
    counted = oracle.number_ended
    if (report.delivered, report.not_written, report.unknown) != tuple(
        counted[name] for name in ("delivered", "not_written", "unknown")
    ):
        oracle.breach("I1", f"the report {report} differs from what ended: {dict(counted)}")
    if sink.stats().requests != watch.sent:
        oracle.breach("I1", f"{sink.stats().requests} requests are counted, {watch.sent} were made")
    budget = watch.budget
    if budget.records or budget.bytes or budget.waiting:
        oracle.breach("I8", f"at the end {budget.records} records, {budget.bytes} bytes, {len(budget.waiting)} waiting")


def _records(oracle: Oracle) -> None:
    written = {record for record, _, _ in oracle.requests.writes}
    for record in oracle.scenario.records:
        if record.accepted_at is None:
            if record in written:
                oracle.breach("I5", f"record {record.id} was written and never accepted")
            continue
        if record.ended_at is None:
            oracle.breach("I1", f"record {record.id} has no outcome")
            continue
        outcome = record.entry.outcome
        newer = record.superseded_by if isinstance(outcome, Superseded) else record
        if isinstance(outcome, Receipt) and newer not in written:
            oracle.breach("I2", f"record {record.id} has a receipt, and the provider does not have it")
        if isinstance(outcome, DeliveryError) and outcome.outcome is Outcome.NOT_WRITTEN and record in written:
            oracle.breach("I3", f"record {record.id} is NOT_WRITTEN, and the provider has it")
        is_lost = record.is_lost or (record.is_streamed and not record.told)
        if record.orphaned != (record.is_orphan or is_lost):
            oracle.breach("C2", f"record {record.id}: {record.orphaned} orphan reports, {int(not record.orphaned)} due")
        if len(record.told) > 1 or (record.is_orphan and record.told):
            oracle.breach("I1", f"record {record.id}: told {[describe(outcome) for outcome in record.told]}")


def _log(oracle: Oracle) -> None:
    """I5: no copy that an unanswered attempt does not explain."""
    copies: dict[Record, int] = {}
    for record, _, _ in oracle.requests.writes:
        copies[record] = copies.get(record, 0) + 1
    for record, count in copies.items():
        ambiguous = sum(attempt.end in ("U", "") for attempt in record.attempts)
        if count > 1 + ambiguous:
            oracle.breach("I5", f"record {record.id} was written {count} times, {ambiguous} attempts were ambiguous")
        if count > 1:
            oracle.rare("a record was written twice")


def _order(oracle: Oracle) -> None:
    """I6: of one key, first writes stand in order of acceptance.

    What came late was already given up: nobody could have waited for it. And where the provider takes a key twice in
    one request and fails the first of two entries, their order is lost by its answer, not by us.
    """
    newest: dict[tuple[Hashable, Hashable], tuple[Record, int]] = {}
    seen: set[Record] = set()
    for record, request, is_late in oracle.requests.writes:
        lane = oracle.lane_of(record)
        if lane is None or is_late or record in seen:
            continue
        seen.add(record)
        last, its_request = newest.get(lane, (record, request))
        if last.accepted_number > record.accepted_number:
            if request == its_request or all(attempt.request != its_request for attempt in record.attempts):
                oracle.breach("I6", f"record {record.id} was first written after {last.id}, which was accepted later")
            oracle.rare("the provider's partial failure turned a key's order")
        else:
            newest[lane] = (record, request)


def left_behind(loop: asyncio.AbstractEventLoop) -> list[str]:
    """I13: name the core's tasks and timers that are still there."""
    found = [f"task {task.get_coro().__qualname__}" for task in asyncio.all_tasks(loop) if _is_core(task.get_coro())]
    handles: list[Any] = loop._scheduled  # type: ignore[attr-defined]
    armed = [handle._callback for handle in handles if not handle.cancelled()]
    found += [f"timer {callback}" for callback in armed if "sinkwell/core/_" in _home(callback)]
    return sorted(found)


def _is_core(coroutine: Any) -> bool:
    code = getattr(coroutine, "cr_code", None)
    return code is not None and _is_core_file(code.co_filename)


def _home(callback: Any) -> str:
    function = getattr(callback, "func", callback)
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    return "sinkwell/core/_" if code is not None and _is_core_file(code.co_filename) else ""


def _is_core_file(name: str) -> bool:
    return "/core/_" in name and "/testing/" not in name
