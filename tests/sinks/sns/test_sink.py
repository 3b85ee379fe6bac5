"""The whole sink against an endpoint that keeps SNS's rules: what callers are told is compared with what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import InvalidRecord
from sinkwell.sinks.sns import SnsMessage

if TYPE_CHECKING:
    from sinkwell.sinks.testing import AwsEndpoint


async def test_everything_about_a_message_arrives(aws: AwsEndpoint, sink_for: Any) -> None:
    topic_arn = aws.sns.create_topic("events.fifo")
    text = '{"default": "é&=+%;<", "sqs": "s"}'
    async with sink_for(topic_arn) as sink:
        message = SnsMessage(text, "ä subject", {"a.b": b"\xff\x00", "n": 7}, "json", "g", "d")
        receipt = await sink.put(message)
    (stored,) = aws.sns.messages(topic_arn)
    assert (stored.message, stored.subject, stored.structure) == (text, "ä subject", "json")
    assert (stored.group_id, stored.deduplication_id, stored.sequence_number) == ("g", "d", receipt.sequence_number)
    assert {name: each.value for name, each in stored.attributes.items()} == {"a.b": b"\xff\x00", "n": b"7"}


async def test_an_encode_that_returns_something_else_refuses_its_record(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(aws.sns.create_topic("events"), encode=lambda _: 7) as sink:
        with pytest.raises(InvalidRecord, match="encode= must return str or SnsMessage, not int"):
            sink.put({})
