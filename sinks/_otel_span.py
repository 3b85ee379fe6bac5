"""A request in the words of OpenTelemetry's semantic conventions: plain functions.

Before: `OtelObserver`, with an event. After: the tracer, and the attributes of every metric.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinkwell.core import BatchDone


class _Provider(NamedTuple):
    """One provider, as the conventions call it and what a request to it does."""

    system_key: str
    system: str
    operation: str


# By what a sink's name begins with.
_PROVIDERS: Final[Mapping[str, _Provider]] = {
    "dynamodb": _Provider("db.system.name", "aws.dynamodb", "BatchWriteItem"),
    "kafka": _Provider("messaging.system", "kafka", "send"),
    "postgres": _Provider("db.system.name", "postgresql", "COPY"),
    "rabbitmq": _Provider("messaging.system", "rabbitmq", "publish"),
    "sns": _Provider("messaging.system", "aws.sns", "publish"),
    "sqs": _Provider("messaging.system", "aws_sqs", "send"),
}


def attributes_of_sink(sink: str) -> dict[str, str]:
    """Give what tells one sink's metrics and spans from another's."""
    provider = _PROVIDERS.get(sink.partition(":")[0])
    return {"sinkwell.sink": sink} | ({} if provider is None else {provider.system_key: provider.system})


def span_of(event: BatchDone) -> tuple[str, SpanKind, dict[str, str | int]]:
    """Give a request's name, kind and attributes."""
    attributes: dict[str, str | int] = {
        "sinkwell.records": event.records,
        "sinkwell.delivered": event.delivered,
        "sinkwell.retried": event.retried,
        "sinkwell.rejected": event.rejected,
        "sinkwell.unknown": event.unknown,
    }
    provider = _PROVIDERS.get(event.sink.partition(":")[0])
    if provider is None:
        return event.sink, SpanKind.INTERNAL, attributes
    place = _place_of(event)
    if provider.system_key == "messaging.system":
        attributes |= {
            "messaging.operation.type": "send",
            "messaging.operation.name": provider.operation,
            "messaging.batch.message_count": event.records,
        }
    else:
        attributes["db.operation.name"] = provider.operation
        if provider.operation == "BatchWriteItem" and event.records > 1:  # COPY is one operation over many rows
            attributes["db.operation.batch.size"] = event.records
    # The first of its attributes is the short name.
    name = " ".join([provider.operation, *list(place.values())[:1]])
    return name, SpanKind.CLIENT, attributes | place


def _place_of(event: BatchDone) -> dict[str, str]:
    """Name where a request went, its short name first; nothing where one request may go to several places."""
    prefix, _, first = event.sink.partition(":")
    match prefix, event.target:
        case "sqs", str() as url:
            return {"messaging.destination.name": url.rpartition("/")[2], "aws.sqs.queue.url": url}
        case "sns", str() as arn:
            return {"messaging.destination.name": arn.rpartition(":")[2], "aws.sns.topic.arn": arn}
        case "kafka", (str() as topic, int() as partition):
            return {"messaging.destination.name": topic, "messaging.destination.partition.id": str(partition)}
        case "postgres", table:
            return {"db.collection.name": table if isinstance(table, str) else first}
        case _:
            return {}


def error_type_of(event: BatchDone) -> dict[str, str]:
    """Say in one word why a request did not deliver all that it carried; the words of an error may quote a record."""
    if event.error is not None:
        return {"error.type": type(event.error).__qualname__}
    if event.throttled:
        return {"error.type": "throttled"}
    return {} if event.delivered == event.records else {"error.type": "partial"}
