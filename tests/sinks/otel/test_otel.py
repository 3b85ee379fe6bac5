"""What OpenTelemetry is told, seen through the real SDK's readers in memory."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from sinkwell.core import BatchDone, DeliveryError, Policy, Sink, SinkStats
from sinkwell.core.testing import FakeDestination, FaultPlan, VirtualLoop
from sinkwell.sinks.otel import OtelObserver
from sinkwell.sinks.sqs import SqsSink
from sinkwell.sinks.testing import AwsEndpoint

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

SECRET = "the caller's secret"


class Told:
    """An observer, and what the SDK was told by it."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._exporter = InMemorySpanExporter()
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.observer = OtelObserver(meter_provider=self.meters, tracer_provider=self.tracers)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        scopes = (
            [] if data is None else [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        )
        return [
            point
            for scope in scopes
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def by(self, name: str, attribute: str = "sinkwell.sink") -> dict[Any, Any]:
        return {point.attributes[attribute]: point.value for point in self.points(name)}

    def everything(self) -> str:
        data = self._reader.get_metrics_data()
        return ("" if data is None else data.to_json()) + "".join(span.to_json() for span in self.spans)


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    yield told
    told.meters.shutdown()
    told.tracers.shutdown()


def in_virtual_time(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main)


def done(**changed: Any) -> BatchDone:
    counts = {"records": 2, "delivered": 2, "retried": 0, "rejected": 0, "unknown": 0}
    facts: dict[str, Any] = {"target": None, "throttled": False, "refused": False, "seconds": 0.25, "error": None}
    return BatchDone(**{"sink": "fake", **counts, **facts, **changed})


def test_requests_records_and_outcomes_agree_with_the_sinks_own_count(told: Told) -> None:
    destination = FakeDestination(
        plan=FaultPlan(throttle=0.2, fail_entry=0.1, reject_entry=0.05, raise_after=0.1), seed=7
    )
    sink = Sink(destination, Policy(max_records=10, on_unknown="fail"), observer=told.observer)
    told.observer.watch("fake", sink)

    async def main() -> None:
        async with sink:
            await sink.put_many(range(500))

    in_virtual_time(main())
    stats = sink.stats()
    assert told.by("sinkwell.requests", "sinkwell.reason") == stats.sealed
    assert told.by("sinkwell.records.sent") == {"fake": stats.records_sent}
    assert told.by("sinkwell.bytes.sent") == {"fake": stats.bytes_sent}
    assert told.by("sinkwell.requests.throttled") == {"fake": stats.throttles}
    assert told.by("sinkwell.retries") == {"fake": stats.retries}
    ends = {"receipt": stats.delivered, "not_written": stats.not_written, "unknown": stats.unknown}
    assert told.by("sinkwell.outcomes", "sinkwell.outcome") == ends
    assert min(ends.values()) > 0
    failed = Counter({"not_written": 0, "unknown": 0})
    for point in told.points("sinkwell.records.failed"):
        failed[point.attributes["sinkwell.outcome"]] += point.value
    assert failed == {"not_written": stats.not_written, "unknown": stats.unknown}
    (sizes,) = told.points("sinkwell.request.records")
    assert (sizes.count, sizes.sum) == (stats.requests, stats.records_sent)
    assert len(told.spans) == stats.requests == sum(point.count for point in told.points("sinkwell.request.duration"))


def test_gauges_tell_what_is_pending_while_it_is(told: Told) -> None:
    sink = Sink(FakeDestination(plan=FaultPlan(latency=5.0)), observer=told.observer)
    told.observer.watch("fake", sink)

    async def main() -> None:
        async with sink:
            deliveries = [sink.put_nowait(record) for record in range(3)]
            await asyncio.sleep(2)
            assert told.by("sinkwell.pending.records") == {"fake": 3}
            assert told.by("sinkwell.requests.in_flight") == {"fake": 1}
            assert told.by("sinkwell.oldest") == {"fake": 2.0}
            await asyncio.gather(*deliveries)
            assert told.by("sinkwell.pending.records") == {"fake": 0}

    in_virtual_time(main())


def test_sinks_of_one_name_are_added_up(told: Told) -> None:
    for count in (3, 4):
        snapshot = SinkStats(delivered=count, pending_records=count, oldest_seconds=count)
        told.observer.watch("sqs:orders", SimpleNamespace(stats=lambda snapshot=snapshot: snapshot))
    assert told.by("sinkwell.pending.records") == {"sqs:orders": 7}
    assert told.by("sinkwell.outcomes", "sinkwell.outcome")["receipt"] == 7
    assert told.by("sinkwell.oldest") == {"sqs:orders": 4}


def test_a_snapshot_that_the_loop_disturbs_is_read_again(told: Told) -> None:
    disturbances = [RuntimeError("dictionary changed size during iteration")]

    def stats() -> SinkStats:
        if disturbances:
            raise disturbances.pop()
        return SinkStats(pending_records=5)

    told.observer.watch("fake", SimpleNamespace(stats=stats))
    assert told.by("sinkwell.pending.records") == {"fake": 5}  # the first that is read


async def test_a_request_is_a_span_of_its_own_in_no_callers_trace(told: Told) -> None:
    session = aioboto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="us-east-1")
    async with AwsEndpoint() as aws:
        url = aws.sqs.create_queue("orders")
        async with SqsSink(url, session=session, endpoint_url=aws.url, observer=told.observer) as sink:
            with told.tracers.get_tracer("a caller").start_as_current_span("request"):
                await sink.put("hello")
    span = next(span for span in told.spans if span.name == "send orders")
    assert (span.parent, span.kind, span.status.status_code) == (None, SpanKind.CLIENT, StatusCode.UNSET)
    attributes = dict(span.attributes or {})
    assert attributes["messaging.system"] == "aws_sqs"
    assert attributes["messaging.batch.message_count"] == 1
    assert attributes["aws.sqs.queue.url"] == url


def test_a_spans_length_is_the_requests(told: Told) -> None:
    told.observer.on_batch_done(done(seconds=0.25))
    (span,) = told.spans
    assert (span.end_time or 0) - (span.start_time or 0) == 250_000_000


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({}, None),
        ({"error": TimeoutError(SECRET), "delivered": 0, "unknown": 2}, "TimeoutError"),
        ({"throttled": True, "delivered": 1, "retried": 1}, "throttled"),
        ({"delivered": 1, "rejected": 1}, "partial"),
    ],
)
def test_a_request_that_did_not_deliver_all_is_an_error_of_one_word(
    told: Told, changed: dict[str, Any], error: str | None
) -> None:
    told.observer.on_batch_done(done(**changed))
    (span,) = told.spans
    (point,) = told.points("sinkwell.request.duration")
    assert (span.attributes or {}).get("error.type") == point.attributes.get("error.type") == error
    assert span.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)


