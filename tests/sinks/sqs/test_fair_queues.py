"""Fair queues: a group id on a standard queue, on request only; and the trace header beside a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import InvalidRecord, RecordTooLarge
from sinkwell.sinks.sqs import SqsMessage, SqsSink
from sinkwell.sinks.testing import FailEntries
from tests.sinks.sqs.test_digest import TRACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinkwell.sinks.testing import AwsEndpoint


async def test_a_group_id_on_a_standard_queue_is_refused_unless_fair_queues_are_wanted(
    aws: AwsEndpoint, sink_for: Callable[..., Any]
) -> None:
    async with sink_for(aws.sqs.create_queue("orders")) as sink:
        with pytest.raises(InvalidRecord, match="fair_queues=True"):
            sink.put(SqsMessage("a", group_id="tenant"))


async def test_with_fair_queues_the_group_goes_along_and_keeps_nothing_back(
    aws: AwsEndpoint, sink_for: Callable[..., Any]
) -> None:
    queue_url = aws.sqs.create_queue("orders")
    async with sink_for(queue_url, fair_queues=True) as sink:
        aws.plan.next("SendMessageBatch", FailEntries(positions=[0]))
        receipts = await sink.put_many(SqsMessage(str(n), group_id="tenant") for n in range(10))
    assert [receipt.attempts for receipt in receipts] == [2] + [1] * 9
    assert {message.group_id for message in aws.sqs.messages(queue_url)} == {"tenant"}
    assert len(aws.requests("SendMessageBatch")) == 2, "one tenant fills a batch: a standard queue has no order to keep"


@pytest.mark.parametrize("group", ["", "two words", "é", "x" * 129])
async def test_a_tenant_that_sqs_would_refuse_is_refused_at_put(
    aws: AwsEndpoint, sink_for: Callable[..., Any], group: str
) -> None:
    async with sink_for(aws.sqs.create_queue("orders"), fair_queues=True) as sink:
        with pytest.raises(InvalidRecord, match="group_id"):
            sink.put(SqsMessage("a", group_id=group))
        with pytest.raises(InvalidRecord, match="deduplication_id"):
            sink.put(SqsMessage("a", group_id="tenant", deduplication_id="d"))


async def test_fair_queues_are_a_setting_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINKWELL_SQS_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders")
    monkeypatch.setenv("SINKWELL_SQS_FAIR_QUEUES", "true")
    destination: Any = SqsSink.from_env(None)._destination
    assert destination.encode(SqsMessage("a", group_id="tenant")).payload.fields["MessageGroupId"] == "tenant"


async def test_a_trace_header_goes_along_and_is_not_counted(aws: AwsEndpoint, sink_for: Callable[..., Any]) -> None:
    queue_url = aws.sqs.create_queue("orders", MaximumMessageSize="1024")
    async with sink_for(queue_url) as sink:
        await sink.put(SqsMessage("x" * 1_024, trace_header=TRACE))
        with pytest.raises(RecordTooLarge):
            sink.put(SqsMessage("x" * 1_025, trace_header=TRACE))
        assert sink.stats().bytes_sent == 1_024
    (message,) = aws.sqs.messages(queue_url)
    assert message.system_attributes["AWSTraceHeader"].value == TRACE.encode()


@pytest.mark.parametrize(
    "header",
    [
        TRACE,
        "Root=1-5759E988-bd862e3fe1be46a994272793",
        "Self=1-67891234-12456789abcdef012345678;Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=a87bd80c:1|68fd508a:5",
    ],
)
async def test_every_form_of_a_trace_header_is_taken(
    aws: AwsEndpoint, sink_for: Callable[..., Any], header: str
) -> None:
    async with sink_for(aws.sqs.create_queue("orders.fifo")) as sink:
        assert await sink.put(SqsMessage("a", group_id="g", trace_header=header))


@pytest.mark.parametrize("header", ["", "Sampled=1", "Root=1-5759e988", "Root=1 -5759e988", TRACE + ";a b", b"", 7])
async def test_what_is_no_trace_header_is_refused_at_put(
    aws: AwsEndpoint, sink_for: Callable[..., Any], header: Any
) -> None:
    async with sink_for(aws.sqs.create_queue("orders")) as sink:
        with pytest.raises(InvalidRecord, match="trace_header"):
            sink.put(SqsMessage("a", trace_header=header))
