"""How many requests may be in flight at once. No clock, no loop, no await."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, final

if TYPE_CHECKING:
    from ._policy import Adaptive

_DECREASE: Final = 0.7
# The weight of the newest attempt in the averages: the last ten or so attempts count.
_NEWEST: Final = 0.1
# An attempt is slow if it takes both twice the average and this many deviations more.
_SLOW_RATIO: Final = 2.0
_SLOW_DEVIATIONS: Final = 4.0


class Concurrency(Protocol):
    """A number of slots that may move with what single attempts show; time in backoff never reaches it."""

    limit: int

    def answered(self, *, sent_at: float, now: float, throttled: bool, was_full: bool) -> None:
        """Learn from one attempt: when it began and ended, if it was throttled, if all slots were in use."""
        ...


@final
class FixedConcurrency:
    """Always as many as the user said."""

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def answered(self, *, sent_at: float, now: float, throttled: bool, was_full: bool) -> None:
        """Learn nothing."""


@final
class AdaptiveConcurrency:
    """Slow start, then additive increase and multiplicative decrease."""

    __slots__ = ("_bounds", "_decreased_at", "_deviation", "_exact", "_is_slow_start", "_mean", "limit")

    def __init__(self, bounds: Adaptive) -> None:
        self._bounds = bounds
        self._exact = float(bounds.minimum)
        self.limit = bounds.minimum
        self._is_slow_start = True
        self._decreased_at = float("-inf")
        self._mean = 0.0
        self._deviation = 0.0

    def answered(self, *, sent_at: float, now: float, throttled: bool, was_full: bool) -> None:
        """Go (1) down for a throttle or a slow attempt, once a round trip; (2) up if all slots were in use."""
        seconds = now - sent_at
        is_slow = self._mean > 0 and seconds > max(
            _SLOW_RATIO * self._mean, self._mean + _SLOW_DEVIATIONS * self._deviation
        )
        if not throttled:
            self._remember(seconds)
        if throttled or is_slow:
            # A request sent before the last decrease tells of the concurrency before it.
            if sent_at >= self._decreased_at:
                self._decreased_at = now
                self._is_slow_start = False
                self._exact *= _DECREASE
        elif was_full:
            self._exact += 1.0 if self._is_slow_start else 1.0 / self._exact
        self._exact = min(max(self._exact, float(self._bounds.minimum)), float(self._bounds.maximum))
        self.limit = int(self._exact)
        assert self._bounds.minimum <= self.limit <= self._bounds.maximum

    def _remember(self, seconds: float) -> None:
        if self._mean == 0:
            self._mean = seconds
            self._deviation = seconds / 2
            return
        self._deviation += _NEWEST * (abs(seconds - self._mean) - self._deviation)
        self._mean += _NEWEST * (seconds - self._mean)
