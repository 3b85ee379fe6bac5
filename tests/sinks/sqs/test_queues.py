"""Many queues in one sink, each by its own rules; and queues that only messages name."""

from __future__ import annotations

from typing import Any

from sinkwell.sinks.sqs import SqsMessage
from sinkwell.sinks.testing import AwsEndpoint, Drop, ServerError, Throttle
from tests.sinks.sqs.conftest import bodies


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
