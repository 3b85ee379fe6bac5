"""The entries of one key: those behind its head, and those in whose place a newer one goes. No clock, no await.

Before: `Batcher.add`. After: the batcher, which makes the next of a lane its head.

Where the destination coalesces, a newer entry takes the place of the last of its lane if that was never sent. The two
are versions then: the newest goes, the others share its fate. One that was sent is left alone: its fate may be unknown,
and the backoff that it waits for is its key's.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, final

from ._entry import Place

if TYPE_CHECKING:
    from ._entry import Entry

_READY: Final = Place.READY
_FOLLOWING: Final = Place.FOLLOWING


@final
class Lane:
    """The entries behind the head of one key, in acceptance order. Made only when there are any."""

    __slots__ = ("bytes", "entries")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        # The sum of the entries' sizes, so that a hot key's backlog is never walked to learn it.
        self.bytes = 0


def supersede(older: Entry, newer: Entry) -> bool:
    """Let a newer entry go where an older one would have gone, if that was never sent; whether it does."""
    if older.attempts or older.place not in (_READY, _FOLLOWING):
        return False
    versions = older.versions
    if versions is None:
        versions = older.versions = deque((older,))
    versions.append(newer)
    newer.versions = versions
    newer.place = older.place
    newer.ready_at = older.ready_at
    older.place = Place.SUPERSEDED
    return True


def newest(entry: Entry) -> Entry:
    """Return what goes where an entry stands: the newest of its versions."""
    return entry if entry.versions is None else entry.versions[-1]


def step_back(entry: Entry) -> Entry | None:
    """Part an entry that is not written from those that it superseded; return the one that goes in its place now."""
    versions = entry.versions
    assert versions is not None
    assert versions[-1] is entry
    versions.pop()
    entry.versions = None
    return versions[-1] if versions else None
