"""What the AWS sinks count beside the core: how batches are sent, and what becomes of them by queue or topic.

Before: a sink's writes. After: its `stats()`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from sinkwell.core import BatchRefused, Delivered, Rejected, Retry, SinkStats

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from sinkwell.core import Batch

S = TypeVar("S", bound="AwsStats")
V = TypeVar("V", bound="Sequence[object]")


@dataclass(slots=True, frozen=True, kw_only=True)
class AwsStats(SinkStats):
    """A snapshot of an AWS sink.

    Attributes:
        transport: how batches are sent: `"direct"`, or `"client"` with the reason; `"unopened"` before the sink opens.
    """

    transport: str = "unopened"


@dataclass(slots=True, frozen=True, kw_only=True)
class TargetStats:
    """What one queue or topic was sent, and what became of it; each attempt of a record counts.

    Attributes:
        requests: made for it, also if there was no connection. `records_sent` is what they carried, repeats included.
        delivered: records acknowledged.
        retries: records that it did not take for the moment. `throttles`: those of them because it asked for a lower
            pace.
        rejected: records that it will never take.
        unanswered: records of which no answer tells what became of them.
        refusals: requests refused because of one record in them.
    """

    requests: int = 0
    records_sent: int = 0
    delivered: int = 0
    retries: int = 0
    throttles: int = 0
    rejected: int = 0
    unanswered: int = 0
    refusals: int = 0


class Targets:
    """Counts what is written, by target. One for each that was ever written to."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}

    async def counted(self, batch: Batch, writing: Awaitable[V]) -> V:
        """Return the verdicts of a write, counted."""
        counts = self._counts.get(str(batch.target))
        if counts is None:
            counts = self._counts[str(batch.target)] = [0] * len(_NAMES)
        counts[_REQUESTS] += 1
        counts[_SENT] += len(batch)
        try:
            verdicts = await writing
        except BatchRefused:
            counts[_REFUSALS] += 1
            raise
        except BaseException:
            counts[_UNANSWERED] += len(batch)
            raise
        others = [verdict for verdict in verdicts if type(verdict) is not Delivered]
        counts[_DELIVERED] += len(verdicts) - len(others)
        for verdict in others:
            if isinstance(verdict, Retry):
                counts[_RETRIES] += 1
                counts[_THROTTLES] += verdict.throttled
            else:
                counts[_REJECTED if isinstance(verdict, Rejected) else _UNANSWERED] += 1
        return verdicts

    def stats(self) -> dict[str, TargetStats]:
        """Return a snapshot by target."""
        return {name: TargetStats(**dict(zip(_NAMES, counts, strict=True))) for name, counts in self._counts.items()}


_NAMES = [each.name for each in fields(TargetStats)]
_REQUESTS, _SENT, _DELIVERED, _RETRIES, _THROTTLES, _REJECTED, _UNANSWERED, _REFUSALS = range(len(_NAMES))


def extended(stats: SinkStats, kind: type[S], **more: Any) -> S:
    """Return the core's snapshot with more in it."""
    return kind(**{each.name: getattr(stats, each.name) for each in fields(SinkStats)}, **more)
