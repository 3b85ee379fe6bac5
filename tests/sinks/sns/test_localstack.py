"""The same sink against LocalStack, read back from a subscribed queue: another reading of SNS's rules than our own."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from localstack.init import FIFO_TOPIC, REGION, TOPIC, TOPIC_QUEUES
from sinkwell.core import Backoff, ConfigError, InvalidRecord, Policy, RecordTooLarge
from sinkwell.sinks.sns import SnsAttribute, SnsMessage, SnsReceipt, SnsSink
from tests.faults import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import aioboto3

    from tests.servers import LocalStackServer

ACCOUNT = "000000000000"
LIMIT = 262_144


@pytest.fixture
async def queues(localstack_server: LocalStackServer, session: aioboto3.Session) -> AsyncIterator[Any]:
    async with session.client("sqs", endpoint_url=localstack_server.url, region_name=REGION) as client:
        for queue in TOPIC_QUEUES.values():
            await client.purge_queue(QueueUrl=f"{localstack_server.url}/{ACCOUNT}/{queue}")
        yield client


@pytest.fixture
def sink_for(localstack_server: LocalStackServer, session: aioboto3.Session) -> Callable[..., SnsSink]:
    def make(name: str, *, url: str = "", **options: Any) -> SnsSink:
        arn = f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}"
        return SnsSink(arn, session=session, endpoint_url=url or localstack_server.url, transport="direct", **options)

    return make


async def received(queues: Any, topic: str, count: int) -> list[dict[str, Any]]:
    """Take what the topic's queue got until there are so many, or none for a second."""
    queue_url = f"{queues.meta.endpoint_url}/{ACCOUNT}/{TOPIC_QUEUES[topic]}"
    messages: list[dict[str, Any]] = []
    while len(messages) < count:
        answer = await queues.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=1,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        if not answer.get("Messages"):
            break
        messages += answer["Messages"]
        handles = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(answer["Messages"])]
        await queues.delete_message_batch(QueueUrl=queue_url, Entries=handles)
    return messages


async def test_messages_arrive_in_the_subscribed_queue_with_their_attributes(queues: Any, sink_for: Any) -> None:
    attributes = {"text": "é😀", "number": -12.5, "raw": b"\x00\xff", "array": SnsAttribute("String.Array", '["a"]')}
    async with sink_for(TOPIC) as sink:
        receipt = await sink.put(SnsMessage("grüße\t\n😀 &=+%;", subject="ä", attributes=attributes))
    (message,) = await received(queues, TOPIC, 1)
    assert isinstance(receipt, SnsReceipt)
    assert message["Body"] == "grüße\t\n😀 &=+%;"
    values = {
        name: value.get("StringValue", value.get("BinaryValue")) for name, value in message["MessageAttributes"].items()
    }
    assert values == {"text": "é😀", "number": "-12.5", "raw": b"\x00\xff", "array": '["a"]'}


async def test_a_queue_gets_its_own_part_of_a_message_for_each_protocol(queues: Any, sink_for: Any) -> None:
    async with sink_for(TOPIC) as sink:
        await sink.put(SnsMessage(json.dumps({"default": "d", "sqs": "for queues"}), structure="json"))
    (message,) = await received(queues, TOPIC, 1)
    assert message["Body"] == "for queues"


async def test_five_hundred_messages_arrive_once_each(queues: Any, sink_for: Any) -> None:
    async with sink_for(TOPIC) as sink:
        outcomes = await sink.put_many(str(n) for n in range(500))
        requests = sink.stats().requests
    assert all(isinstance(outcome, SnsReceipt) for outcome in outcomes)
    messages = await received(queues, TOPIC, 500)
    assert sorted(int(message["Body"]) for message in messages) == list(range(500))
    assert requests <= 55


