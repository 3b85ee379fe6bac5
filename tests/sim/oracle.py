"""What really happened in a simulated world, by its provider and its callers, checked against what the core says."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

from sinkwell.core import DeliveryError, Outcome, Receipt

from .breach import EPSILON, describe
from .faults import Superseded
from .rare import RARE
from .requests import Requests

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sinkwell.core import Batch, Entry

    from .scenario import Record, Scenario


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
        self.requests = Requests(self)
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
        # In line: encoded, neither accepted nor refused yet, in order of arrival.
        self.in_line: dict[Record, None] = {}
        self.number_accepted = 0
        self.number_ended: Counter[str] = Counter()
        # Of each lane, what is open, in order of acceptance: of these only the first few may be in a request.
        self.open_of: dict[tuple[Hashable, Hashable], dict[Record, None]] = {}
        # Keys stopped by on_failure="block": since when nothing of them may leave, but what already had left.
        self.blocked: set[tuple[Hashable, Hashable]] = set()
        self.resumed: set[tuple[Hashable, Hashable]] = set()
        # Seconds in all, and of the last stall, with the moment at which the loop went on.
        self.stalled = self.last_stall = 0.0
        self.stall_ended_at = -1.0
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

    def stall(self, seconds: float) -> None:
        """The loop stands still from now on; stalls that follow at once are one."""
        now = self.time()
        self.last_stall = seconds + (self.last_stall if now == self.stall_ended_at else 0.0)
        self.stall_ended_at = now + seconds
        self.stalled += seconds

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
        record.stalled_before = self.stalled
        record.entry = entry
        record.accepted_number = self.number_accepted
        self.number_accepted += 1
        lane = self.lane_of(record)
        if lane is not None:
            self.open_of.setdefault(lane, {})[record] = None
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
        lane = self.lane_of(record)
        if lane is not None:
            self.open_of[lane].pop(record, None)
        record.is_orphan = entry.future is not None and entry.future.cancelled()
        assert record.accepted_at is not None
        # No timer fires while the loop stalls: so much later, and no more.
        stalled = self.stalled - record.stalled_before
        if now - record.accepted_at > self.policy.delivery_timeout + stalled + EPSILON:
            self.breach(
                "I15", f"record {record.id} ended after {now - record.accepted_at:.3f} s, later than delivery_timeout"
            )
        if isinstance(outcome, Receipt):
            self.number_ended["delivered"] += 1
            if isinstance(outcome, Superseded):
                self._superseded(record, outcome)
            elif not record.attempts or record.attempts[-1].end != "D":
                self.breach("I2", f"record {record.id} has a receipt that nobody gave it")
            elif outcome.attempts != record.attempts[-1].number:
                self.breach("I15", f"record {record.id}: its receipt counts {outcome.attempts} attempts")
            if len(record.attempts) > 1:
                self.rare("delivered at a later attempt")
        elif isinstance(outcome, DeliveryError):
            self._failed(record, outcome)
        else:
            self.breach("I1", f"record {record.id} ended with {outcome!r}")

    @staticmethod
    def _is_in_doubt(newer: Record | None) -> bool:
        return newer is not None and any(attempt.end in ("U", "") for attempt in newer.attempts)

    def _superseded(self, record: Record, receipt: Receipt) -> None:
        """I2: it was never sent, and a newer one of its key was delivered in its place."""
        newer = record.superseded_by
        if newer is None or newer.attempts[-1].end != "D" or newer.attempts[-1].number != receipt.attempts:
            self.breach("I2", f"record {record.id} has a receipt, and no newer record was delivered in its place")
        if any(attempt.is_charged for attempt in record.attempts):
            self.breach("I2", f"record {record.id} was sent, and is told superseded")
        self.rare("a superseded record was told so")

    def _failed(self, record: Record, failure: DeliveryError) -> None:
        self.number_ended[failure.outcome.value] += 1
        ends = [attempt.end for attempt in record.attempts]
        is_culprit = failure.reason == "rejected" and (not ends or ends[-1] != "X")
        # In the tick between its launch and the first step of its request the provider knows nothing of it yet.
        charged = sum(attempt.is_charged for attempt in record.attempts)
        record.is_launched = not is_culprit and record.entry.attempts > charged
        is_ambiguous = "U" in ends or "" in ends or record.is_launched
        if is_ambiguous and failure.outcome is not Outcome.UNKNOWN:
            self.breach("I3", f"record {record.id} is NOT_WRITTEN, though an attempt of it ({ends}) has no answer")
        # Who cancels the closing task itself leaves no time for answers: what is on the wire may end UNKNOWN early.
        # So may what is answered in the very tick in which the grace to stop is over: only a stall brings the two
        # together, in the tick in which it ends. There the answer is true, and UNKNOWN says no more than it knows.
        is_in_that_tick = bool(ends) and record.attempts[-1].ended_at == record.ended_at == self.stall_ended_at
        is_cut_off = (self.close_was_killed or is_in_that_tick) and failure.reason == "abandoned"
        if is_in_that_tick and is_cut_off and ends[-1] == "D":
            self.rare("the grace to stop was over in the tick of an answer")
        if not is_ambiguous and not is_cut_off and failure.outcome is not Outcome.NOT_WRITTEN:
            self.breach("I4", f"record {record.id} is UNKNOWN, though every attempt of it was answered ({ends})")
        if ends and ends[-1] == "D" and not is_cut_off:
            self.breach("I2", f"record {record.id} was delivered, and ended {failure.reason}")
        if is_culprit and not record.is_bad and not record.is_suspect:
            self.breach("I15", f"record {record.id} was rejected, though neither it nor an answer was bad ({ends})")
        if failure.reason == "superseded" and not self._is_in_doubt(record.superseded_by):
            self.breach("I15", f"record {record.id} was given up for a newer one, whose fate is not unknown")
        charged += is_culprit or record.is_launched
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
