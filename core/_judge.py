"""What becomes of each entry after an attempt: an outcome, or another try. No clock, no loop, no await.

Before: `Sender`, with the verdicts of one request. After: the ledger ends entries, the flight notes when others are
due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from ._entry import Place
from ._errors import DeliveryAbandoned, DeliveryError, DeliveryExpired, DeliveryRejected
from ._verdict import Delivered, Rejected, Retry, Unknown

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from ._entry import Entry
    from ._flight import Flight
    from ._ledger import Ledger
    from ._policy import Policy
    from ._tally import Tally
    from ._verdict import Verdict

_HELD: Final = Place.HELD
_DONE: Final = Place.DONE


@final
class Judge:
    """Turns verdicts into outcomes or retries, as the policy says."""

    def __init__(
        self, name: str, policy: Policy, ledger: Ledger, tally: Tally, rng: random.Random, *, retries_unknown: bool
    ) -> None:
        self._name = name
        self._policy = policy
        self._ledger = ledger
        self._tally = tally
        self._rng = rng
        self._retries_unknown = retries_unknown
        # Since the time to close ran out: nothing goes again.
        self.is_abandoning = False

    def apply(self, flight: Flight, entries: Sequence[Entry], verdicts: Sequence[Verdict[Any]], now: float) -> bool:
        """Turn verdicts into outcomes or retries; whether the provider throttled. The hot path is a delivered entry."""
        ledger = self._ledger
        opened = ledger.open
        flushes = ledger.flushes
        records = size = 0
        others: list[tuple[Entry, Any]] = []
        for entry, verdict in zip(entries, verdicts, strict=True):
            if entry.place is _DONE:
                continue  # Its time ran out while it was on the wire: a late answer changes nothing.
            if type(verdict) is not Delivered:
                others.append((entry, verdict))
                continue
            if entry.versions is not None:
                self._deliver_superseded(entry, verdict)
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
                    self._tally.orphaned(entry)
            if flushes:
                ledger.count_down(entry)
        self._tally.delivered += records
        ledger.budget.give_back(records, size)
        throttled = False
        chance = self._policy.backoff.draw(self._rng) if others else 0.0
        for entry, verdict in others:
            throttled = self._judge(flight, entry, verdict, now, chance) or throttled
        return throttled

    def _deliver_superseded(self, newest: Entry, verdict: Delivered[Any]) -> None:
        """Give a receipt to those in whose place an entry was delivered: its value has taken theirs."""
        assert newest.versions is not None
        receipt = verdict.receipt if verdict.superseded is None else verdict.superseded
        ledger = self._ledger
        newest.versions.pop()
        while newest.versions:
            entry = newest.versions.popleft()
            entry.place = _DONE
            entry.outcome = receipt
            del ledger.open[entry]
            ledger.budget.give_back(1, entry.size)
            self._tally.delivered += 1
            self._tally.superseded += 1
            if entry.future is not None:
                if not entry.future.done():
                    entry.future.set_result(receipt)
                else:
                    self._tally.orphaned(entry)
            if ledger.flushes:
                ledger.count_down(entry)
        newest.versions = None

    def _judge(self, flight: Flight, entry: Entry, verdict: Any, now: float, chance: float) -> bool:
        """Take a verdict other than Delivered; whether it says that the provider throttled."""
        entry.place = _HELD
        match verdict:
            case Retry(error=error, throttled=throttled, after=after, unsent=unsent):
                entry.attempts -= unsent
                self._again(flight, entry, error, now, chance, after)
                return throttled
            case Rejected(error=error):
                self.reject(entry, error)
            case Unknown(error=error, is_final=is_final):
                self._unanswered(flight, entry, error, now, chance, is_final=is_final)
            case _:
                mistake = TypeError(f"{self._name} answered a {type(verdict).__name__}, not a verdict")
                self._unanswered(flight, entry, mistake, now, chance)
        return False

    def _unanswered(
        self,
        flight: Flight,
        entry: Entry,
        error: BaseException,
        now: float,
        chance: float,
        *,
        is_final: bool = False,
    ) -> None:
        entry.ambiguous = True
        if self._retries_unknown and not is_final:
            self._again(flight, entry, error, now, chance, None)
        else:
            self._ledger.end(entry, DeliveryError, "was sent, and no answer tells what became of it", error)

    def _again(  # noqa: PLR0917 - the facts of one verdict, they are all needed
        self, flight: Flight, entry: Entry, error: BaseException, now: float, chance: float, after: float | None
    ) -> None:
        """Send the entry again after its backoff, unless it has run out of attempts or of time."""
        policy = self._policy
        entry.error = error
        delay = policy.backoff.delay(entry.attempts, chance)
        if after is not None and after > delay:
            delay = after
        if self.is_abandoning:
            self._ledger.end(entry, DeliveryAbandoned, "was not delivered before the sink closed", error)
        elif policy.max_attempts is not None and entry.attempts >= policy.max_attempts:
            what = f"has no receipt after max_attempts ({policy.max_attempts})"
            self._ledger.end(entry, DeliveryExpired, what, error)
        elif now + delay >= entry.accepted_at + policy.delivery_timeout:
            what = f"has no receipt within delivery_timeout ({policy.delivery_timeout} s)"
            self._ledger.end(entry, DeliveryExpired, what, error)
        else:
            flight.dues[entry] = now + delay
            if entry.key is not None and flight.isolation is not None:
                flight.isolation.stalled_keys.add(entry.key)
            self._tally.retries += 1

    def abandon(self, entries: Sequence[Entry]) -> None:
        """End what came back without an outcome after the time to close had run out."""
        for entry in entries:
            if entry.place is not _DONE:
                self._ledger.end(entry, DeliveryAbandoned, "was not delivered before the sink closed", None)

    def reject(self, entry: Entry, error: BaseException) -> None:
        self._ledger.end(entry, DeliveryRejected, f"was rejected ({type(error).__name__})", error)
