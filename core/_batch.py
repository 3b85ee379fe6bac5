"""Entries sealed for one request. Before: the batcher cut it. After: `Destination.write` sends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from ._entry import Entry

SealReason = Literal["idle", "full", "linger", "flush", "close", "room", "isolation"]
"""Why a batch left: nothing else was in flight for its target, it was full, its oldest entry had waited `linger`,
`flush` or `close` was called, a caller waited for room, or it is part of a refused batch."""


@dataclass(slots=True, frozen=True)
class Batch:
    """What one request carries.

    Attributes:
        target: what all entries share: a queue URL, a topic, a table; `None` where the destination has one target.
        entries: in the order in which they are to be written. `write` answers with one verdict for each, in this order.
        reason: why it left when it did.
    """

    target: Hashable
    entries: Sequence[Entry]
    reason: SealReason

    def __len__(self) -> int:
        """Return how many entries it carries."""
        return len(self.entries)

    @property
    def payloads(self) -> list[Any]:
        """The entries' payloads, in order."""
        return [entry.payload for entry in self.entries]

    @property
    def size(self) -> int:
        """Bytes, in the provider's own count."""
        return sum(entry.size for entry in self.entries)
