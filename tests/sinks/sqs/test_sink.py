"""The whole sink against an endpoint that keeps SQS's rules: what callers are told is compared with what is there."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.session import get_session

from sinkwell.core import (
    Backoff,
    ConfigError,
    DeliveryError,
    DeliveryExpired,
    DeliveryRejected,
    InvalidRecord,
    Outcome,
    Policy,
)
from sinkwell.sinks.sqs import AwsError, SqsMessage, SqsReceipt, SqsSink
from sinkwell.sinks.testing import (
    AwsEndpoint,
    Contradict,
    CutAnswer,
    Drop,
    EmptyAnswer,
    ExpiredToken,
    FailEntries,
    Hang,
    Late,
    Omit,
    QueueGone,
    Refuse,
    ServerError,
    Throttle,
)

if TYPE_CHECKING:
    import aioboto3

QUICK = Policy(attempt_timeout=0.2, delivery_timeout=5.0, backoff=Backoff(base=0.005, cap=0.02), concurrency=4)
STORM = [
    (Throttle(), 0.10),
    (FailEntries(0.3), 0.15),
    (FailEntries(0.2, code="InvalidMessageContents", sender_fault=True), 0.05),
    (ServerError(500, applied=True), 0.05),
    (ServerError(503, applied=False), 0.05),
    (Drop(applied=True), 0.05),
    (Drop(applied=False, resets=True), 0.05),
    (Omit([0, 3], applied=True), 0.05),
    (Omit([1], applied=False), 0.05),
    (Contradict([2]), 0.05),
    (EmptyAnswer(), 0.05),
    (CutAnswer(), 0.05),
    (Hang(applied=True), 0.01),
    (Late(0.01), 0.2),
]


@pytest.fixture
def sink_for(aws: AwsEndpoint, session: aioboto3.Session) -> Any:
    def make(queue_url: str, **options: Any) -> SqsSink:
        return SqsSink(queue_url, **({"session": session, "endpoint_url": aws.url, "policy": QUICK} | options))

    return make


def bodies(aws: AwsEndpoint, queue_url: str) -> list[str]:
    return [message.body for message in aws.sqs.messages(queue_url)]


async def test_a_record_comes_back_with_the_id_that_sqs_gave_it(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url = aws.sqs.create_queue("orders")
    async with sink_for(queue_url) as sink:
        receipt = await sink.put("hello")
    (stored,) = aws.sqs.messages(queue_url)
    assert receipt == SqsReceipt(message_id=stored.message_id, attempts=1)


async def test_a_flood_leaves_in_full_batches(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url = aws.sqs.create_queue("orders")
    async with sink_for(queue_url) as sink:
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


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("on_unknown", ["retry", "fail"])
async def test_in_a_storm_nothing_is_lost_and_nothing_is_told_wrong(
    aws: AwsEndpoint, sink_for: Any, seed: int, on_unknown: Any
) -> None:
    queue_url = aws.sqs.create_queue("orders")
    for number, (fault, probability) in enumerate(STORM):
        aws.plan.always("SendMessageBatch", fault, probability=probability, seed=seed * 100 + number)
    policy = Policy(
        attempt_timeout=0.2, delivery_timeout=5.0, backoff=QUICK.backoff, on_unknown=on_unknown, max_attempts=6
    )
    records = [str(n) for n in range(400)]
    async with sink_for(queue_url, policy=policy) as sink:
        outcomes = await sink.put_many(records)
    there = Counter(bodies(aws, queue_url))
    assert there.keys() <= set(records)
    for record, outcome in zip(records, outcomes, strict=True):
        if isinstance(outcome, SqsReceipt):
            assert there[record] >= 1
            assert there[record] <= outcome.attempts
        else:
            assert isinstance(outcome, DeliveryError)
            assert outcome.outcome is Outcome.UNKNOWN or there[record] == 0
    if on_unknown == "fail":
        assert max(there.values()) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_a_fifo_group_keeps_its_order_through_partial_failures_and_retries(
    aws: AwsEndpoint, sink_for: Any, seed: int
) -> None:
    queue_url = aws.sqs.create_queue("orders.fifo")
    for number, (fault, probability) in enumerate(STORM):
        if getattr(fault, "sender_fault", None) is not True:
            aws.plan.always("SendMessageBatch", fault, probability=probability, seed=seed * 100 + number)
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
