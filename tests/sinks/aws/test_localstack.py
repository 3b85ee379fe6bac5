"""The same sinks against LocalStack: another reading of the rules of SQS and SNS than our own endpoint's.

What a topic published is read from the queue that is subscribed to it.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from localstack.init import FIFO_QUEUE, FIFO_TOPIC, QUEUE, REGION, SMALL_QUEUE, SMALL_QUEUE_BYTES, TOPIC, TOPIC_QUEUES
from sinkwell.core import Backoff, ConfigError, InvalidRecord, Policy, RecordTooLarge
from sinkwell.sinks.sns import SnsAttribute, SnsMessage
from sinkwell.sinks.sqs import SqsAttribute, SqsMessage, SqsReceipt
from tests.faults import FaultProxy
from tests.sinks.aws.service import SNS, SQS, session_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers import LocalStackServer
    from tests.sinks.aws.service import Messaging

ACCOUNT = "000000000000"
MIB = 1_048_576
QUEUES = {name: name for name in (QUEUE, FIFO_QUEUE, SMALL_QUEUE)} | TOPIC_QUEUES  # where a place's messages arrive

plain = pytest.mark.parametrize(("service", "name"), [(SQS, QUEUE), (SNS, TOPIC)])
in_groups = pytest.mark.parametrize(("service", "name"), [(SQS, FIFO_QUEUE), (SNS, FIFO_TOPIC)])
of_sqs = pytest.mark.parametrize("service", [SQS])
of_sns = pytest.mark.parametrize("service", [SNS])


@dataclass
class LocalStack:
    """LocalStack with the queues and topics of `localstack/init`, all of them empty."""

    server: LocalStackServer
    service: Messaging
    queues: Any  # a client that reads them

    def sink(self, name: str, *, url: str = "", **options: Any) -> Any:
        place = f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}" if self.service is SNS else self.queue_url(name)
        given = {"session": session_of(self.service), "endpoint_url": url or self.server.url, "transport": "direct"}
        return self.service.sink(place, **given, **self.service.region, **options)

    def queue_url(self, name: str) -> str:
        return f"{self.server.url}/{ACCOUNT}/{name}"

    async def received(self, name: str, count: int) -> list[dict[str, Any]]:
        """Take what arrived of a queue or topic until there are so many, or none for a second."""
        queue_url = self.queue_url(QUEUES[name])
        messages: list[dict[str, Any]] = []
        while len(messages) < count:
            answer = await self.queues.receive_message(
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
            await self.queues.delete_message_batch(QueueUrl=queue_url, Entries=handles)
        return messages


@pytest.fixture
async def localstack(localstack_server: LocalStackServer, service: Messaging) -> AsyncIterator[LocalStack]:
    options: Any = {"endpoint_url": localstack_server.url, "region_name": REGION}
    async with session_of(SQS).client("sqs", **options) as client:
        made = LocalStack(localstack_server, service, client)
        for name in TOPIC_QUEUES.values() if service is SNS else (QUEUE, FIFO_QUEUE, SMALL_QUEUE):
            await client.purge_queue(QueueUrl=made.queue_url(name))
        yield made


@plain
async def test_messages_arrive_with_their_attributes(localstack: LocalStack, name: str) -> None:
    service = localstack.service
    also: dict[str, Any] = {"subject": "ä"} if service is SNS else {}
    typed = SqsAttribute("Number.int", "7") if service is SQS else SnsAttribute("String.Array", '["a"]')
    attributes = {"text": "é😀", "number": -12.5, "raw": b"\x00\xff", "typed": typed}
    async with localstack.sink(name) as sink:
        receipt = await sink.put(service.message("grüße\t\n😀 &=+%;", attributes=attributes, **also))
    (message,) = await localstack.received(name, 1)
    assert isinstance(receipt, service.receipt)
    assert service is SNS or message["MessageId"] == receipt.message_id
    assert message["Body"] == "grüße\t\n😀 &=+%;"
    arrived = message["MessageAttributes"]
    values = {name: value.get("StringValue", value.get("BinaryValue")) for name, value in arrived.items()}
    assert values == {"text": "é😀", "number": "-12.5", "raw": b"\x00\xff", "typed": typed.value}


@of_sqs
async def test_a_trace_header_and_a_tenant_arrive_and_the_digests_are_those_of_localstack(
    localstack: LocalStack,
) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    attributes: dict[str, Any] = {"text": "é😀", "raw": b"\x00\xff", "number": -12.5}
    async with localstack.sink(QUEUE, fair_queues=True) as sink:
        await sink.put(SqsMessage("grüße", attributes, group_id="tenant", trace_header=trace))
    (message,) = await localstack.received(QUEUE, 1)
    assert message["Attributes"]["AWSTraceHeader"] == trace
    assert message["Attributes"]["MessageGroupId"] == "tenant"


@of_sns
async def test_a_queue_gets_its_own_part_of_a_message_for_each_protocol(localstack: LocalStack) -> None:
    async with localstack.sink(TOPIC) as sink:
        await sink.put(SnsMessage(json.dumps({"default": "d", "sqs": "for queues"}), structure="json"))
    (message,) = await localstack.received(TOPIC, 1)
    assert message["Body"] == "for queues"


@pytest.mark.parametrize(("service", "name", "count", "most"), [(SQS, QUEUE, 1000, 105), (SNS, TOPIC, 500, 55)])
async def test_many_messages_arrive_once_each(localstack: LocalStack, name: str, count: int, most: int) -> None:
    async with localstack.sink(name) as sink:
        outcomes = await sink.put_many(str(n) for n in range(count))
        requests = sink.stats().requests
    assert all(isinstance(outcome, localstack.service.receipt) for outcome in outcomes)
    messages = await localstack.received(name, count)
    assert sorted(int(message["Body"]) for message in messages) == list(range(count))
    assert requests <= most


@in_groups
async def test_fifo_groups_arrive_in_order(localstack: LocalStack, name: str) -> None:
    run = uuid.uuid4().hex
    async with localstack.sink(name) as sink:
        message = localstack.service.message
        receipts = await sink.put_many(message(f"{n}", group_id=f"{run}-{n % 7}") for n in range(140))
    messages = await localstack.received(name, 140)
    assert len({receipt.sequence_number for receipt in receipts}) == 140
    for group in range(7):
        mine = [int(m["Body"]) for m in messages if m["Attributes"]["MessageGroupId"] == f"{run}-{group}"]
        assert mine == list(range(group, 140, 7))


@pytest.mark.parametrize(
    ("service", "name", "limit"), [(SQS, QUEUE, MIB), (SQS, SMALL_QUEUE, SMALL_QUEUE_BYTES), (SNS, TOPIC, 262_144)]
)
@pytest.mark.parametrize("letter", ["a", "é"])
async def test_messages_are_taken_up_to_the_last_byte_of_the_limit(
    localstack: LocalStack, name: str, limit: int, letter: str
) -> None:
    def text(size: int) -> str:
        return letter * (size // len(letter.encode())) + "a" * (size % len(letter.encode()))

    def marked(size: int) -> Any:
        return localstack.service.message(text(size), attributes={"k": "x"})

    async with localstack.sink(name, policy=Policy(attempt_timeout=60.0)) as sink:
        outcomes = await sink.put_many([text(limit - 1), text(limit), marked(limit - 8)])
        assert [getattr(outcome, "attempts", outcome) for outcome in outcomes] == [1, 1, 1]
        for above in (text(limit + 1), marked(limit - 7)):
            with pytest.raises(RecordTooLarge):
                sink.put(above)


@of_sqs
async def test_what_is_refused_at_put_would_have_been_refused_by_the_queue(localstack: LocalStack) -> None:
    client = localstack.queues
    async with localstack.sink(SMALL_QUEUE) as sink:
        for body in ("x" * (SMALL_QUEUE_BYTES + 1), "\x00", "\ufffe"):
            with pytest.raises(InvalidRecord):
                sink.put(body)
            with pytest.raises(client.exceptions.ClientError):
                await client.send_message(QueueUrl=localstack.queue_url(SMALL_QUEUE), MessageBody=body)


@of_sns
async def test_what_is_refused_at_put_would_have_been_refused_by_the_topic(localstack: LocalStack) -> None:
    bad: list[dict[str, Any]] = [
        {"Message": "x" * (262_144 + 1)},
        {"Message": "{}", "MessageStructure": "json"},
        {"Message": "m", "MessageAttributes": {".k": {"DataType": "String", "StringValue": "x"}}},
        {"Message": "m", "MessageAttributes": {"k": {"DataType": "Other", "StringValue": "x"}}},
    ]
    options: Any = {"endpoint_url": localstack.server.url, "region_name": REGION}
    async with localstack.sink(TOPIC) as sink, session_of(SNS).client("sns", **options) as client:
        arn = sink._destination._topic.arn
        for entry in bad:
            attributes: Any = {n: SnsAttribute(*v.values()) for n, v in entry.get("MessageAttributes", {}).items()}
            with pytest.raises(InvalidRecord):
                sink.put(SnsMessage(entry["Message"], attributes=attributes, structure=entry.get("MessageStructure")))
            with pytest.raises(client.exceptions.ClientError):
                await client.publish_batch(TopicArn=arn, PublishBatchRequestEntries=[{"Id": "0"} | entry])


@pytest.mark.parametrize("service", [SQS, SNS])
async def test_a_missing_place_is_told_when_the_sink_opens(localstack: LocalStack, service: Messaging) -> None:
    sentence = rf"{service.title} {service.place} 'none' can't be used \({service.gone_code}\)"
    with pytest.raises(ConfigError, match=sentence):
        async with localstack.sink("none"):
            pass


@in_groups
async def test_a_fifo_message_whose_answer_was_lost_on_the_wire_arrives_once(localstack: LocalStack, name: str) -> None:
    policy = Policy(attempt_timeout=1.0, backoff=Backoff(base=0.05, cap=0.1))
    text = uuid.uuid4().hex
    async with (
        FaultProxy.to(localstack.server.host, localstack.server.port) as proxy,
        localstack.sink(name, url=f"http://{proxy.host}:{proxy.port}", policy=policy) as sink,
    ):
        proxy.down.swallow = True
        delivery = sink.put(localstack.service.message(text, group_id="g"))
        while proxy.down.bytes_swallowed == 0:  # noqa: ASYNC110 - the proxy counts, it does not call
            await asyncio.sleep(0.01)
        proxy.reset()
        proxy.heal()
        receipt = await delivery
    messages = await localstack.received(name, 2)
    assert receipt.attempts >= 2
    assert [message["Body"] for message in messages] == [text]


@of_sqs
async def test_a_connection_cut_and_refused_for_a_while_loses_nothing(localstack: LocalStack) -> None:
    policy = Policy(attempt_timeout=2.0, backoff=Backoff(base=0.05, cap=0.2))
    async with (
        FaultProxy.to(localstack.server.host, localstack.server.port) as proxy,
        localstack.sink(QUEUE, url=f"http://{proxy.host}:{proxy.port}", policy=policy) as sink,
    ):
        deliveries = [sink.put(str(n)) for n in range(200)]
        await deliveries[0]
        proxy.refuse()
        proxy.reset()
        await asyncio.sleep(0.3)
        await proxy.accept()
        for delivery in deliveries:
            assert isinstance(await delivery, SqsReceipt)
    messages = await localstack.received(QUEUE, 10_000)
    assert {int(message["Body"]) for message in messages} == set(range(200))
