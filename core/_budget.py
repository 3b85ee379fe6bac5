"""The room for pending records and bytes, and who waits for it, first come first served. No clock, no loop, no await.

Before: `Sink.put`. After: the dispatcher accepts the record, or, later, `next_admitted` says whose turn it is.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    import asyncio

    from ._entry import Encoded


@final
@dataclass(slots=True, eq=False)
class Waiting:
    """A record that is not accepted yet."""

    record: Any
    encoded: Encoded
    # Resolved with the record's outcome; cancelled before acceptance, the record leaves no trace. None for a stream.
    future: asyncio.Future[Any] | None
    # Resolved with the entry when the record is accepted, for callers that wait for room only.
    accepted: asyncio.Future[Any] | None


@final
class Budget:
    """What is pending, and what may be."""

    __slots__ = ("bytes", "max_bytes", "max_records", "records", "waiting")

    def __init__(self, *, max_records: int, max_bytes: int) -> None:
        self.max_records = max_records
        self.max_bytes = max_bytes
        # Accepted records without an outcome, and failed ones whose dead letter is not handed on yet.
        self.records = 0
        self.bytes = 0
        # By the future that its caller holds. While anybody waits, nobody else is accepted.
        self.waiting: OrderedDict[asyncio.Future[Any], Waiting] = OrderedDict()

    def has_room(self, size: int) -> bool:
        """Whether a record of this size may be accepted now, nobody being before it."""
        return self.records < self.max_records and self.bytes + size <= self.max_bytes

    def give_back(self, records: int, size: int) -> None:
        """Take back the room of records that have their outcome."""
        self.records -= records
        self.bytes -= size
        assert self.records >= 0
        assert self.bytes >= 0

    def next_admitted(self) -> Waiting | None:
        """Take the first in line, if there is room for it; it must be accepted before anything else happens."""
        while self.waiting:
            future = next(iter(self.waiting))
            waiting = self.waiting[future]
            if future.done():
                # Cancelled in this very tick; its own callback comes too late to take it out.
                del self.waiting[future]
            elif self.has_room(waiting.encoded.size):
                del self.waiting[future]
                return waiting
            else:
                return None
        return None
