"""One accepted record on its way. Before: `Sink.put`. After: the batcher, which holds it until it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Hashable

    from ._batcher import Lane


@dataclass(slots=True)
class Encoded:
    """What `Destination.encode` makes of a record.

    Attributes:
        payload: what `Destination.write` needs to send it; the core never looks inside.
        size: bytes, counted exactly as the provider counts them against a request's limit.
        key: entries of one target with equal keys keep their order; `None` for no order.
        target: entries with equal targets may share a request: a queue URL, a topic, a table.
    """

    payload: Any
    size: int
    key: Hashable | None = None
    target: Hashable = None


class Place(IntEnum):
    """Who holds an entry. It is open, and counted in the budget, until it is DONE."""

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


# A member is looked up through its enum's metaclass, which takes longer than all else an entry's making does.
_READY: Final = Place.READY


class Entry:
    """An accepted record.

    Only `Dispatcher` changes one; a destination reads `payload`, `key`, `size` and `attempts`.
    """

    __slots__ = (
        "accepted_at",
        "ambiguous",
        "attempts",
        "epoch",
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
    )

    def __init__(
        self,
        record: Any,
        encoded: Encoded,
        future: asyncio.Future[Any] | None,
        accepted_at: float,
        epoch: int,
    ) -> None:
        self.record = record
        self.payload = encoded.payload
        self.size = encoded.size
        self.key = encoded.key
        self.target = encoded.target
        # Whoever waits for the outcome; None while nobody does. It may be cancelled at any time, which changes nothing
        # here.
        self.future = future
        self.accepted_at = accepted_at
        # Since when it may leave: its acceptance, its predecessor's outcome or its backoff's end. Linger counts from
        # here.
        self.ready_at = accepted_at
        # Which flush covers it: flush n waits for all entries of epoch <= n.
        self.epoch = epoch
        self.attempts = 0
        self.place = _READY
        # Some attempt ended without an answer: from then on NOT_WRITTEN can't be promised any more.
        self.ambiguous = False
        # The receipt or the DeliveryError, once it is DONE. Set once, by the dispatcher.
        self.outcome: Any = None
        # The entries behind this one, if it is the head of its key's lane and there are any.
        self.lane: Lane | None = None