async def test_fifo_groups_arrive_in_order(queues: Any, sink_for: Any) -> None:
    async with sink_for(FIFO_TOPIC) as sink:
        run = uuid.uuid4().hex
        receipts = await sink.put_many(SnsMessage(f"{n}", group_id=f"{run}-{n % 7}") for n in range(70))
    messages = await received(queues, FIFO_TOPIC, 70)
    assert len({receipt.sequence_number for receipt in receipts}) == 70
    for group in range(7):
        mine = [int(m["Body"]) for m in messages if m["Attributes"]["MessageGroupId"] == f"{run}-{group}"]
        assert mine == list(range(group, 70, 7))


@pytest.mark.parametrize("letter", ["a", "é"])
async def test_messages_are_taken_up_to_the_last_byte_of_the_topics_limit(
    queues: Any, sink_for: Any, letter: str
) -> None:
    def text(size: int) -> str:
        return letter * (size // len(letter.encode())) + "a" * (size % len(letter.encode()))

    async with sink_for(TOPIC, policy=Policy(attempt_timeout=60.0)) as sink:
        outcomes = await sink.put_many(
            [text(LIMIT - 1), text(LIMIT), SnsMessage(text(LIMIT - 8), attributes={"k": "x"})]
        )
        assert [getattr(outcome, "attempts", outcome) for outcome in outcomes] == [1, 1, 1]
        for above in (text(LIMIT + 1), SnsMessage(text(LIMIT - 7), attributes={"k": "x"})):
            with pytest.raises(RecordTooLarge):
                sink.put(above)


async def test_what_is_refused_at_put_would_have_been_refused_by_the_topic(
    localstack_server: LocalStackServer, session: aioboto3.Session, sink_for: Any
) -> None:
    bad = [
        {"Message": "x" * (LIMIT + 1)},
        {"Message": "{}", "MessageStructure": "json"},
        {"Message": "m", "MessageAttributes": {".k": {"DataType": "String", "StringValue": "x"}}},
        {"Message": "m", "MessageAttributes": {"k": {"DataType": "Other", "StringValue": "x"}}},
    ]
    async with (
        sink_for(TOPIC) as sink,
        session.client("sns", endpoint_url=localstack_server.url, region_name=REGION) as client,
    ):
        arn = sink._destination._topic.arn
        for entry in bad:
            attributes = {n: SnsAttribute(*v.values()) for n, v in entry.get("MessageAttributes", {}).items()}
            with pytest.raises(InvalidRecord):
                sink.put(SnsMessage(entry["Message"], attributes=attributes, structure=entry.get("MessageStructure")))
            with pytest.raises(client.exceptions.ClientError):
                await client.publish_batch(TopicArn=arn, PublishBatchRequestEntries=[{"Id": "0"} | entry])


async def test_a_missing_topic_is_told_when_the_sink_opens(sink_for: Any) -> None:
    with pytest.raises(ConfigError, match=r"SNS topic 'none' can't be used \(NotFound\)"):
        async with sink_for("none"):
            pass


async def test_a_fifo_message_whose_answer_was_lost_on_the_wire_is_delivered_once(
    queues: Any, sink_for: Any, localstack_server: LocalStackServer
) -> None:
    policy = Policy(attempt_timeout=1.0, backoff=Backoff(base=0.05, cap=0.1))
    text = uuid.uuid4().hex
    async with (
        FaultProxy.to(localstack_server.host, localstack_server.port) as proxy,
        sink_for(FIFO_TOPIC, url=f"http://{proxy.host}:{proxy.port}", policy=policy) as sink,
    ):
        proxy.down.swallow = True
        delivery = sink.put(SnsMessage(text, group_id="g"))
        while proxy.down.bytes_swallowed == 0:  # noqa: ASYNC110 - the proxy counts, it does not call
            await asyncio.sleep(0.01)
        proxy.reset()
        proxy.heal()
        receipt = await delivery
    messages = await received(queues, FIFO_TOPIC, 2)
    assert receipt.attempts >= 2
    assert [message["Body"] for message in messages] == [text]
