"""What is read of the watched sinks whenever OpenTelemetry collects its metrics.

Before: `OtelObserver.watch`. After: the callbacks of observable instruments, on the thread of whoever collects.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol, final

from opentelemetry.metrics import CallbackOptions, Observation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import Meter

    from sinkwell.core import SinkStats

# A snapshot is read while the loop's thread goes on: a dict of the sink's may change under it, for a moment.
_TRIES: Final = 5


class HasStats(Protocol):
    """A sink, or its blocking front."""

    def stats(self) -> SinkStats:
        """Return a snapshot."""
        ...


@final
class Watched:
    """The watched sinks, those of one name added up: two sources of the same series would hide each other.

    Args:
        meter: makes the instruments.
        attributes_of: what a name is told with.
    """

    def __init__(self, meter: Meter, attributes_of: Callable[[str], dict[str, str]]) -> None:
        self._attributes_of = attributes_of
        # Each sink with its name and its last snapshot.
        self._sinks: list[tuple[str, HasStats]] = []
        self._last: dict[int, SinkStats] = {}
        gauge, counter = meter.create_observable_gauge, meter.create_observable_counter
        gauge("sinkwell.pending.records", [self._told(lambda s: s.pending_records)], "{record}", "Without an outcome")
        gauge("sinkwell.pending.bytes", [self._told(lambda s: s.pending_bytes)], "By", "Bytes of what is pending")
        gauge("sinkwell.waiting", [self._told(lambda s: s.waiting)], "{caller}", "Callers that wait for room")
        gauge("sinkwell.retrying", [self._told(lambda s: s.retrying)], "{record}", "Records in backoff")
        gauge("sinkwell.requests.in_flight", [self._told(lambda s: s.requests_in_flight)], "{request}", "On the wire")
        gauge("sinkwell.concurrency", [self._told(lambda s: s.concurrency)], "{request}", "That may be in flight")
        gauge("sinkwell.oldest", [self._oldest], "s", "Age of the oldest pending record")
        counter("sinkwell.outcomes", [self._outcomes], "{record}", "Outcomes by kind")
        counter("sinkwell.retries", [self._told(lambda s: s.retries)], "{record}", "Records sent back to wait")

    def add(self, name: str, sink: HasStats) -> None:
        """Read a sink from now on."""
        self._sinks.append((name, sink))

    def _snapshots(self) -> Iterable[tuple[str, SinkStats]]:
        for number, (name, sink) in enumerate(list(self._sinks)):
            for _ in range(_TRIES):
                try:
                    self._last[number] = sink.stats()
                except RuntimeError:  # "dictionary changed size during iteration"
                    continue
                break
            if number in self._last:
                yield name, self._last[number]

    def _told(self, read: Callable[[SinkStats], int]) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            sums: Counter[str] = Counter()
            for name, stats in self._snapshots():
                sums[name] += read(stats)
            return [Observation(value, self._attributes_of(name)) for name, value in sums.items()]

        return observe

    def _oldest(self, _: CallbackOptions) -> Iterable[Observation]:
        oldest: dict[str, float] = {}
        for name, stats in self._snapshots():
            oldest[name] = max(oldest.get(name, 0.0), stats.oldest_seconds)
        return [Observation(value, self._attributes_of(name)) for name, value in oldest.items()]

    def _outcomes(self, _: CallbackOptions) -> Iterable[Observation]:
        sums: Counter[tuple[str, str]] = Counter()
        for name, stats in self._snapshots():
            sums[name, "receipt"] += stats.delivered
            sums[name, "not_written"] += stats.not_written
            sums[name, "unknown"] += stats.unknown
        return [
            Observation(value, self._attributes_of(name) | {"sinkwell.outcome": outcome})
            for (name, outcome), value in sums.items()
        ]
