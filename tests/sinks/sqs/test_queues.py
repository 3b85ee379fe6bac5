"""Many queues in one sink, each by its own rules; and queues that only messages name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sinkwell.core import (
    ConfigError,
    DeliveryRejected,
    InvalidRecord,
    Policy,
)
from sinkwell.sinks.sqs import SqsMessage
from sinkwell.sinks.testing import (
    AccessDenied,
    AwsEndpoint,
    Drop,
    Hang,
    Refuse,
    ServerError,
    Throttle,
)
from tests.sinks.aws.service import QUICK
from tests.sinks.sqs.conftest import bodies


async def test_one_sink_serves_many_queues_each_by_its_own_rules(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url = aws.sqs.create_queue("orders")
    small = aws.sqs.create_queue("small", MaximumMessageSize="1024")
    content = aws.sqs.create_queue("content.fifo", ContentBasedDeduplication="true")
    own = aws.sqs.create_queue("own.fifo")
    async with sink_for(queue_url) as sink:
        places = [(queue_url, None), (small, None), (content, "g"), (own, "g")]
        await sink.put_many(SqsMessage("same", group_id=group, queue_url=url) for url, group in places * 2)
        with pytest.raises(InvalidRecord, match="1,024"):
            sink.put(SqsMessage("x" * 1025, queue_url=small))
    assert [len(bodies(aws, url)) for url, _ in places] == [2, 2, 1, 2]
    for request in aws.requests("SendMessageBatch"):
        if request.document["QueueUrl"] == content:
            assert all("MessageDeduplicationId" not in entry for entry in request.entries)


async def test_a_queue_first_named_by_a_record_is_read_before_anything_is_sent_to_it(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    queue_url, other = aws.sqs.create_queue("orders"), aws.sqs.create_queue("other.fifo")
    # Nothing was sent when the reading failed: that is never in doubt.
    async with sink_for(queue_url, policy=Policy(on_unknown="fail", backoff=QUICK.backoff)) as sink:
        aws.plan.next("GetQueueAttributes", Drop(), ServerError(500), Throttle(), Refuse("ExpiredToken"))
        assert (await sink.put(SqsMessage("a", group_id="g", queue_url=other))).attempts == 5
        missing = await sink.put_many([SqsMessage("a", queue_url=aws.url + "/1/none")])
    assert isinstance(missing[0], DeliveryRejected)
    assert bodies(aws, other) == ["a"]
    assert len(aws.requests("SendMessageBatch")) == 1


async def test_a_queue_that_is_not_read_in_time_leaves_nothing_in_doubt(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url, other = aws.sqs.create_queue("orders"), aws.sqs.create_queue("other")
    async with sink_for(queue_url, policy=replace(QUICK, on_unknown="fail")) as sink:
        aws.plan.next("GetQueueAttributes", Hang())
        assert (await sink.put(SqsMessage("a", queue_url=other))).attempts == 2
    assert bodies(aws, other) == ["a"]


async def test_a_queue_whose_attributes_are_refused_for_good_rejects_its_messages(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    queue_url, other = aws.sqs.create_queue("orders"), aws.sqs.create_queue("other")
    async with sink_for(queue_url) as sink:
        aws.plan.next("GetQueueAttributes", Refuse("InvalidAttributeName"), AccessDenied())
        for code in ("InvalidAttributeName", "AccessDenied"):
            with pytest.raises(DeliveryRejected) as rejected:
                await sink.put(SqsMessage("a", queue_url=other))
            assert rejected.value.__cause__.code == code


async def test_a_message_above_the_limit_of_a_queue_not_read_yet_is_rejected_alone(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    queue_url = aws.sqs.create_queue("orders")
    small = aws.sqs.create_queue("small", MaximumMessageSize="1024")
    async with sink_for(queue_url) as sink:
        outcomes = await sink.put_many(SqsMessage(body, queue_url=small) for body in ("a", "x" * 1025, "b"))
    assert isinstance(outcomes[1], DeliveryRejected)
    assert sorted(bodies(aws, small)) == ["a", "b"]


@pytest.mark.parametrize("queue_url", ["", "orders", "arn:aws:sqs:eu-west-1:1:orders", 7])
async def test_a_queue_is_named_by_its_url(aws: AwsEndpoint, sink_for: Any, queue_url: Any) -> None:
    with pytest.raises(ConfigError, match="queue_url"):
        sink_for(queue_url)
    async with sink_for(aws.sqs.create_queue("orders")) as sink:
        with pytest.raises(InvalidRecord, match="queue_url"):
            sink.put(SqsMessage("a", queue_url=queue_url))


async def test_a_fifo_queue_that_only_records_name_has_its_ids_chosen_at_put(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url, other = aws.sqs.create_queue("orders"), aws.sqs.create_queue("other.fifo")
    async with sink_for(queue_url) as sink:
        chosen = sink._destination.encode(SqsMessage("a", group_id="g", queue_url=other)).payload
        assert len(chosen.chosen_id) == 32
        aws.plan.next("SendMessageBatch", Drop(applied=True), ServerError(500, applied=True), Throttle())
        assert (await sink.put(SqsMessage("a", group_id="g", queue_url=other))).attempts == 4
    assert bodies(aws, other) == ["a"]
    sent = [request.entries[0]["MessageDeduplicationId"] for request in aws.requests("SendMessageBatch")]
    assert len(sent) == 4
    assert len(set(sent)) == 1


async def test_a_queue_that_makes_ids_itself_gets_none_of_ours_and_keeps_its_callers(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    queue_url = aws.sqs.create_queue("orders")
    other = aws.sqs.create_queue("other.fifo", ContentBasedDeduplication="true")
    async with sink_for(queue_url) as sink:
        messages = [SqsMessage("same", group_id="g", queue_url=other) for _ in range(2)]
        mine = SqsMessage("same", group_id="g", queue_url=other, deduplication_id="mine")
        await sink.put_many([*messages, mine])
    assert bodies(aws, other) == ["same", "same"]
    assert [message.deduplication_id for message in aws.sqs.messages(other)][1] == "mine"
