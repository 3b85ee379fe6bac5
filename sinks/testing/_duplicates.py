"""What a FIFO queue or topic takes for one message sent twice. Pure; the time is handed in."""

from __future__ import annotations

import hashlib
from typing import Generic, Protocol, TypeVar

_SECONDS = 300.0

Key = tuple[str, str]
"""What must be equal: a group, or nothing where the whole queue or topic counts; and a deduplication id."""


class _Arrived(Protocol):
    @property
    def arrived_at(self) -> float: ...


M = TypeVar("M", bound=_Arrived)


def duplicate_key(text: str, deduplication_id: str | None, group_id: str | None, *, is_per_group: bool) -> Key:
    """What tells a message from others: its id, or its text's SHA-256 if it has none."""
    return (group_id or "") if is_per_group else "", deduplication_id or hashlib.sha256(text.encode()).hexdigest()


class Arrivals(Generic[M]):
    """The messages of the last five minutes."""

    def __init__(self) -> None:
        # In order of time, so that what is too old stands in front.
        self._recent: dict[Key, M] = {}

    def find(self, key: Key, now: float) -> M | None:
        """The message that arrived with this key, unless that is too long ago."""
        while self._recent:
            oldest = next(iter(self._recent))
            if self._recent[oldest].arrived_at > now - _SECONDS:
                break
            del self._recent[oldest]
        return self._recent.get(key)

    def add(self, key: Key, message: M) -> None:
        """Take down a message that is new."""
        self._recent[key] = message
