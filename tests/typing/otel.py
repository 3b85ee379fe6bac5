"""How a user writes `OtelObserver`; type-checked, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from sinkwell.sinks.otel import OtelObserver
from sinkwell.sinks.sqs import SqsSink

if TYPE_CHECKING:
    from sinkwell.core.blocking import BlockingSink


async def main(blocking: BlockingSink[object, object]) -> None:
    observer = OtelObserver()
    async with SqsSink("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", observer=observer) as sink:
        observer.watch("sqs:orders", sink)
        observer.watch("sqs:orders", blocking)
    OtelObserver(meter_provider=MeterProvider(), tracer_provider=TracerProvider(), spans=False)
