"""FIFO topics: order within a group, and every message once, through whatever goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import ConfigError, Policy
from sinkwell.sinks.sns import SnsMessage
from tests.sinks.sns.conftest import texts

if TYPE_CHECKING:
    from sinkwell.sinks.testing import AwsEndpoint


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
