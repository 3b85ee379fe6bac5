"""Entries in backoff, by when it ends.

Before: the sender, after a verdict of Retry or Unknown. After: the batcher.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, final

from ._entry import Place

if TYPE_CHECKING:
    from ._batcher import Batcher
    from ._entry import Entry


@final
class RetryQueue:
    """A heap by due time; first come first served among equals."""

    __slots__ = ("_count", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Batcher, Entry]] = []
        # Breaks ties in order of arrival, and keeps the heap from comparing entries.
        self._count = 0

    def push(self, due: float, batcher: Batcher, entry: Entry) -> None:
        """Keep the entry until `due`."""
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, batcher, entry))

    def next_due(self) -> float | None:
        """When the next entry that is still waiting is due; `None` if there is none."""
        while self._heap and self._heap[0][3].place is not Place.RETRYING:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> dict[Batcher, list[Entry]]:
        """Take the entries whose backoff has ended, by target, in order of their due times."""
        due: dict[Batcher, list[Entry]] = {}
        while (at := self.next_due()) is not None and at <= now:
            _, _, batcher, entry = heapq.heappop(self._heap)
            due.setdefault(batcher, []).append(entry)
        return due
