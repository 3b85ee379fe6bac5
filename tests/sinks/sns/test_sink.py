"""The whole sink against an endpoint that keeps SNS's rules: what callers are told is compared with what is there."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from aiobotocore.session import get_session

from sinkwell.core import (
    ConfigError,
    DeliveryExpired,
    DeliveryRejected,
    InvalidRecord,
    Outcome,
    Policy,
)
from sinkwell.sinks.sns import AwsError, SnsMessage, SnsReceipt
from sinkwell.sinks.testing import AwsEndpoint, ExpiredToken, FailEntries, Refuse, TopicGone
from tests.sinks.oracle import assert_outcomes_are_true, unleash
from tests.sinks.sns.conftest import QUICK, texts


async def test_a_record_comes_back_with_the_id_that_sns_gave_it(aws: AwsEndpoint, sink_for: Any) -> None:
    topic_arn = aws.sns.create_topic("events")
    async with sink_for(topic_arn) as sink:
        receipt = await sink.put("hello")
    (stored,) = aws.sns.messages(topic_arn)
    assert receipt == SnsReceipt(message_id=stored.message_id, attempts=1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


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


async def test_a_flood_leaves_in_full_batches(aws: AwsEndpoint, sink_for: Any) -> None:
    topic_arn = aws.sns.create_topic("events")
    async with sink_for(topic_arn) as sink:
        await sink.put_many(str(n) for n in range(500))
    assert len(aws.requests("PublishBatch")) <= 52
    assert sorted(texts(aws, topic_arn), key=int) == [str(n) for n in range(500)]


async def test_any_session_will_do(aws: AwsEndpoint, sink_for: Any) -> None:
    plain = get_session()
    plain.set_credentials("testing", "testing")
    topic_arn = aws.sns.create_topic("events")
    async with sink_for(topic_arn, session=plain) as sink:
        await sink.put("hello")
    assert texts(aws, topic_arn) == ["hello"]


@dataclass
class Order:
    number: int
    customer: str


async def test_other_objects_go_through_encode(aws: AwsEndpoint, sink_for: Any) -> None:
    def encode(order: Any) -> SnsMessage:
        return SnsMessage(f"order {order.number}", group_id=order.customer)

    topic_arn, fifo_arn = aws.sns.create_topic("events"), aws.sns.create_topic("events.fifo")
    async with sink_for(topic_arn) as sink, sink_for(fifo_arn, encode=encode) as fifo:
        await sink.put(Order(7, "é"))
        await fifo.put(Order(7, "c1"))
    assert json.loads(texts(aws, topic_arn)[0]) == {"number": 7, "customer": "é"}
    (stored,) = aws.sns.messages(fifo_arn)
    assert (stored.message, stored.group_id) == ("order 7", "c1")


@pytest.mark.parametrize(
    "record", [b"bytes", bytearray(b"x"), object(), "", "\ud800", SnsMessage("x", structure="json")]
)
async def test_a_record_that_can_not_be_sent_is_refused_and_hurts_nobody(
    aws: AwsEndpoint, sink_for: Any, record: object
) -> None:
    topic_arn = aws.sns.create_topic("events")
    async with sink_for(topic_arn) as sink:
        good = [sink.put("a"), sink.put("b")]
        with pytest.raises(InvalidRecord):
            sink.put(record)
        await asyncio.gather(*good)
    assert sorted(texts(aws, topic_arn)) == ["a", "b"]


async def test_an_encode_that_returns_something_else_refuses_its_record(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(aws.sns.create_topic("events"), encode=lambda _: 7) as sink:
        with pytest.raises(InvalidRecord, match="encode= must return str or SnsMessage, not int"):
            sink.put({})


async def test_a_throttled_entry_is_sent_again_alone(aws: AwsEndpoint, sink_for: Any) -> None:
    topic_arn = aws.sns.create_topic("events")
    async with sink_for(topic_arn) as sink:
        aws.plan.next("PublishBatch", FailEntries(positions=[3], code="Throttled"))
        receipts = await asyncio.gather(*[sink.put(str(n)) for n in range(10)])
    again = aws.requests("PublishBatch")[-1]
    assert [entry["Message"] for entry in again.entries] == ["3"]
    assert [receipt.attempts for receipt in receipts] == [1, 1, 1, 2, *[1] * 6]
    assert sorted(texts(aws, topic_arn)) == [str(n) for n in range(10)]


@pytest.mark.parametrize("code", ["InvalidParameter", "ParameterValueInvalid"])
async def test_one_malformed_message_that_fails_its_whole_request_is_found_and_the_others_arrive(
    aws: AwsEndpoint, sink_for: Any, code: str
) -> None:
    topic_arn = aws.sns.create_topic("events")

    def refuse_bad(request: Any) -> Any:
        return Refuse(code) if any(entry["Message"] == "bad" for entry in request.entries) else None

    aws.plan.script(refuse_bad)
    async with sink_for(topic_arn) as sink:
        outcomes = await sink.put_many(["a", "b", "bad", "c", "d"])
    assert isinstance(outcomes[2], DeliveryRejected)
    assert outcomes[2].outcome is Outcome.NOT_WRITTEN
    assert isinstance(outcomes[2].__cause__, AwsError)
    assert sorted(texts(aws, topic_arn)) == ["a", "b", "c", "d"]


async def test_a_topic_deleted_while_the_sink_runs_rejects_loudly(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(aws.sns.create_topic("events")) as sink:
        aws.plan.next("PublishBatch", TopicGone())
        with pytest.raises(DeliveryRejected) as rejected:
            await sink.put("a")
    assert rejected.value.outcome is Outcome.NOT_WRITTEN
    assert rejected.value.__cause__.code == "NotFound"


async def test_credentials_that_expire_are_given_time_to_be_renewed(aws: AwsEndpoint, sink_for: Any) -> None:
    topic_arn = aws.sns.create_topic("events")
    async with sink_for(topic_arn, policy=Policy(max_attempts=3, backoff=QUICK.backoff)) as sink:
        aws.plan.next("PublishBatch", ExpiredToken(), ExpiredToken())
        assert (await sink.put("a")).attempts == 3
        aws.plan.always("PublishBatch", ExpiredToken())
        with pytest.raises(DeliveryExpired) as expired:
            await sink.put("b")
    assert expired.value.outcome is Outcome.NOT_WRITTEN
    assert texts(aws, topic_arn) == ["a"]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("on_unknown", ["retry", "fail"])
async def test_in_a_storm_nothing_is_lost_and_nothing_is_told_wrong(
    aws: AwsEndpoint, sink_for: Any, seed: int, on_unknown: Any
) -> None:
    topic_arn = aws.sns.create_topic("events")
    unleash(aws, "PublishBatch", seed)
    policy = Policy(
        attempt_timeout=0.5, delivery_timeout=8.0, backoff=QUICK.backoff, on_unknown=on_unknown, max_attempts=6
    )
    records = [str(n) for n in range(400)]
    async with sink_for(topic_arn, policy=policy) as sink:
        outcomes = await sink.put_many(records)
    there = texts(aws, topic_arn)
    assert_outcomes_are_true(records, outcomes, there)
    if on_unknown == "fail":
        assert len(there) == len(set(there))


async def test_a_policy_above_what_sns_takes_is_refused_by_name(sink_for: Any) -> None:
    for policy in (Policy(max_records=11), Policy(max_bytes=1_048_577)):
        with pytest.raises(ConfigError, match=r"max_(records|bytes) .* sns:events"):
            sink_for("arn:aws:sns:eu-west-1:123456789012:events", policy=policy)
