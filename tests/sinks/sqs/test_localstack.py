"""The same sink against LocalStack: another reading of SQS's rules than our own endpoint's."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from localstack.init import FIFO_QUEUE, QUEUE, REGION, SMALL_QUEUE, SMALL_QUEUE_BYTES
from sinkwell.core import Backoff, ConfigError, InvalidRecord, Policy, RecordTooLarge
from sinkwell.sinks.sqs import SqsAttribute, SqsMessage, SqsReceipt, SqsSink
from tests.faults import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import aioboto3

    from tests.servers import LocalStackServer

ACCOUNT = "000000000000"
MIB = 1_048_576


@pytest.fixture
async def client(localstack_server: LocalStackServer, session: aioboto3.Session) -> AsyncIterator[Any]:
    async with session.client("sqs", endpoint_url=localstack_server.url, region_name=REGION) as client:
        for name in (QUEUE, FIFO_QUEUE, SMALL_QUEUE):
            await client.purge_queue(QueueUrl=f"{localstack_server.url}/{ACCOUNT}/{name}")
        yield client


@pytest.fixture
def sink_for(localstack_server: LocalStackServer, session: aioboto3.Session) -> Callable[..., SqsSink]:
    def make(name: str, *, url: str = "", **options: Any) -> SqsSink:
        endpoint = url or localstack_server.url
        queue_url = f"{localstack_server.url}/{ACCOUNT}/{name}"
        return SqsSink(
            queue_url, session=session, endpoint_url=endpoint, region_name=REGION, transport="direct", **options
        )

    return make


async def received(client: Any, sink: SqsSink, count: int) -> list[dict[str, Any]]:
    """Take messages until there are so many, or none for a second."""
    queue_url = sink._destination._queue.url  # type: ignore[attr-defined]
    messages: list[dict[str, Any]] = []
    while len(messages) < count:
        answer = await client.receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=1,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["All"],
        )
        if not answer.get("Messages"):
            break
        messages += answer["Messages"]
        for message in answer["Messages"]:
            await client.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return messages


async def test_messages_arrive_with_their_attributes_and_ids(client: Any, sink_for: Any) -> None:
    attributes = {"text": "é😀", "number": -12.5, "raw": b"\x00\xff", "typed": SqsAttribute("Number.int", "7")}
    async with sink_for(QUEUE) as sink:
        receipt = await sink.put(SqsMessage("grüße\t\n😀", attributes))
        (message,) = await received(client, sink, 1)
    assert message["MessageId"] == receipt.message_id
    assert message["Body"] == "grüße\t\n😀"
    values = {
        name: value.get("StringValue", value.get("BinaryValue")) for name, value in message["MessageAttributes"].items()
    }
    assert values == {"text": "é😀", "number": "-12.5", "raw": b"\x00\xff", "typed": "7"}


async def test_a_trace_header_and_a_tenant_arrive_and_the_digests_are_those_of_localstack(
    client: Any, sink_for: Any
) -> None:
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    attributes = {"text": "é😀", "raw": b"\x00\xff", "number": -12.5}
    async with sink_for(QUEUE, fair_queues=True) as sink:
        await sink.put(SqsMessage("grüße", attributes, group_id="tenant", trace_header=trace))
        (message,) = await received(client, sink, 1)
    assert message["Attributes"]["AWSTraceHeader"] == trace
    assert message["Attributes"]["MessageGroupId"] == "tenant"


async def test_a_thousand_messages_arrive_once_each(client: Any, sink_for: Any) -> None:
    async with sink_for(QUEUE) as sink:
        outcomes = await sink.put_many(str(n) for n in range(1000))
        assert all(isinstance(outcome, SqsReceipt) for outcome in outcomes)
        messages = await received(client, sink, 1000)
        requests = sink.stats().requests
    assert sorted(int(message["Body"]) for message in messages) == list(range(1000))
    assert requests <= 105


async def test_fifo_groups_arrive_in_order(client: Any, sink_for: Any) -> None:
    async with sink_for(FIFO_QUEUE) as sink:
        receipts = await sink.put_many(SqsMessage(f"{n}", group_id=f"g{n % 7}") for n in range(140))
        messages = await received(client, sink, 140)
    assert len({receipt.sequence_number for receipt in receipts}) == 140
    for group in range(7):
        mine = [int(m["Body"]) for m in messages if m["Attributes"]["MessageGroupId"] == f"g{group}"]
        assert mine == list(range(group, 140, 7))


@pytest.mark.parametrize(("name", "limit"), [(QUEUE, MIB), (SMALL_QUEUE, SMALL_QUEUE_BYTES)])
@pytest.mark.parametrize("letter", ["a", "é"])
async def test_messages_are_taken_up_to_the_last_byte_of_the_queues_limit(
    client: Any, sink_for: Any, name: str, limit: int, letter: str
) -> None:
    def body(size: int) -> str:
        return letter * (size // len(letter.encode())) + "a" * (size % len(letter.encode()))

    async with sink_for(name, policy=Policy(attempt_timeout=60.0)) as sink:
        outcomes = await sink.put_many([body(limit - 1), body(limit), SqsMessage(body(limit - 8), {"k": "x"})])
        assert [getattr(outcome, "attempts", outcome) for outcome in outcomes] == [1, 1, 1]
        for above in (body(limit + 1), SqsMessage(body(limit - 7), {"k": "x"})):
            with pytest.raises(RecordTooLarge):
                sink.put(above)


async def test_what_is_refused_at_put_would_have_been_refused_by_the_queue(client: Any, sink_for: Any) -> None:
    async with sink_for(SMALL_QUEUE) as sink:
        for body in ("x" * (SMALL_QUEUE_BYTES + 1), "\x00", "\ufffe"):
            with pytest.raises(InvalidRecord):
                sink.put(body)
            with pytest.raises(client.exceptions.ClientError):
                await client.send_message(QueueUrl=sink._destination._queue.url, MessageBody=body)


async def test_a_missing_queue_is_told_when_the_sink_opens(client: Any, sink_for: Any) -> None:
    with pytest.raises(ConfigError, match=r"SQS queue 'none' can't be used \(NonExistentQueue\)"):
        async with sink_for("none"):
            pass


async def test_a_fifo_message_whose_answer_was_lost_on_the_wire_is_stored_once(
    client: Any, sink_for: Any, localstack_server: LocalStackServer
) -> None:
    policy = Policy(attempt_timeout=1.0, backoff=Backoff(base=0.05, cap=0.1))
    body = uuid.uuid4().hex
    async with (
        FaultProxy.to(localstack_server.host, localstack_server.port) as proxy,
        sink_for(FIFO_QUEUE, url=f"http://{proxy.host}:{proxy.port}", policy=policy) as sink,
    ):
        proxy.down.swallow = True
        delivery = sink.put(SqsMessage(body, group_id="g"))
        while proxy.down.bytes_swallowed == 0:  # noqa: ASYNC110 - the proxy counts, it does not call
            await asyncio.sleep(0.01)
        proxy.reset()
        proxy.heal()
        receipt = await delivery
        messages = await received(client, sink, 2)
    assert receipt.attempts >= 2
    assert [message["Body"] for message in messages] == [body]


async def test_a_connection_cut_and_refused_for_a_while_loses_nothing(
    client: Any, sink_for: Any, localstack_server: LocalStackServer
) -> None:
    policy = Policy(attempt_timeout=2.0, backoff=Backoff(base=0.05, cap=0.2))
    async with (
        FaultProxy.to(localstack_server.host, localstack_server.port) as proxy,
        sink_for(QUEUE, url=f"http://{proxy.host}:{proxy.port}", policy=policy) as sink,
    ):
        deliveries = [sink.put(str(n)) for n in range(200)]
        await deliveries[0]
        proxy.refuse()
        proxy.reset()
        await asyncio.sleep(0.3)
        await proxy.accept()
        for delivery in deliveries:
            assert isinstance(await delivery, SqsReceipt)
        messages = await received(client, sink, 10_000)
    assert {int(message["Body"]) for message in messages} == set(range(200))