@pytest.mark.parametrize(
    ("sink", "target", "name", "attribute"),
    [
        ("sns:news", "arn:aws:sns:eu-west-1:1:other", "publish other", ("messaging.system", "aws.sns")),
        ("kafka:orders", ("late", 3), "send late", ("messaging.destination.partition.id", "3")),
        ("kafka:orders", None, "send", ("messaging.system", "kafka")),  # a transaction may write to several topics
        ("rabbitmq:events", None, "publish", ("messaging.system", "rabbitmq")),
        ("postgres:orders", None, "COPY orders", ("db.collection.name", "orders")),
        ("postgres:orders", "lines", "COPY lines", ("db.collection.name", "lines")),
        ("dynamodb:orders", None, "BatchWriteItem", ("db.operation.batch.size", 2)),
        ("my_function", ("tenant", SECRET), "my_function", ("sinkwell.records", 2)),
    ],
)
def test_a_span_says_in_the_conventions_words_where_a_request_went(
    told: Told, sink: str, target: Any, name: str, attribute: tuple[str, Any]
) -> None:
    told.observer.on_batch_done(done(sink=sink, target=target))
    (span,) = told.spans
    assert span.name == name
    assert attribute in (span.attributes or {}).items()


def test_no_record_and_no_words_of_an_error_go_out(told: Told) -> None:
    def bury(letter: object) -> None:
        raise OSError(SECRET)

    destination = FakeDestination(plan=FaultPlan(reject_entry=0.5), seed=1, key_of=str)
    sink = Sink(destination, observer=told.observer, dead_letter=bury)
    told.observer.watch("fake", sink)

    async def main() -> None:
        async with sink:
            sink.put(f"{SECRET} orphaned").cancel()  # type: ignore[union-attr] # there is room, so it is a future
            await sink.put_many([f"{SECRET} {number}" for number in range(20)])

    in_virtual_time(main())
    told.observer.on_batch_done(done(error=ValueError(SECRET), delivered=0, unknown=2))
    assert told.by("sinkwell.dead_letters.failed")["fake"] > 0
    assert told.by("sinkwell.records.orphaned") == {"fake": 1}
    assert SECRET not in told.everything()


def test_a_span_processor_that_raises_hurts_no_delivery(told: Told) -> None:
    class Raising(SpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            raise ZeroDivisionError

    told.tracers.add_span_processor(Raising())
    sink = Sink(FakeDestination(), observer=told.observer)

    async def main() -> None:
        async with sink:
            outcomes = await sink.put_many(range(10))
            assert not any(isinstance(outcome, DeliveryError) for outcome in outcomes)

    in_virtual_time(main())
    assert told.by("sinkwell.records.sent") == {"fake": 10}


def test_without_spans_metrics_are_told_all_the_same(told: Told) -> None:
    observer = OtelObserver(meter_provider=told.meters, tracer_provider=told.tracers, spans=False)
    observer.on_batch_done(done(refused=True, delivered=0))
    assert told.by("sinkwell.requests.refused") == {"fake": 1}
    assert told.spans == ()


def test_it_takes_the_programs_own_providers_and_is_silent_without_an_sdk() -> None:
    observer = OtelObserver()
    observer.on_batch_done(done())
    assert not trace.get_current_span().is_recording()
