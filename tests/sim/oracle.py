"""What really happened in a simulated world, by its provider and its callers, checked against what the core says."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sinkwell.core import Delivered, DeliveryError, Outcome, Receipt, Rejected, Retry

from .rare import RARE
from .scenario import Attempt, Record, Scenario

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sinkwell.core import Batch, BatchRefused, Entry

EPSILON = 1e-6


class Breach(AssertionError):
    """A promise was broken; the message begins with its number in the table of invariants."""


@dataclass(slots=True)
class Case:
    """A refused batch whose culprits are being sought."""

    most: int
    extra: int = 0


class OpenLog(dict["Entry", None]):
    """Stands where the dispatcher keeps its open entries, and tells the oracle of every acceptance and every end."""

    def __init__(self, oracle: Oracle) -> None:
        super().__init__()
        self._oracle = oracle
        self.bytes = 0

    def __setitem__(self, entry: Entry, nothing: None) -> None:
        super().__setitem__(entry, nothing)
        self.bytes += entry.size
        self._oracle.accepted(entry)

    def __delitem__(self, entry: Entry) -> None:
        super().__delitem__(entry)
        self.bytes -= entry.size
        self._oracle.ended(entry)


class Oracle:
    """Keeps every record's true story, and says so when the core's differs."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.policy = scenario.policy
        self.time: Any = lambda: 0.0
        self.breaches: list[str] = []
        self.log: list[tuple[Any, ...]] = []
        self.seen: set[str] = set()
        limits = scenario.limits
        self.max_records = self.policy.max_records or limits.records or 0
        self.max_bytes = self.policy.max_bytes or limits.bytes or 0
        self.keeps_order = self.policy.order == "key" or not limits.keys_repeat
        adaptive = self.policy.concurrency
        self.most_in_flight = adaptive if isinstance(adaptive, int) else adaptive.maximum
        chosen = self.policy.on_unknown
        self.retries_unknown = limits.retry_unknown if chosen is None else chosen == "retry"
        # No request may begin before, by the policy's rate.
        self.free_at = 0.0
        # In line: encoded, neither accepted nor refused yet, in order of arrival.
        self.in_line: dict[Record, None] = {}
        self.number_accepted = 0
        self.number_ended: Counter[str] = Counter()
        # What the provider has: (record, request, whether it came late), in order.
        self.writes: list[tuple[Record, int, bool]] = []
        self.requests = 0
        self.in_flight = 0
        self.keys_in_flight: set[tuple[Hashable, Hashable]] = set()
        self.cases: dict[Record, Case] = {}
        self.reasons: dict[int, str] = {}
        # Keys stopped by on_failure="block": since when nothing of them may leave, but what already had left.
        self.blocked: set[tuple[Hashable, Hashable]] = set()
        self.resumed: set[tuple[Hashable, Hashable]] = set()
        self.stalled = 0.0
        self.is_closing = False
        # Told of the records of each answer, before the core is: who cancels callers in the tick of completion.
        self.on_answer: Any = lambda _: None
        self.is_abandoning: Any = lambda: False
        self.is_closed = False
        self.letters_failed = 0
        self.letters_taken = 0
        self.close_was_killed = False
        self.is_over = False

    # --- tools

    def note(self, *what: Any) -> None:
        """Add a line to the event log."""
        if not self.is_over:
            self.log.append((self.time(), *what))

    def breach(self, number: str, sentence: str) -> None:
        """Say that a promise is broken; the world ends at the next step."""
        if self.is_over:
            return
        self.breaches.append(f"{number}: {sentence} (at {self.time():.6f})")

    def rare(self, name: str) -> None:
        """Count a state that must occur sometimes."""
        if name not in RARE:
            raise KeyError(name)
        self.seen.add(name)

    def digest(self) -> str:
        """Return a hash of the event log."""
        return hashlib.sha256(repr(self.log).encode()).hexdigest()[:16]

    @staticmethod
    def records_of(batch: Batch) -> list[Record]:
        """Return the records a batch carries."""
        return [entry.record for entry in batch.entries]

    def lane_of(self, record: Record) -> tuple[Hashable, Hashable] | None:
        """Return the lane whose order is promised, if any."""
        return (record.target, record.key) if self.keeps_order and record.key is not None else None

    # --- callers

    def offered(self, record: Record) -> None:
        """A record was encoded inside a put: it is in line from now."""
        record.offered_at = self.time()
        self.note("offer", record.id)
        if record.size <= self.max_bytes:
            self.in_line[record] = None

    def turned_away(self, record: Record, error: BaseException) -> None:
        """Its caller was told that it was not accepted."""
        self.note("refuse", record.id, type(error).__name__)
        self.in_line.pop(record, None)
        if record.accepted_at is not None:
            self.breach("I1", f"record {record.id} was accepted, and its caller told {type(error).__name__}")

    def withdrawn(self, record: Record) -> None:
        """Its caller was cancelled; C1 before acceptance, C2 after."""
        self.note("cancel", record.id)
        if record.accepted_at is None:
            record.is_withdrawn = True
            self.rare("caller cancelled while waiting for room")
            self.in_line.pop(record, None)
        elif record.ended_at is None:
            self.rare("caller cancelled after acceptance")
            if record.attempts and not record.attempts[-1].end:
                self.rare("caller cancelled while its record was on the wire")

    def told(self, record: Record, outcome: Any) -> None:
        """Its caller was told an outcome."""
        record.told.append(outcome)
        self.note("tell", record.id, describe(outcome))
        if record.entry is None or record.entry.outcome is not outcome:
            self.breach("I1", f"record {record.id}: its caller was told {describe(outcome)}, which is not its outcome")

    # --- the dispatcher's book of open entries

    def accepted(self, entry: Entry) -> None:
        """An entry was opened."""
        record: Record = entry.record
        self.note("accept", record.id)
        if record.accepted_at is not None:
            self.breach("I1", f"record {record.id} was accepted twice")
        if record.is_withdrawn or (entry.future is not None and entry.future.cancelled()):
            self.breach("C1", f"record {record.id} was accepted after its caller had been cancelled")
        if self.is_closing:
            self.breach("I13", f"record {record.id} was accepted after close had been called")
        record.accepted_at = self.time()
        record.entry = entry
        record.accepted_number = self.number_accepted
        self.number_accepted += 1
        for other in self.in_line:
            if other is record:
                break
            if not other.is_streamed:
                self.breach("I12", f"record {record.id} was accepted before record {other.id}, which came first")
                break
        if record.offered_at is not None and record.offered_at < record.accepted_at:
            self.rare("room came back and a waiter was let in")
        self.in_line.pop(record, None)

    def ended(self, entry: Entry) -> None:
        """An entry got its outcome: it must fit what happened."""
        record: Record = entry.record
        outcome = entry.outcome
        now = self.time()
        self.note("end", record.id, describe(outcome))
        if record.ended_at is not None:
            self.breach("I1", f"record {record.id} ended twice")
        record.ended_at = now
        record.is_orphan = entry.future is not None and entry.future.cancelled()
        assert record.accepted_at is not None
        if now - record.accepted_at > self.policy.delivery_timeout + self.stalled + EPSILON:
            self.breach(
                "I15", f"record {record.id} ended after {now - record.accepted_at:.3f} s, later than delivery_timeout"
            )
        if isinstance(outcome, Receipt):
            self.number_ended["delivered"] += 1
            if not record.attempts or record.attempts[-1].end != "D":
                self.breach("I2", f"record {record.id} has a receipt that nobody gave it")
            elif outcome.attempts != record.attempts[-1].number:
                self.breach("I15", f"record {record.id}: its receipt counts {outcome.attempts} attempts")
            if len(record.attempts) > 1:
                self.rare("delivered at a later attempt")
        elif isinstance(outcome, DeliveryError):
            self._failed(record, outcome)
        else:
            self.breach("I1", f"record {record.id} ended with {outcome!r}")

    def _failed(self, record: Record, failure: DeliveryError) -> None:
        self.number_ended[failure.outcome.value] += 1
        ends = [attempt.end for attempt in record.attempts]
        is_culprit = failure.reason == "rejected" and (not ends or ends[-1] != "X")
        # In the tick between its launch and the first step of its request the provider knows nothing of it yet.
        record.is_launched = not is_culprit and record.entry.attempts > sum(end != "B" for end in ends)
        is_ambiguous = "U" in ends or "" in ends or record.is_launched
        if is_ambiguous and failure.outcome is not Outcome.UNKNOWN:
            self.breach("I3", f"record {record.id} is NOT_WRITTEN, though an attempt of it ({ends}) has no answer")
        # Who cancels the closing task itself leaves no time for answers: what is on the wire may end UNKNOWN early.
        is_cut_off = self.close_was_killed and failure.reason == "abandoned"
        if not is_ambiguous and not is_cut_off and failure.outcome is not Outcome.NOT_WRITTEN:
            self.breach("I4", f"record {record.id} is UNKNOWN, though every attempt of it was answered ({ends})")
        if ends and ends[-1] == "D" and not is_cut_off:
            self.breach("I2", f"record {record.id} was delivered, and ended {failure.reason}")
        if is_culprit and not record.is_bad:
            self.breach("I15", f"record {record.id} was rejected, though neither it nor an answer was bad ({ends})")
        charged = sum(end != "B" for end in ends) + (is_culprit or record.is_launched)
        if failure.attempts != charged and not is_cut_off:
            self.breach(
                "I15", f"record {record.id}: {failure.attempts} attempts were told, {charged} were made ({ends})"
            )
        if "" in ends:
            self.rare("ended while on the wire")
        if failure.reason == "expired" and not ends:
            self.rare("expired before it was ever sent")
        self.rare(f"ended {failure.reason} and {failure.outcome.value}")
        lane = self.lane_of(record)
        if lane is not None and self.policy.on_failure == "block" and not self.is_abandoning():
            self.blocked.add(lane)
            self.rare("a lane was blocked")

    # --- the provider

    def began(self, batch: Batch) -> int:
        """A request arrives: nothing about it may break the limits, the order or the pace of retries."""
        number = self.requests
        self.requests += 1
        self.in_flight += 1
        now = self.time()
        records = self.records_of(batch)
        self.reasons[number] = batch.reason
        self.note("send", number, batch.target, batch.reason, tuple(record.id for record in records))
        self.rare(f"left because {batch.reason}")
        size = sum(record.size for record in records)
        if not 0 < len(records) <= self.max_records or size > self.max_bytes:
            self.breach("I7", f"request {number} carries {len(records)} records of {size} bytes")
        if self.in_flight > self.most_in_flight:
            self.breach("I9", f"{self.in_flight} requests are in flight, {self.most_in_flight} allowed")
        self._paced(number, now, len(records), size)
        if self.is_closed:
            self.breach("I13", f"request {number} began after close had returned")
        if len(set(records)) < len(records):
            self.breach("I5", f"request {number} carries a record twice")
        self._lanes_begin(number, records)
        led: set[tuple[Hashable, Hashable]] = set()
        for record in records:
            lane = self.lane_of(record)
            # Behind another of its key it goes when that goes.
            self._sent_again(record, number, now, leads=lane is None or lane not in led)
            if lane is not None:
                led.add(lane)
        if batch.reason == "isolation":
            self._isolating(records[0], number)
        return number

    def _paced(self, number: int, now: float, records: int, size: int) -> None:
        rate = self.policy.rate
        if rate is None:
            return
        # A stall falls between a launch and its request's first step: then two requests may seem too close.
        if now < self.free_at - self.stalled - EPSILON:
            self.breach("I15", f"request {number} leaves {self.free_at - now:.6f} s sooner than the rate allows")
        costs = (
            records / rate.records if rate.records else 0.0,
            1 / rate.requests if rate.requests else 0.0,
            size / rate.bytes if rate.bytes else 0.0,
        )
        if self.free_at > now + EPSILON or self.requests > 1:
            self.rare("requests went at a rate")
        self.free_at = now + max(costs)

    def _lanes_begin(self, number: int, records: list[Record]) -> None:
        lanes = [lane for record in records if (lane := self.lane_of(record)) is not None]
        for lane in lanes:
            if lane in self.keys_in_flight:
                self.breach("I9", f"request {number} carries key {lane[1]}, which is in flight already")
            if lane in self.blocked and not any(record.is_launched for record in records):
                self.breach("I6", f"request {number} carries key {lane[1]}, which is blocked")
        if len(set(lanes)) < len(lanes):
            self.rare("one request carried a key twice")
            if not self.scenario.limits.keys_repeat:
                self.breach("I7", f"request {number} carries a key twice, which the provider does not take")
        self.keys_in_flight.update(lanes)

    def _sent_again(self, record: Record, number: int, now: float, *, leads: bool) -> None:
        if record.payload != record.entry.payload or record.entry.target != record.target:
            self.breach("I2", f"record {record.id} was sent as something else")
        if record.ended_at is not None:
            if not record.is_launched:
                self.breach("I15", f"record {record.id} was sent after it had ended")
            self.rare("ended between its launch and its request's first step")
        attempts = record.attempts
        if attempts:
            last = attempts[-1]
            if last.end == "U" and not self.retries_unknown:
                self.breach("I15", f"record {record.id} was sent again, though on_unknown says that it must not")
            if last.end not in ("R", "U", "B"):
                self.breach("I15", f"record {record.id} was sent again after {last.end or 'no answer yet'}")
            # Who resumes a lane by hand lets its head go at once.
            leads = leads and self.lane_of(record) not in self.resumed
            if leads and last.end in ("R", "U") and last.ended_at is not None:
                wait = now - last.ended_at
                if wait < self.policy.backoff.base - EPSILON or now < last.not_before - EPSILON:
                    self.breach(
                        "I15", f"record {record.id} was sent again after {wait:.4f} s, before its backoff ended"
                    )
        charged = 1 + sum(attempt.end != "B" for attempt in attempts)
        if self.policy.max_attempts is not None and charged > self.policy.max_attempts:
            self.breach("I15", f"record {record.id} was sent a {charged}th time, above max_attempts")
        attempts.append(Attempt(now, number, charged))

    def _isolating(self, record: Record, number: int) -> None:
        case = self.cases.get(record)
        if case is None:
            self.breach("I15", f"request {number} isolates a record of no refused batch")
            return
        case.extra += 1
        if case.extra > case.most:
            self.breach("I15", f"isolation took more than the {case.most} requests that k * ceil(log2 n) + k allows")

    def _landed(self, batch: Batch, number: int, ends: str) -> None:
        now = self.time()
        self.in_flight -= 1
        self.note("answer", number, ends)
        for record, end in zip(self.records_of(batch), ends, strict=True):
            attempt = record.attempts[-1]
            attempt.end = end
            attempt.ended_at = now
            if end == "D" and record.ended_at is not None:
                self.rare("a receipt came after the record had ended")
            lane = self.lane_of(record)
            if lane is not None:
                self.keys_in_flight.discard(lane)
        if len(set(ends)) > 1:
            self.rare("partial failure")
        self.on_answer(self.records_of(batch))
        if self.is_closing:
            self.rare("answer came while closing")

    def answered(self, batch: Batch, number: int, answer: Any) -> None:
        """The provider answered, well or badly."""
        if not isinstance(answer, list) or len(answer) != len(batch):
            self._landed(batch, number, "U" * len(batch))
            return
        kinds = {Delivered: "D", Retry: "R", Rejected: "X"}
        self._landed(batch, number, "".join(kinds.get(type(verdict), "U") for verdict in answer))
        for record, verdict in zip(self.records_of(batch), answer, strict=True):
            if isinstance(verdict, Retry) and verdict.after is not None:
                record.attempts[-1].not_before = self.time() + verdict.after

    def refused(self, batch: Batch, number: int, refusal: BatchRefused) -> None:
        """The provider refused all of it because of one."""
        records = self.records_of(batch)
        self._landed(batch, number, "B" * len(batch))
        if self.reasons[number] == "isolation":
            self.rare("a part was refused again")
            return
        bad = sum(record.is_bad for record in records)
        halvings = math.ceil(math.log2(len(records)))
        faults = self.scenario.faults
        is_exact = (
            faults.are_none and not faults.wrong_suspect and not self.has_deeds("kill", "stall", "close and kill")
        )
        most = bad * halvings + bad if is_exact else 10**9
        case = Case(most=most)
        self.cases.update(dict.fromkeys(records, case))
        self.rare("a batch was refused")
        if bad > 1:
            self.rare("a batch held several culprits")

    def has_deeds(self, *kinds: str) -> bool:
        """Whether the scenario does any of these."""
        return any(what in kinds for _, what in self.scenario.deeds)

    def unanswered(self, batch: Batch, number: int, error: BaseException) -> None:
        """The request ended without an answer."""
        self.rare("a request ended without an answer")
        self._landed(batch, number, "U" * len(batch))
        self.note("error", number, type(error).__name__)

    def written(self, entry: Entry, request: int, *, is_late: bool) -> None:
        """The provider has the record from now."""
        record: Record = entry.record
        self.note("write", record.id, request)
        self.writes.append((record, request, is_late))


def describe(outcome: Any) -> str:
    """Say an outcome in a word or two, the same in every run."""
    if isinstance(outcome, DeliveryError):
        return f"{outcome.reason} {outcome.outcome.value} after {outcome.attempts}"
    if isinstance(outcome, Receipt):
        return f"receipt after {outcome.attempts}"
    return type(outcome).__name__
