"""When the next request may leave under a `Rate`. No clock, no loop, no await."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from ._policy import Rate


@final
class Pace:
    """Spaces requests evenly: each pushes the next back by what it cost.

    No burst, so no window is ever above the rate.
    """

    __slots__ = ("_rate", "free_at")

    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate
        # No request leaves before this time.
        self.free_at = float("-inf")

    @property
    def counts_units(self) -> bool:
        """Whether the rate has a word on units."""
        return self._rate is not None and self._rate.units is not None

    def spend(self, now: float, *, records: int, size: int, units: float = 0.0) -> None:
        """Note that a request leaves now."""
        rate = self._rate
        if rate is None:
            return
        cost = max(
            records / rate.records if rate.records else 0.0,
            1.0 / rate.requests if rate.requests else 0.0,
            size / rate.bytes if rate.bytes else 0.0,
            units / rate.units if rate.units else 0.0,
        )
        self.free_at = max(self.free_at, now) + cost
