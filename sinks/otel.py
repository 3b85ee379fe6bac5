"""OpenTelemetry: what an observer sees, as metrics, and a span for each request.

Needs the API only (`pip install "sinkwell[otel]"`); which SDK exports it is the program's choice. See docs/otel.md.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Final, final

from sinkwell.core import Observer

from ._extras import needs_extra

with needs_extra("otel"):
    from opentelemetry.context import Context
    from opentelemetry.metrics import get_meter_provider
    from opentelemetry.trace import StatusCode, get_tracer_provider

    from ._otel_span import attributes_of_sink, error_type_of, span_of
    from ._otel_watched import HasStats, Watched

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from sinkwell.core import BatchDone, BatchSent, DeadLetterFailed, RecordFailed, RecordOrphaned

__all__ = ["HasStats", "OtelObserver"]

_SCOPE: Final = "sinkwell"
# A request carries the records of many callers, so it belongs to none of their traces. The context must be given:
# events are told in whatever context the loop happens to run, often that of the caller who filled the batch.
_NOBODYS: Final = Context()
# The buckets that the semantic conventions name for a client's operations, in seconds.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_RECORDS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


@final
class OtelObserver(Observer):
    """Tells OpenTelemetry what happens; one observer may serve many sinks.

    ```python
    observer = OtelObserver()
    async with SqsSink(queue_url, observer=observer) as sink:
        observer.watch("sqs:orders", sink)
    ```

    No record, key or message of an error ever goes out: an error is told by its class.

    Args:
        meter_provider: default: the program's own, as `opentelemetry.metrics.set_meter_provider` set it.

        tracer_provider: default: the program's own.

        spans: whether each request is a span; its metrics are told either way.
    """

    def __init__(
        self,
        *,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        spans: bool = True,
    ) -> None:
        meter = (meter_provider or get_meter_provider()).get_meter(_SCOPE)
        self._tracer = (tracer_provider or get_tracer_provider()).get_tracer(_SCOPE) if spans else None
        self._requests = meter.create_counter("sinkwell.requests", "{request}", "Requests sent")
        self._records = meter.create_counter("sinkwell.records.sent", "{record}", "Records sent, repeats included")
        self._bytes = meter.create_counter("sinkwell.bytes.sent", "By", "Bytes sent, as the provider counts them")
        self._throttled = meter.create_counter("sinkwell.requests.throttled", "{request}", "Requests throttled")
        self._refused = meter.create_counter("sinkwell.requests.refused", "{request}", "Refused because of one record")
        self._failed = meter.create_counter("sinkwell.records.failed", "{record}", "Records without a receipt")
        self._orphaned = meter.create_counter("sinkwell.records.orphaned", "{record}", "Outcomes whose caller had left")
        self._letters = meter.create_counter("sinkwell.dead_letters.failed", "{record}", "Dead letters not handed on")
        self._batch_size = meter.create_histogram(
            "sinkwell.request.records",
            "{record}",
            "Records in a request",
            explicit_bucket_boundaries_advisory=_RECORDS,
        )
        self._duration = meter.create_histogram(
            "sinkwell.request.duration",
            "s",
            "From sending a request to its answer",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        # What each sink's name is told with; kept, for it is needed for every event.
        self._about: dict[str, dict[str, str]] = {}
        self._watched = Watched(meter, self._attributes)

    def watch(self, name: str, sink: HasStats) -> None:
        """Tell what is pending in a sink, and its outcomes and retries, whenever metrics are collected.

        The sink is kept, so that its last outcomes are told after it is closed.

        Args:
            name: what the sink is told as: its events have `sqs:orders`. Sinks of one name are added up.

            sink: a sink, or one of `sinkwell.core.blocking`.
        """
        self._watched.add(name, sink)

    def on_batch_sent(self, event: BatchSent) -> None:
        """Count a request, and what it carries."""
        about = self._attributes(event.sink)
        self._requests.add(1, about | {"sinkwell.reason": event.reason}, _NOBODYS)
        self._records.add(event.records, about, _NOBODYS)
        self._bytes.add(event.bytes, about, _NOBODYS)
        self._batch_size.record(event.records, about, _NOBODYS)

    def on_batch_done(self, event: BatchDone) -> None:
        """Time a request, and make a span of it."""
        about = self._attributes(event.sink)
        failure = error_type_of(event)
        self._duration.record(event.seconds, about | failure, _NOBODYS)
        if event.throttled:
            self._throttled.add(1, about, _NOBODYS)
        if event.refused:
            self._refused.add(1, about, _NOBODYS)
        if self._tracer is not None:
            ended = time_ns()
            name, kind, attributes = span_of(event)
            span = self._tracer.start_span(
                name,
                _NOBODYS,
                kind,
                {**about, **failure, **attributes},
                start_time=ended - int(event.seconds * 1e9),
                record_exception=False,
            )
            if failure:
                span.set_status(StatusCode.ERROR)
            span.end(ended)

    def on_record_failed(self, event: RecordFailed) -> None:
        """Count a record that ended without a receipt, by what is known of it and why."""
        outcome = event.error.outcome.name.lower()
        about = self._attributes(event.sink)
        self._failed.add(1, about | {"sinkwell.outcome": outcome, "sinkwell.reason": event.error.reason}, _NOBODYS)

    def on_record_orphaned(self, event: RecordOrphaned) -> None:
        """Count an outcome that nobody waited for any more."""
        self._orphaned.add(1, self._attributes(event.sink), _NOBODYS)

    def on_dead_letter_failed(self, event: DeadLetterFailed) -> None:
        """Count a dead letter that could not be handed on."""
        self._letters.add(1, self._attributes(event.sink), _NOBODYS)

    def _attributes(self, sink: str) -> dict[str, str]:
        about = self._about.get(sink)
        if about is None:
            about = self._about[sink] = attributes_of_sink(sink)
        return about
