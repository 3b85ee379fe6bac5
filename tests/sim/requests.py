"""What the simulated provider was asked and what it answered: nothing may break its limits, order, rate or pace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from sinkwell.core import Delivered, DeliveryError, Outcome, Rejected, Retry, Unknown

from .breach import EPSILON
from .faults import TooLarge
from .scenario import Attempt, Record

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sinkwell.core import Batch, BatchRefused, Entry

    from .oracle import Oracle


@dataclass(slots=True)
class Case:
    """A refused batch whose culprits are being sought."""

    records: list[Record]
    # What one search may take: a halving a request, then one for all of which nothing is known.
    most_a_search: int
    extra: int = 0
    # Parts that were neither written nor refused as a whole.
    disturbed: int = 0

    @property
    def most(self) -> int:
        """What k * ceil(log2 n) + k allows, k being the culprits and whatever else made a search begin anew.

        Knowledge that a group is bad is void when a part of it has no plain answer, and when time runs out for one in
        it: either may have been the culprit. Nothing else may cost a request.
        """
        culprits = sum(record.is_bad or record.is_suspect for record in self.records)
        ended = {record.ended_at for record in self.records if _ended_elsewhere(record)}
        return (culprits + self.disturbed + len(ended)) * self.most_a_search


def _end(verdict: object) -> str:
    if isinstance(verdict, Retry):
        return "H" if verdict.unsent else "R"
    return {Delivered: "D", Rejected: "X"}.get(type(verdict), "U")


def _ended_elsewhere(record: Record) -> bool:
    outcome = None if record.ended_at is None else record.entry.outcome
    return isinstance(outcome, DeliveryError) and outcome.reason != "rejected"


class Requests:
    """Every request of one world, from its arrival to its answer."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        # No request may begin before, by the policy's rate; sooner by what stalled after the last had been launched.
        self._free_at = self._stalled = 0.0
        # What the provider has: (record, request, whether it came late), in order.
        self.writes: list[tuple[Record, int, bool]] = []
        self.made = 0
        self._in_flight = 0
        self._keys_in_flight: set[tuple[Hashable, Hashable]] = set()
        self._cases: dict[Record, Case] = {}
        self._reasons: dict[int, str] = {}

    def began(self, batch: Batch) -> int:
        """A request arrives: nothing about it may break the limits, the order or the pace of retries."""
        number = self.made
        self.made += 1
        self._in_flight += 1
        oracle = self._oracle
        now = oracle.time()
        records = oracle.records_of(batch)
        self._reasons[number] = batch.reason
        oracle.note("send", number, batch.target, batch.reason, tuple(record.id for record in records))
        oracle.rare(f"left because {batch.reason}")
        size = sum(record.size for record in records)
        if not 0 < len(records) <= oracle.max_records or size > oracle.max_bytes:
            oracle.breach("I7", f"request {number} carries {len(records)} records of {size} bytes")
        if self._in_flight > oracle.most_in_flight:
            oracle.breach("I9", f"{self._in_flight} requests are in flight, {oracle.most_in_flight} allowed")
        self._paced(number, now, records, size)
        if oracle.is_closed:
            oracle.breach("I13", f"request {number} began after close had returned")
        if oracle.is_abandoning():
            oracle.breach("I14", f"request {number} began after the time to close was up")
        if len(set(records)) < len(records):
            oracle.breach("I5", f"request {number} carries a record twice")
        self._lanes_begin(number, records)
        led: set[tuple[Hashable, Hashable]] = set()
        for record in records:
            lane = oracle.lane_of(record)
            # Behind another of its key it goes when that goes.
            self._sent_again(record, number, now, leads=lane is None or lane not in led)
            if lane is not None:
                led.add(lane)
        if batch.reason == "isolation":
            self._isolating(records[0], number)
        return number

    def _paced(self, number: int, now: float, records: list[Record], size: int) -> None:
        rate = self._oracle.policy.rate
        if rate is None:
            return
        if now < self._free_at - self._stalled - EPSILON:
            self._oracle.breach(
                "I15", f"request {number} leaves {self._free_at - now:.6f} s sooner than the rate allows"
            )
        costs = (
            len(records) / rate.records if rate.records else 0.0,
            1 / rate.requests if rate.requests else 0.0,
            size / rate.bytes if rate.bytes else 0.0,
            sum(record.units for record in records) / rate.units if rate.units else 0.0,
        )
        if self._free_at > now + EPSILON or self.made > 1:
            self._oracle.rare("requests went at a rate")
        self._free_at = now + max(costs)
        # Between a launch and its request's first step a stall may fall, and the core counts from the launch.
        self._stalled = self._oracle.last_stall if now == self._oracle.stall_ended_at else 0.0

    def _lanes_begin(self, number: int, records: list[Record]) -> None:
        lanes = [lane for record in records if (lane := self._oracle.lane_of(record)) is not None]
        for lane in lanes:
            if lane in self._keys_in_flight:
                self._oracle.breach("I9", f"request {number} carries key {lane[1]}, which is in flight already")
            if lane in self._oracle.blocked and not any(record.is_launched for record in records):
                self._oracle.breach("I6", f"request {number} carries key {lane[1]}, which is blocked")
        for lane in dict.fromkeys(lanes):
            if self._oracle.scenario.limits.coalesce:
                self._goes_in_place(number, next(record for record in records if self._oracle.lane_of(record) == lane))
                continue
            going = [record for record in records if self._oracle.lane_of(record) == lane and record.ended_at is None]
            first = list(islice(self._oracle.open_of[lane], len(going)))
            if going != first:
                self._oracle.breach(
                    "I6",
                    f"request {number} carries {[record.id for record in going]} of key {lane[1]}, and the first of it "
                    f"without an outcome are {[record.id for record in first]}",
                )
        if len(set(lanes)) < len(lanes):
            self._oracle.rare("one request carried a key twice")
            if not self._oracle.scenario.limits.keys_repeat:
                self._oracle.breach("I7", f"request {number} carries a key twice, which the provider does not take")
        self._keys_in_flight.update(lanes)

    def _goes_in_place(self, number: int, record: Record) -> None:
        """I6: where newer records take the place of older ones, those that were sent are left alone.

        And what was left out goes only when it is sure that the newer one is not written.
        """
        newer = record.superseded_by
        if newer is not None:
            outcome = None if newer.entry is None else newer.entry.outcome
            if not isinstance(outcome, DeliveryError) or outcome.outcome is not Outcome.NOT_WRITTEN:
                self._oracle.breach("I6", f"request {number} carries record {record.id} after {newer.id}, a newer one")
            self._oracle.rare("a superseded record went back to its place")
            record.superseded_by = None
        lane = self._oracle.lane_of(record)
        assert lane is not None
        for older in self._oracle.open_of[lane]:
            if older.accepted_number >= record.accepted_number:
                break
            if any(attempt.is_charged for attempt in older.attempts):
                self._oracle.breach("I6", f"request {number} carries {record.id} before {older.id}, which was sent")
            older.superseded_by = record
            self._oracle.rare("a newer record took the place of an older one")

    def _sent_again(self, record: Record, number: int, now: float, *, leads: bool) -> None:
        if record.payload != record.entry.payload or record.entry.target != record.target:
            self._oracle.breach("I2", f"record {record.id} was sent as something else")
        if record.ended_at is not None:
            if not record.is_launched:
                self._oracle.breach("I15", f"record {record.id} was sent after it had ended")
            self._oracle.rare("ended between its launch and its request's first step")
        attempts = record.attempts
        if attempts:
            last = attempts[-1]
            if last.end == "U" and not self._oracle.retries_unknown:
                self._oracle.breach(
                    "I15", f"record {record.id} was sent again, though on_unknown says that it must not"
                )
            if last.is_final:
                self._oracle.breach("I15", f"record {record.id} was sent again after a final doubt")
            if last.end not in ("R", "H", "U", "B"):
                self._oracle.breach("I15", f"record {record.id} was sent again after {last.end or 'no answer yet'}")
            # Who resumes a lane by hand lets its head go at once.
            leads = leads and self._oracle.lane_of(record) not in self._oracle.resumed
            if leads and last.end in ("R", "H", "U") and last.ended_at is not None:
                wait = now - last.ended_at
                if wait < self._oracle.policy.backoff.base - EPSILON or now < last.not_before - EPSILON:
                    self._oracle.breach(
                        "I15", f"record {record.id} was sent again after {wait:.4f} s, before its backoff ended"
                    )
        charged = 1 + sum(attempt.is_charged for attempt in attempts)
        if self._oracle.policy.max_attempts is not None and charged > self._oracle.policy.max_attempts:
            self._oracle.breach("I15", f"record {record.id} was sent a {charged}th time, above max_attempts")
        attempts.append(Attempt(now, number, charged))

    def _isolating(self, record: Record, number: int) -> None:
        case = self._cases.get(record)
        if case is None:
            self._oracle.breach("I15", f"request {number} isolates a record of no refused batch")
            return
        case.extra += 1
        if case.disturbed:
            self._oracle.rare("a search for culprits was disturbed")
        if case.extra > case.most:
            self._oracle.breach(
                "I15", f"isolation took more than the {case.most} requests that k * ceil(log2 n) + k allows"
            )

    def recalled(self, records: list[Record]) -> None:
        """A request was cancelled before its first step: the provider does not know of it."""
        for record in records:
            record.is_recalled = True
        self._disturbed(records[0])

    def _disturbed(self, record: Record) -> None:
        case = self._cases.get(record)
        if case is not None:
            case.disturbed += 1

    def _landed(self, batch: Batch, number: int, ends: str) -> None:
        now = self._oracle.time()
        self._in_flight -= 1
        self._oracle.note("answer", number, ends)
        for record, end in zip(self._oracle.records_of(batch), ends, strict=True):
            attempt = record.attempts[-1]
            attempt.end = end
            attempt.ended_at = now
            if end == "D" and record.ended_at is not None:
                self._oracle.rare("a receipt came after the record had ended")
            lane = self._oracle.lane_of(record)
            if lane is not None:
                self._keys_in_flight.discard(lane)
        if self._reasons[number] == "isolation" and set(ends) not in ({"D"}, {"B"}):
            self._disturbed(self._oracle.records_of(batch)[0])
        if len(set(ends)) > 1:
            self._oracle.rare("partial failure")
        self._oracle.on_answer(self._oracle.records_of(batch))
        if self._oracle.is_closing:
            self._oracle.rare("answer came while closing")

    def answered(self, batch: Batch, number: int, answer: Any) -> None:
        """The provider answered, well or badly."""
        if not isinstance(answer, list) or len(answer) != len(batch):
            self._landed(batch, number, "U" * len(batch))
            return
        self._landed(batch, number, "".join(map(_end, answer)))
        for record, verdict in zip(self._oracle.records_of(batch), answer, strict=True):
            if isinstance(verdict, Unknown) and verdict.is_final:
                record.attempts[-1].is_final = True
                self._oracle.rare("a doubt was final")
            if isinstance(verdict, Retry) and verdict.unsent:
                self._oracle.rare("a record was held back")
            if isinstance(verdict, Retry) and verdict.after is not None:
                record.attempts[-1].not_before = self._oracle.time() + verdict.after

    def refused(self, batch: Batch, number: int, refusal: BatchRefused) -> None:
        """The provider refused all of it because of one."""
        records = self._oracle.records_of(batch)
        self._landed(batch, number, "B" * len(batch))
        if isinstance(refusal.__cause__, TooLarge):
            # Bisection finds one to blame, though it may be nobody's fault.
            self._oracle.rare("the provider refused a batch that it counts as too large")
            for record in records:
                record.is_suspect = True
        if self._reasons[number] == "isolation":
            self._oracle.rare("a part was refused again")
            return
        halvings = math.ceil(math.log2(len(records)))
        # A suspect is tried alone: named wrongly, that is a request more for each group that is refused.
        suspects = halvings if self._oracle.scenario.faults.wrong_suspect else 0
        case = Case(records, halvings + suspects + 1)
        self._cases.update(dict.fromkeys(records, case))
        self._oracle.rare("a batch was refused")
        if sum(record.is_bad for record in records) > 1:
            self._oracle.rare("a batch held several culprits")

    def unanswered(self, batch: Batch, number: int, error: BaseException) -> None:
        """The request ended without an answer."""
        self._oracle.rare("a request ended without an answer")
        self._landed(batch, number, "U" * len(batch))
        self._oracle.note("error", number, type(error).__name__)

    def written(self, entry: Entry, request: int, *, is_late: bool) -> None:
        """The provider has the record from now."""
        record: Record = entry.record
        self._oracle.note("write", record.id, request)
        self.writes.append((record, request, is_late))
