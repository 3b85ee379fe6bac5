"""Which target may send, and why: Nagle's rule, linger, turns. Acts on what the batchers know.

Before: `Dispatcher.accept` adds entries. After: the sender asks for the next target whose batch may leave.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, final

from ._batcher import Batcher

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable

    from ._batch import SealReason
    from ._ledger import Ledger
    from ._policy import Bounds


@final
class Targets:
    """All targets of one sink that hold anything; an idle target is forgotten."""

    def __init__(
        self,
        bounds: Bounds,
        *,
        linger: float,
        loop: asyncio.AbstractEventLoop,
        ledger: Ledger,
        wake: Callable[[float], None],
    ) -> None:
        self._bounds = bounds
        self._linger = linger
        self._loop = loop
        self._ledger = ledger
        # Called when a target was queued, with the time that its timer stood for, if one did.
        self._wake = wake
        self.batchers: dict[Hashable, Batcher] = {}
        # Targets that may have a reason to send, each once, taking turns. Holds exactly those with is_queued.
        self._queue: deque[Batcher] = deque()
        # Since close began, batches leave without linger.
        self.is_closing = False

    @property
    def are_queued(self) -> bool:
        """Whether any target may have a reason to send."""
        return bool(self._queue)

    def make(self, target: Hashable) -> Batcher:
        """Begin to hold something for a target that held nothing."""
        batcher = self.batchers[target] = Batcher(
            target,
            max_records=self._bounds.max_records,
            max_bytes=self._bounds.max_bytes,
            keys_repeat=self._bounds.keys_repeat,
            coalesces=self._bounds.coalesces,
        )
        return batcher

    def consider(self, batcher: Batcher) -> None:
        """Queue the target if it may have a reason to send; else let its oldest entry linger."""
        if batcher.is_queued or not batcher.ready_records:
            return
        if batcher.in_flight == 0 or batcher.is_full or self.is_closing or self._is_hurried:
            self._enqueue(batcher, 0.0)
        else:
            self._let_linger(batcher)

    @property
    def _is_hurried(self) -> bool:
        return bool(self._ledger.budget.waiting or self._ledger.flushes)

    def consider_all(self) -> None:
        """Look at every target again: something has changed for all of them."""
        for batcher in self.batchers.values():
            self.consider(batcher)

    def _enqueue(self, batcher: Batcher, now: float) -> None:
        batcher.is_queued = True
        self._queue.append(batcher)
        self._wake(now)

    def _let_linger(self, batcher: Batcher) -> None:
        if batcher.linger_timer is None:
            due = batcher.oldest.ready_at + self._linger
            batcher.linger_timer = self._loop.call_at(due, self._linger_over, batcher, due)

    def _linger_over(self, batcher: Batcher, due: float) -> None:
        batcher.linger_timer = None
        if batcher.is_queued or not batcher.ready_records:
            return
        if batcher.oldest.ready_at + self._linger <= due:
            # A loop's clock may be coarser than its timers: the timer is the judge.
            self._enqueue(batcher, due)
        else:
            self.consider(batcher)

    def next_to_send(self, now: float) -> tuple[Batcher, SealReason] | None:
        """Give the target whose turn it is, and why it may send; those without a reason leave the queue."""
        while self._queue:
            batcher = self._queue[0]
            reason = self._reason(batcher, now)
            if reason is not None:
                return batcher, reason
            self._queue.popleft()
            batcher.is_queued = False
            if batcher.ready_records:
                self._let_linger(batcher)
        return None

    def end_turn(self) -> None:
        """Let the next target have its turn; the one that has just sent comes last, if it holds more."""
        batcher = self._queue.popleft()
        if batcher.ready_records:
            self._queue.append(batcher)
        else:
            # Not left among all the others, where `tidy` would have to search for it.
            batcher.is_queued = False

    def _reason(self, batcher: Batcher, now: float) -> SealReason | None:
        """Say why the target's next batch may leave now, by Nagle's rule; `None` if it had better wait for company."""
        if not batcher.ready_records:
            return None
        if batcher.is_full:
            return "full"
        if batcher.in_flight == 0:
            return "idle"
        oldest = batcher.oldest
        if now >= oldest.ready_at + self._linger:
            return "linger"
        if self.is_closing:
            return "close"
        if self._ledger.budget.waiting:
            return "room"
        # Not the first ready alone: a younger entry that goes again stands before it.
        if self._ledger.flushes and batcher.oldest_epoch <= self._ledger.flushes[-1].epoch:
            return "flush"
        return None

    def tidy(self, batcher: Batcher) -> None:
        """Queue the target again, or forget it if nothing of it is left."""
        self.consider(batcher)
        if batcher.is_idle:
            if batcher.linger_timer is not None:
                batcher.linger_timer.cancel()
                batcher.linger_timer = None
            if batcher.is_queued:
                self._queue.remove(batcher)
                batcher.is_queued = False
            del self.batchers[batcher.target]

    def drop_waiting(self) -> None:
        """Let go of everything that is not in a request: it is being ended."""
        for batcher in list(self.batchers.values()):
            batcher.drop_waiting()
            self.tidy(batcher)

    def cancel_timers(self) -> None:
        """Leave nothing scheduled behind."""
        for batcher in self.batchers.values():
            if batcher.linger_timer is not None:
                batcher.linger_timer.cancel()
