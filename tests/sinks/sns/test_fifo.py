"""FIFO topics: order within a group, and every message once, through whatever goes wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sinkwell.core import ConfigError, InvalidRecord, Policy
from sinkwell.sinks.sns import SnsMessage, SnsReceipt
from sinkwell.sinks.testing import AwsEndpoint, Late
from tests.sinks.oracle import unleash
from tests.sinks.sns.conftest import texts


async def test_a_late_first_attempt_makes_no_second_outcome_and_no_second_fifo_message(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    topic_arn = aws.sns.create_topic("events.fifo")
    async with sink_for(topic_arn) as sink:
        aws.plan.next("PublishBatch", Late(0.9, before=True))
        receipt = await sink.put(SnsMessage("a", group_id="g"))
        await asyncio.sleep(0.6)
    assert receipt.attempts == 2
    first, second = aws.requests("PublishBatch")
    assert first.entries[0]["MessageDeduplicationId"] == second.entries[0]["MessageDeduplicationId"]
    assert texts(aws, topic_arn) == ["a"]
    assert first.deduplicated


@pytest.mark.parametrize("seed", range(3))
async def test_a_fifo_group_keeps_its_order_through_partial_failures_and_retries(
    aws: AwsEndpoint, sink_for: Any, seed: int
) -> None:
    topic_arn = aws.sns.create_topic("events.fifo")
    unleash(aws, "PublishBatch", seed, rejects=False)
    async with sink_for(topic_arn) as sink:
        outcomes = await sink.put_many(SnsMessage(f"{n % 12}-{n}", group_id=f"g{n % 12}") for n in range(300))
    assert all(isinstance(outcome, SnsReceipt) for outcome in outcomes)
    there = texts(aws, topic_arn)
    assert len(there) == len(set(there)) == 300, "the deduplication id must be the same in every attempt"
    for group in range(12):
        mine = [text for text in there if text.startswith(f"{group}-")]
        assert mine == sorted(mine, key=lambda text: int(text.partition("-")[2]))
    for request in aws.requests("PublishBatch"):
        groups = [entry["MessageGroupId"] for entry in request.entries]
        assert len(groups) == len(set(groups))


async def test_sequence_numbers_grow_within_a_group(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(aws.sns.create_topic("events.fifo")) as sink:
        receipts = await sink.put_many(SnsMessage(str(n), group_id="g") for n in range(20))
    numbers = [int(receipt.sequence_number) for receipt in receipts]
    assert numbers == sorted(set(numbers))


async def test_plain_text_for_a_fifo_topic_is_refused_with_what_to_do(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(aws.sns.create_topic("events.fifo")) as sink:
        with pytest.raises(InvalidRecord, match="put SnsMessage"):
            sink.put("a")


async def test_without_strict_order_one_group_fills_a_batch(aws: AwsEndpoint, sink_for: Any) -> None:
    topic_arn = aws.sns.create_topic("events.fifo")
    async with sink_for(topic_arn, strict_order=False) as sink:
        await sink.put_many(SnsMessage(str(n), group_id="g") for n in range(100))
    assert texts(aws, topic_arn) == [str(n) for n in range(100)]
    assert len(aws.requests("PublishBatch")) <= 12


async def test_a_topic_that_makes_the_ids_itself_is_sent_none(aws: AwsEndpoint, sink_for: Any) -> None:
    topic_arn = aws.sns.create_topic("events.fifo", ContentBasedDeduplication="true")
    async with sink_for(topic_arn) as sink:
        await sink.put_many(SnsMessage("same", group_id="g", attributes={"n": n}) for n in range(3))
    assert texts(aws, topic_arn) == ["same"], "SNS hashes the message and not its attributes"
    assert all("MessageDeduplicationId" not in entry for request in aws.log for entry in request.entries)


@pytest.mark.parametrize(("scope", "there"), [("Topic", ["a"]), ("MessageGroup", ["a", "b"])])
async def test_an_id_of_the_callers_counts_for_the_topic_or_for_the_group_as_the_topic_says(
    aws: AwsEndpoint, sink_for: Any, scope: str, there: list[str]
) -> None:
    topic_arn = aws.sns.create_topic("events.fifo", FifoThroughputScope=scope)
    async with sink_for(topic_arn) as sink:
        await sink.put(SnsMessage("a", group_id="g1", deduplication_id="d"))
        await sink.put(SnsMessage("b", group_id="g2", deduplication_id="d"))
    assert texts(aws, topic_arn) == there


def test_a_retry_never_outlives_the_memory_of_deduplication(sink_for: Any) -> None:
    arn = "arn:aws:sns:us-east-1:000000000000:events"
    with pytest.raises(ConfigError, match=r"delivery_timeout \(300.0\) must not be above 290.0"):
        sink_for(arn + ".fifo", policy=Policy(delivery_timeout=300.0))
    sink_for(arn, policy=Policy(delivery_timeout=300.0))
