"""One accepted record on its way. Before: `Sink.put`. After: the batcher, which holds it until it leaves."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    import asyncio
    from collections import deque
    from collections.abc import Hashable

    from ._lane import Lane


class Place(IntEnum):
    """Who holds an entry. It is open, and counted in the budget, from its acceptance until it is DONE."""

    NEW = -1
    """Not accepted yet: its record may be waiting for room, or was refused."""
    READY = 0
    """In its target's queue: it may join the next batch."""
    FOLLOWING = 1
    """In its lane, behind an entry of the same key."""
    RETRYING = 2
    """Waiting for its backoff to end; holds no slot."""
    HELD = 3
    """In a refused batch whose culprit is being isolated, while other entries of it are on the wire."""
    FLYING = 4
    """In a request on the wire."""
    DONE = 5
    """Nobody: it has its outcome. Its request may still be on the wire, if its delivery_timeout ran out meanwhile."""
    SUPERSEDED = 6
    """Behind a newer entry of its key that goes in its place; it shares that one's fate. See `Limits.coalesce`."""


# A member is looked up through its enum's metaclass, which takes longer than all else an entry's making does.
_NEW: Final = Place.NEW


@final
class Entry:
    """What `Destination.encode` makes of a record; once it is accepted, the record's entry.

    One object in both roles, because a second one for each record costs as much as all that the core does with it. So
    `encode` makes a new one each time. A destination reads `payload`, `key`, `size` and `attempts`, and whether
    `versions` is `None`: otherwise it goes in the place of others. Only the core changes an entry.

    Args:
        payload: what `Destination.write` needs to send it; the core never looks inside.
        size: bytes, counted exactly as the provider counts them against a request's limit.
        key: entries of one target with equal keys keep their order; `None` for no order.
        target: entries with equal targets may share a request: a queue URL, a topic, a table.
        units: what it costs in the provider's unit of throughput, for `Rate.units`; see `Limits.counts_units`.
    """

    __slots__ = (
        "accepted_at",
        "ambiguous",
        "attempts",
        "epoch",
        "error",
        "future",
        "key",
        "lane",
        "outcome",
        "payload",
        "place",
        "ready_at",
        "record",
        "size",
        "target",
        "units",
        "versions",
    )

    # The caller's object.
    record: Any
    # Whoever waits for the outcome; None while nobody does. It may be cancelled at any time.
    future: asyncio.Future[Any] | None
    accepted_at: float
    # Since when it may leave: its acceptance, its predecessor's outcome or its backoff's end. Linger counts from here.
    ready_at: float
    # Which flush covers it: flush n waits for all entries of epoch <= n.
    epoch: int
    # Requests that have carried it and were not refused because of another record.
    attempts: int
    # Some attempt ended without an answer: from then on NOT_WRITTEN can't be promised any more.
    ambiguous: bool
    # What its last attempt failed with, if any did: the cause of a DeliveryError, wherever its time runs out.
    error: BaseException | None
    # The receipt or the DeliveryError, once it is DONE. Set once, by the judge or the ledger.
    outcome: Any
    # The entries behind this one, if it is the head of its key's lane and there are any.
    lane: Lane | None
    # Itself, last, and before it the open entries that it superseded, oldest first; all of them hold this one deque.
    # None if there was none.
    versions: deque[Entry] | None

    def __init__(
        self, payload: Any, size: int, key: Hashable | None = None, target: Hashable = None, units: float = 1
    ) -> None:
        self.payload = payload
        self.size = size
        self.key = key
        self.target = target
        self.units = units
        self.place = _NEW
        self.attempts = 0
        self.ambiguous = False
        self.error = self.outcome = self.lane = self.versions = self.future = None


Encoded = Entry
"""The name under which `Destination.encode` makes one."""
