"""FIFO queues: order within a group, and every message once, through whatever goes wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sinkwell.core import (
    ConfigError,
    InvalidRecord,
    Policy,
)
from sinkwell.sinks.sqs import SqsMessage, SqsReceipt
from sinkwell.sinks.testing import (
    AwsEndpoint,
    Late,
)
from tests.sinks.oracle import unleash
from tests.sinks.sqs.conftest import bodies


async def test_a_late_first_attempt_makes_no_second_outcome_and_no_second_fifo_message(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    queue_url = aws.sqs.create_queue("orders.fifo")
    async with sink_for(queue_url) as sink:
        aws.plan.next("SendMessageBatch", Late(0.5, before=True))
        receipt = await sink.put(SqsMessage("a", group_id="g"))
        await asyncio.sleep(0.5)
    assert receipt.attempts == 2
    first, second = aws.requests("SendMessageBatch")
    assert first.entries[0]["MessageDeduplicationId"] == second.entries[0]["MessageDeduplicationId"]
    assert bodies(aws, queue_url) == ["a"]
    assert first.deduplicated


@pytest.mark.parametrize("seed", range(4))
async def test_a_fifo_group_keeps_its_order_through_partial_failures_and_retries(
    aws: AwsEndpoint, sink_for: Any, seed: int
) -> None:
    queue_url = aws.sqs.create_queue("orders.fifo")
    unleash(aws, "SendMessageBatch", seed, rejects=False)
    async with sink_for(queue_url) as sink:
        records = [SqsMessage(f"{n % 12}-{n}", group_id=f"g{n % 12}") for n in range(300)]
        outcomes = await sink.put_many(records)
    there = bodies(aws, queue_url)
    assert len(there) == len(set(there)), "the deduplication id must be the same in every attempt"
    delivered = [record.body for record, out in zip(records, outcomes, strict=True) if isinstance(out, SqsReceipt)]
    assert len(delivered) == 300
    for group in range(12):
        mine = [body for body in there if body.startswith(f"{group}-")]
        assert mine == sorted(mine, key=lambda body: int(body.partition("-")[2]))
    for request in aws.requests("SendMessageBatch"):
        groups = [entry["MessageGroupId"] for entry in request.entries]
        assert len(groups) == len(set(groups))


async def test_plain_text_for_a_fifo_queue_is_refused_with_what_to_do(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(aws.sqs.create_queue("orders.fifo")) as sink:
        with pytest.raises(InvalidRecord, match="put SqsMessage"):
            sink.put("a")


async def test_without_strict_order_one_group_fills_a_batch(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url = aws.sqs.create_queue("orders.fifo")
    async with sink_for(queue_url, strict_order=False) as sink:
        await sink.put_many(SqsMessage(str(n), group_id="g") for n in range(100))
    assert bodies(aws, queue_url) == [str(n) for n in range(100)]
    assert len(aws.requests("SendMessageBatch")) <= 12


async def test_equal_messages_are_not_collapsed_unless_the_queue_goes_by_content(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    own = aws.sqs.create_queue("own.fifo")
    content = aws.sqs.create_queue("content.fifo", ContentBasedDeduplication="true")
    async with sink_for(own) as first, sink_for(content) as second:
        for sink in (first, second):
            await sink.put_many([SqsMessage("same", group_id="g")] * 3)
    assert len(bodies(aws, own)) == 3
    assert len(bodies(aws, content)) == 1


async def test_retries_on_a_fifo_queue_must_end_while_sqs_still_knows_the_message(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    long = Policy(delivery_timeout=291.0)
    fifo = aws.sqs.create_queue("orders.fifo")
    with pytest.raises(ConfigError, match="five minutes"):
        sink_for(fifo, policy=long)
    async with sink_for(aws.sqs.create_queue("orders"), policy=long) as sink:
        with pytest.raises(InvalidRecord, match="five minutes"):
            sink.put(SqsMessage("a", group_id="g", queue_url=fifo))
