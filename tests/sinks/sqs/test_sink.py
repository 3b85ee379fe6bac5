"""The whole sink against an endpoint that keeps SQS's rules: what callers are told is compared with what is there."""

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
from sinkwell.sinks.sqs import AwsError, SqsMessage, SqsReceipt
from sinkwell.sinks.testing import (
    AwsEndpoint,
    ExpiredToken,
    FailEntries,
    QueueGone,
    Refuse,
    Trickle,
)
from tests.sinks.oracle import assert_outcomes_are_true, unleash
from tests.sinks.sqs.conftest import QUICK, bodies


async def test_a_record_comes_back_with_the_id_that_sqs_gave_it(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url = aws.sqs.create_queue("orders")
    async with sink_for(queue_url) as sink:
        receipt = await sink.put("hello")
    (stored,) = aws.sqs.messages(queue_url)
    assert receipt == SqsReceipt(message_id=stored.message_id, attempts=1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_flood_leaves_in_full_batches(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url = aws.sqs.create_queue("orders")
    # Patient: an attempt that a busy machine holds up for QUICK's 0.2 s goes again, and is one request more.
    async with sink_for(queue_url, policy=Policy(concurrency=4)) as sink:
        await sink.put_many(str(n) for n in range(500))
    assert len(aws.requests("SendMessageBatch")) <= 52
    assert sorted(bodies(aws, queue_url), key=int) == [str(n) for n in range(500)]


async def test_any_session_will_do(aws: AwsEndpoint, sink_for: Any) -> None:
    plain = get_session()
    plain.set_credentials("testing", "testing")
    queue_url = aws.sqs.create_queue("orders")
    async with sink_for(queue_url, session=plain, region_name="us-east-1") as sink:
        await sink.put("hello")
    assert bodies(aws, queue_url) == ["hello"]


@dataclass
class Order:
    number: int
    customer: str


async def test_other_objects_go_through_encode(aws: AwsEndpoint, sink_for: Any) -> None:
    def encode(order: Any) -> SqsMessage:
        return SqsMessage(f"order {order.number}", group_id=order.customer)

    queue_url, fifo_url = aws.sqs.create_queue("orders"), aws.sqs.create_queue("orders.fifo")
    async with sink_for(queue_url) as sink, sink_for(fifo_url, encode=encode) as fifo:
        await sink.put(Order(7, "é"))
        await fifo.put(Order(7, "c1"))
    assert json.loads(bodies(aws, queue_url)[0]) == {"number": 7, "customer": "é"}
    (stored,) = aws.sqs.messages(fifo_url)
    assert (stored.body, stored.group_id) == ("order 7", "c1")


@pytest.mark.parametrize("record", [b"bytes", bytearray(b"x"), object(), "", "\x00"])
async def test_a_record_that_can_not_be_sent_is_refused_and_hurts_nobody(
    aws: AwsEndpoint, sink_for: Any, record: object
) -> None:
    queue_url = aws.sqs.create_queue("orders")
    async with sink_for(queue_url) as sink:
        good = [sink.put("a"), sink.put("b")]
        with pytest.raises(InvalidRecord):
            sink.put(record)
        await asyncio.gather(*good)
    assert sorted(bodies(aws, queue_url)) == ["a", "b"]


@pytest.mark.parametrize("answer", [7, None, RuntimeError("canary")])
async def test_an_encode_that_fails_refuses_its_record_only(aws: AwsEndpoint, sink_for: Any, answer: object) -> None:
    def encode(_: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with sink_for(aws.sqs.create_queue("orders"), encode=encode) as sink:
        with pytest.raises(InvalidRecord, match="encode=") as refused:
            sink.put({})
        assert "canary" not in str(refused.value)


async def test_a_throttled_entry_is_sent_again_alone(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url = aws.sqs.create_queue("orders")
    async with sink_for(queue_url) as sink:
        aws.plan.next("SendMessageBatch", FailEntries(positions=[3]))
        receipts = await asyncio.gather(*[sink.put(str(n)) for n in range(10)])
    again = aws.requests("SendMessageBatch")[-1]
    assert [entry["MessageBody"] for entry in again.entries] == ["3"]
    assert [receipt.attempts for receipt in receipts] == [1, 1, 1, 2, *[1] * 6]
    assert sorted(bodies(aws, queue_url)) == [str(n) for n in range(10)]


async def test_the_one_record_that_sqs_refuses_is_found_and_the_others_arrive(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url = aws.sqs.create_queue("orders")

    def refuse_bad(request: Any) -> Any:
        is_bad = any(entry["MessageBody"] == "bad" for entry in request.entries)
        return Refuse("InvalidParameterValue") if request.action == "SendMessageBatch" and is_bad else None

    aws.plan.script(refuse_bad)
    async with sink_for(queue_url) as sink:
        outcomes = await sink.put_many(["a", "b", "bad", "c", "d"])
    assert isinstance(outcomes[2], DeliveryRejected)
    assert outcomes[2].outcome is Outcome.NOT_WRITTEN
    assert isinstance(outcomes[2].__cause__, AwsError)
    assert sorted(bodies(aws, queue_url)) == ["a", "b", "c", "d"]


async def test_a_queue_deleted_while_the_sink_runs_rejects_loudly(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(aws.sqs.create_queue("orders")) as sink:
        aws.plan.next("SendMessageBatch", QueueGone())
        with pytest.raises(DeliveryRejected) as rejected:
            await sink.put("a")
    assert rejected.value.outcome is Outcome.NOT_WRITTEN
    assert rejected.value.__cause__.code == "NonExistentQueue"


async def test_credentials_that_expire_are_given_time_to_be_renewed(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url = aws.sqs.create_queue("orders")
    async with sink_for(queue_url, policy=Policy(max_attempts=3, backoff=QUICK.backoff)) as sink:
        aws.plan.next("SendMessageBatch", ExpiredToken(), ExpiredToken())
        assert (await sink.put("a")).attempts == 3
        aws.plan.always("SendMessageBatch", ExpiredToken())
        with pytest.raises(DeliveryExpired) as expired:
            await sink.put("b")
    assert expired.value.outcome is Outcome.NOT_WRITTEN
    assert bodies(aws, queue_url) == ["a"]


async def test_an_answer_that_trickles_in_ends_with_the_attempt(aws: AwsEndpoint, sink_for: Any) -> None:
    # A client's read timeout counts from byte to byte: it would never end this.
    queue_url = aws.sqs.create_queue("orders")
    async with sink_for(queue_url) as sink:
        aws.plan.next("SendMessageBatch", Trickle(1, pause=0.05))
        assert (await sink.put("a")).attempts == 2
    assert bodies(aws, queue_url) == ["a", "a"]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("on_unknown", ["retry", "fail"])
async def test_in_a_storm_nothing_is_lost_and_nothing_is_told_wrong(
    aws: AwsEndpoint, sink_for: Any, seed: int, on_unknown: Any
) -> None:
    queue_url = aws.sqs.create_queue("orders")
    unleash(aws, "SendMessageBatch", seed)
    policy = Policy(
        attempt_timeout=0.2, delivery_timeout=5.0, backoff=QUICK.backoff, on_unknown=on_unknown, max_attempts=6
    )
    records = [str(n) for n in range(400)]
    async with sink_for(queue_url, policy=policy) as sink:
        outcomes = await sink.put_many(records)
    there = bodies(aws, queue_url)
    assert_outcomes_are_true(records, outcomes, there)
    if on_unknown == "fail":
        assert len(there) == len(set(there))


async def test_a_policy_above_what_sqs_takes_is_refused_by_name(sink_for: Any) -> None:
    for policy in (Policy(max_records=11), Policy(max_bytes=1_048_577)):
        with pytest.raises(ConfigError, match=r"max_(records|bytes) .* sqs:orders"):
            sink_for("https://sqs.eu-west-1.amazonaws.com/1/orders", policy=policy)


async def test_a_batch_never_exceeds_what_sqs_takes_in_bytes(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url = aws.sqs.create_queue("orders")
    async with sink_for(queue_url, policy=Policy(max_attempts=2)) as sink:
        receipts = await sink.put_many(["é" * 262_144] * 6 + ["a" * 1_048_576])
    assert [getattr(receipt, "__cause__", None) for receipt in receipts] == [None] * 7
    for request in aws.requests("SendMessageBatch"):
        assert request.status == 200
        assert sum(len(entry["MessageBody"].encode()) for entry in request.entries) <= 1_048_576
