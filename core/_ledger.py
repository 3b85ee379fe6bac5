"""Every open entry, from acceptance to outcome: the one place where one ends without a receipt. No clock, no await.

Before: `Dispatcher.accept` enters an entry. After: the caller's future, the observer and the dead letter.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from ._budget import Budget
from ._entry import Place
from ._errors import DeliverySuperseded
from ._receipt import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._dead_letter import DeadLetters
    from ._entry import Entry
    from ._errors import DeliveryError
    from ._policy import Bounds
    from ._tally import Tally

_FLYING: Final = Place.FLYING
_DONE: Final = Place.DONE
_SUPERSEDED: Final = Place.SUPERSEDED


@final
@dataclass(slots=True, eq=False)
class Flush:
    """Somebody waits for everything accepted up to an epoch."""

    epoch: int
    # Open entries of that epoch or an earlier one.
    remaining: int
    done: asyncio.Future[None]


@final
class Ledger:
    """The open entries of one sink, and the room they take."""

    def __init__(
        self,
        name: str,
        bounds: Bounds,
        tally: Tally,
        *,
        block: Callable[[Entry], None] | None,
        error_for_caller: Callable[[DeliveryError], BaseException],
    ) -> None:
        self._name = name
        self._tally = tally
        # Called before a keyed entry ends without a receipt, if that stops its lane.
        self._block = block
        # What a future raises for a failure; for a sink it is the failure itself.
        self._error_for_caller = error_for_caller
        # Accepted and without an outcome, in order of acceptance, which is also the order of their deadlines.
        self.open: dict[Entry, None] = {}
        self.budget = Budget(max_records=bounds.max_pending_records, max_bytes=bounds.max_pending_bytes)
        self.dead_letters: DeadLetters | None = None
        # Flushes under way; new entries belong to the epoch after theirs.
        self.epoch = 0
        self.flushes: list[Flush] = []

    def end(self, entry: Entry, kind: type[DeliveryError], what: str, error: BaseException | None) -> None:
        """End an entry without a receipt: the only place that does."""
        assert entry.place is not _DONE
        is_unknown = entry.ambiguous or entry.place is _FLYING
        outcome = Outcome.UNKNOWN if is_unknown else Outcome.NOT_WRITTEN
        state = "the provider may have it" if is_unknown else "it is not written"
        attempts = "1 attempt" if entry.attempts == 1 else f"{entry.attempts} attempts"
        failure = kind(
            f"{self._name}: a record of {entry.size:,} bytes {what}; {attempts}, {state}",
            outcome=outcome,
            attempts=entry.attempts,
            record=entry.record,
        )
        failure.__cause__ = error or entry.error
        if entry.versions is not None:
            self._leave_versions(entry, error, is_unknown=is_unknown)
        if self._block is not None and entry.key is not None:
            self._block(entry)
        entry.place = _DONE
        entry.outcome = failure
        del self.open[entry]
        if self.flushes:
            self.count_down(entry)
        if self.dead_letters is None:
            self.budget.give_back(1, entry.size)
        else:
            self.dead_letters.add(failure, entry.size)
        if entry.future is not None:
            if not entry.future.done():
                entry.future.set_exception(self._error_for_caller(failure))
                if self.dead_letters is not None:
                    entry.future.exception()  # Handed on: nobody need be told that the future was not looked at.
            else:
                self._tally.orphaned(entry)
        self._tally.failed(failure)

    def _leave_versions(self, entry: Entry, error: BaseException | None, *, is_unknown: bool) -> None:
        """Part an entry that ends from those that share its fate.

        The cases: (1) it was superseded itself, and its own time is up: the newer goes on without it; (2) it was the
        newest and may be written: what it superseded must not be sent after it, and never was; (3) it is not written:
        the batcher puts the one before it in its place.
        """
        versions = entry.versions
        assert versions is not None
        if entry.place is _SUPERSEDED:
            # The oldest one's time is up first. It keeps `versions`: it may stand for them in the batcher's queue.
            assert versions[0] is entry
            versions.popleft()
            return
        if is_unknown:
            while versions[0] is not entry:
                what = "was superseded by a newer record of its key, which may be written or not, and was never sent"
                self.end(versions[0], DeliverySuperseded, what, error)
        if len(versions) == 1:
            entry.versions = None

    def disown(self, entry: Entry) -> None:
        """Let the observer have an outcome, now or later, that nobody else will take."""
        if entry.place is _DONE:
            self._tally.orphaned(entry)
            return
        if entry.future is None:
            entry.future = asyncio.get_running_loop().create_future()
        entry.future.cancel()

    def flush(self) -> asyncio.Future[None]:
        """Begin a flush of everything open; the future resolves when all of it has its outcome."""
        flush = Flush(epoch=self.epoch, remaining=len(self.open), done=asyncio.get_running_loop().create_future())
        if flush.remaining == 0:
            flush.done.set_result(None)
            return flush.done
        self.epoch += 1
        self.flushes.append(flush)
        flush.done.add_done_callback(lambda _: self.flushes.remove(flush))
        return flush.done

    def count_down(self, entry: Entry) -> None:
        """Tell the flushes that cover the entry that it has its outcome."""
        for flush in self.flushes:
            if entry.epoch <= flush.epoch:
                flush.remaining -= 1
                if flush.remaining == 0 and not flush.done.done():
                    flush.done.set_result(None)
