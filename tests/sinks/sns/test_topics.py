"""A topic's own limits, and many topics in one sink, each by its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import ConfigError, DeliveryRejected, InvalidRecord, Policy, RecordTooLarge
from sinkwell.sinks.sns import SnsMessage, SnsReceipt
from tests.sinks.aws.service import QUICK
from tests.sinks.sns.conftest import texts

if TYPE_CHECKING:
    from sinkwell.sinks.testing import AwsEndpoint

SIZES = [("a", 600), ("b", 600), ("c", 300), ("d", 1000), ("e", 10)]
PATIENT = replace(QUICK, attempt_timeout=5.0, delivery_timeout=20.0)


def sizes(aws: AwsEndpoint) -> list[int]:
    return [sum(len(entry["Message"].encode()) for entry in r.entries) for r in aws.requests("PublishBatch")]


@pytest.mark.parametrize("limit", [2048, 262_144, 1_048_576])
async def test_requests_are_filled_up_to_the_topics_own_limit_and_not_above(
    aws: AwsEndpoint, sink_for: Any, limit: int
) -> None:
    attributes = {} if limit == 262_144 else {"MaximumMessageSize": str(limit)}
    topic_arn = aws.sns.create_topic("events", **attributes)
    half = "é" * (limit // 4)
    async with sink_for(topic_arn, policy=PATIENT) as sink:
        outcomes = await sink.put_many([*[half] * 4, "a" * limit])
        with pytest.raises(RecordTooLarge, match=f"{limit:,}"):
            sink.put("a" * (limit + 1))
    assert [getattr(outcome, "attempts", outcome) for outcome in outcomes] == [1] * 5
    assert max(sizes(aws)) == limit
    assert {request.status for request in aws.requests("PublishBatch")} == {200}


async def test_a_policy_above_what_the_topic_takes_is_refused_when_the_sink_opens(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    topic_arn = aws.sns.create_topic("events")
    with pytest.raises(ConfigError, match=r"max_bytes \(300,000\) .* sns:events"):
        async with sink_for(topic_arn, policy=Policy(max_bytes=300_000)):
            pass


async def test_what_another_topic_takes_only_in_more_requests_goes_in_more_in_order(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    topic_arn = aws.sns.create_topic("events")
    small = aws.sns.create_topic("small.fifo", MaximumMessageSize="1024")
    records = [SnsMessage(f"{n:400}", group_id="g", topic_arn=small) for n in range(8)]
    # What waits for another request was not sent: that is no attempt.
    async with sink_for(topic_arn, strict_order=False, policy=replace(QUICK, max_attempts=1)) as sink:
        outcomes = await sink.put_many(records)
    assert [getattr(outcome, "attempts", outcome) for outcome in outcomes] == [1] * 8
    assert all(isinstance(outcome, SnsReceipt) for outcome in outcomes)
    assert texts(aws, small) == [record.message for record in records]
    assert max(sizes(aws)) <= 1024
    assert {request.status for request in aws.requests("PublishBatch")} == {200}


async def test_a_small_message_does_not_overtake_a_large_one_of_its_group_that_has_to_wait(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    topic_arn = aws.sns.create_topic("events")
    small = aws.sns.create_topic("small.fifo", MaximumMessageSize="1024")
    async with sink_for(topic_arn, strict_order=False) as sink:
        await sink.put_many(SnsMessage(letter * size, group_id="g", topic_arn=small) for letter, size in SIZES)
    assert [text[0] for text in texts(aws, small)] == [letter for letter, _ in SIZES]


async def test_a_limit_that_is_lowered_while_the_sink_runs_makes_requests_smaller_and_blames_nobody(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    # As a refusal for one record's sake, isolation would find a sound record guilty.
    topic_arn = aws.sns.create_topic("events")
    async with sink_for(topic_arn, policy=PATIENT) as sink:
        aws.sns.set_attributes(topic_arn, MaximumMessageSize="1024")
        outcomes = await sink.put_many([*["x" * 500] * 10, "y" * 1025])
    assert [type(outcome) for outcome in outcomes] == [*[SnsReceipt] * 10, DeliveryRejected]
    assert len(texts(aws, topic_arn)) == 10


async def test_a_topic_of_another_region_is_refused_at_put(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(aws.sns.create_topic("events")) as sink:
        with pytest.raises(InvalidRecord, match="is in eu-west-1, and this sink in us-east-1"):
            sink.put(SnsMessage("a", topic_arn="arn:aws:sns:eu-west-1:000000000000:events"))
