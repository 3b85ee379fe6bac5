"""The end of an entry whose time is up, wherever it is: one timer, for the oldest.

Before: `Dispatcher.accept`, which sets it for the first open entry. After: the ledger ends what is late.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Final, final

from ._entry import Place
from ._errors import DeliveryExpired

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ._entry import Entry
    from ._ledger import Ledger
    from ._policy import Policy
    from ._targets import Targets

_FLYING: Final = Place.FLYING
_HELD: Final = Place.HELD
_SUPERSEDED: Final = Place.SUPERSEDED


@final
class Expiry:
    """Ends what has had no outcome within `delivery_timeout`."""

    def __init__(
        self,
        policy: Policy,
        *,
        loop: asyncio.AbstractEventLoop,
        ledger: Ledger,
        targets: Targets,
        after_outcomes: Callable[[], None],
    ) -> None:
        self._timeout = policy.delivery_timeout
        self._blocks = policy.on_failure == "block"
        self._loop = loop
        self._ledger = ledger
        self._targets = targets
        self._after_outcomes = after_outcomes
        # Set while anything is open: an idle sink has nothing scheduled.
        self.timer: asyncio.TimerHandle | None = None

    def begin(self, now: float) -> None:
        """Set the timer for the first open entry, accepted now."""
        self.timer = self._loop.call_at(now + self._timeout, self._expire)

    def stop(self) -> None:
        """Nothing is open any more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _expire(self) -> None:
        """End what is late, and set the timer for what is then the oldest."""
        assert self.timer is not None
        now = max(self._loop.time(), self.timer.when())
        self.timer = None
        # The same sum as the timer's: the difference may round to the other side of it, and the timer would never end.
        late = list(takewhile(lambda entry: entry.accepted_at + self._timeout <= now, self._ledger.open))
        for entry in late:
            self._end(entry, now)
        self._after_outcomes()
        oldest = next(iter(self._ledger.open), None)
        if oldest is not None:
            # The room that came back may have let in a record, which set the timer for itself, just now.
            self.stop()
            self.begin(oldest.accepted_at)

    def _end(self, entry: Entry, now: float) -> None:
        """End an entry whose time is up.

        It is (1) in a request, or behind a newer entry, which goes on without it, or (2) waiting in its target.
        """
        what = f"has no receipt within delivery_timeout ({self._timeout} s)"
        if entry.place is _FLYING or entry.place is _HELD or entry.place is _SUPERSEDED:
            self._ledger.end(entry, DeliveryExpired, what, None)
            return
        batcher = self._targets.batchers[entry.target]
        if entry.key is not None and self._blocks:
            # Before it leaves its lane, so that the next of the lane does not become ready.
            batcher.block(entry.key)
        batcher.remove(entry, now)
        self._ledger.end(entry, DeliveryExpired, what, None)
        self._targets.tidy(batcher)
