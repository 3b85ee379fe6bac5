"""`AwsEndpoint` beyond sending: the other actions of SQS, its bounds against what is no request, its life."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import ClientSession
from botocore.exceptions import ClientError

from sinkwell.sinks.testing import AwsEndpoint, DropUnread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SESSION = get_session()


@pytest.fixture
async def client(aws: AwsEndpoint) -> AsyncIterator[Any]:
    config = AioConfig(retries={"total_max_attempts": 1}, read_timeout=5)
    async with _SESSION.create_client("sqs", config=config, **aws.client_options()) as sqs:
        yield sqs


def _entries(*bodies: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"Id": str(index), "MessageBody": body, **fields} for index, body in enumerate(bodies)]


def _string(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


async def _refusal(call: Any) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        await call
    response = caught.value.response
    error = response["Error"]
    assert error["Type"] == "Sender"
    return error["Code"], error["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


def _bodies(aws: AwsEndpoint, queue_url: str) -> list[str]:
    return [message.body for message in aws.sqs.messages(queue_url)]


async def test_messages_are_received_deleted_and_gone(aws: AwsEndpoint, client: Any) -> None:
    queue_url = (await client.create_queue(QueueName="q"))["QueueUrl"]
    assert (await client.get_queue_url(QueueName="q"))["QueueUrl"] == queue_url
    await client.send_message_batch(
        QueueUrl=queue_url, Entries=_entries("a", "b", MessageAttributes={"k.a": _string("v"), "z": _string("w")})
    )
    got = await client.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, MessageAttributeNames=["k.*"], AttributeNames=["All"]
    )
    assert [(m["Body"], m["MessageAttributes"]) for m in got["Messages"]] == [
        ("a", {"k.a": _string("v")}),
        ("b", {"k.a": _string("v")}),
    ]
    assert got["Messages"][0]["Attributes"]["ApproximateReceiveCount"] == "1"
    assert "Messages" not in await client.receive_message(QueueUrl=queue_url)
    handles = [message["ReceiptHandle"] for message in got["Messages"]]
    await client.delete_message(QueueUrl=queue_url, ReceiptHandle=handles[0])
    deletes = [{"Id": "b", "ReceiptHandle": handles[1]}, {"Id": "c", "ReceiptHandle": "nonsense"}]
    answer = await client.delete_message_batch(QueueUrl=queue_url, Entries=deletes)
    assert [len(answer["Successful"]), answer["Failed"][0]["Code"]] == [1, "ReceiptHandleIsInvalid"]
    assert all(message.is_deleted for message in aws.sqs.messages(queue_url))


async def test_a_fifo_group_waits_for_its_message_in_flight(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q.fifo")
    for group, body in (("one", "a"), ("one", "b"), ("two", "c")):
        await client.send_message(
            QueueUrl=queue_url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=body
        )
    got = [(await client.receive_message(QueueUrl=queue_url)).get("Messages", [{}])[0].get("Body") for _ in range(3)]
    assert got == ["a", "c", None]


async def test_queue_attributes_are_told_changed_and_checked(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q", DelaySeconds="60")
    await client.send_message(QueueUrl=queue_url, MessageBody="later")
    await client.set_queue_attributes(QueueUrl=queue_url, Attributes={"MaximumMessageSize": "262144"})
    told = (await client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["All"]))["Attributes"]
    assert (told["MaximumMessageSize"], told["ApproximateNumberOfMessagesDelayed"]) == ("262144", "1")
    call = client.set_queue_attributes(QueueUrl=queue_url, Attributes={"MaximumMessageSize": "1"})
    assert (await _refusal(call))[0] == "InvalidAttributeValue"
    assert (await _refusal(client.create_queue(QueueName="q", Attributes={"DelaySeconds": "1"})))[
        0
    ] == "QueueAlreadyExists"


async def test_a_purged_queue_is_empty_and_cannot_be_purged_again_at_once(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q")
    await client.send_message(QueueUrl=queue_url, MessageBody="a")
    await client.purge_queue(QueueUrl=queue_url)
    assert aws.sqs.messages(queue_url) == []
    code, message, status = await _refusal(client.purge_queue(QueueUrl=queue_url))
    assert (code, status) == ("AWS.SimpleQueueService.PurgeQueueInProgress", 403)
    assert message == "Only one PurgeQueue operation on q is allowed every 60 seconds."


async def test_a_deleted_queue_is_gone_and_its_name_rests_a_minute(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q")
    await client.delete_queue(QueueUrl=queue_url)
    assert (await _refusal(client.get_queue_url(QueueName="q")))[0] == "AWS.SimpleQueueService.NonExistentQueue"
    assert (await _refusal(client.create_queue(QueueName="q")))[0] == "AWS.SimpleQueueService.QueueDeletedRecently"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"405"),
        (b"POST / HTTP/1.1\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nX-Long: " + b"x" * 40_000, b"431"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n[1, 2", b"400"),
        (b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.Nothing\r\nContent-Length: 2\r\n\r\n{}", b"400"),
    ],
)
async def test_a_request_that_is_none_is_refused_and_bounded(
    aws: AwsEndpoint, request_bytes: bytes, status: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(aws.url.rpartition(":")[2]))
    writer.write(request_bytes)
    assert (await reader.readline()).split()[1] == status
    writer.close()
    await writer.wait_closed()


async def test_requests_that_come_together_are_answered_in_order(aws: AwsEndpoint) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(aws.url.rpartition(":")[2]))
    one = b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.GetQueueUrl\r\nContent-Length: 2\r\n\r\n{}"
    writer.write(one * 2_000)
    writer.write_eof()
    answers = await reader.read()
    assert answers.count(b"HTTP/1.1 400") == 2_000
    writer.close()
    await writer.wait_closed()


async def test_without_memory_only_the_count_is_kept() -> None:
    async with AwsEndpoint(remembers=False) as aws, _SESSION.create_client("sqs", **aws.client_options()) as client:
        queue_url = aws.sqs.create_queue("q")
        await client.send_message_batch(QueueUrl=queue_url, Entries=_entries("a", "b"))
        assert (aws.log, aws.sqs.messages(queue_url), aws.sqs.count(queue_url)) == ([], [], 2)


async def test_a_closed_endpoint_can_still_be_read(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q")
    await client.send_message(QueueUrl=queue_url, MessageBody="a")
    await aws.aclose()
    await aws.aclose()
    assert _bodies(aws, queue_url) == ["a"]
    assert aws.requests("SendMessage")[0].answered["MessageId"] == aws.sqs.messages(queue_url)[0].message_id


_ODD = (None, 5, True, "x", [], {}, [5], [None], {"a": 5}, [{"Id": 5}], [{"Id": "a", "MessageBody": 5}], "\ud800")
_ODD_ENTRIES = [
    {"Id": "a", "MessageBody": "x", field: value}
    for field in ("MessageAttributes", "MessageSystemAttributes", "DelaySeconds", "MessageGroupId", "ReceiptHandle")
    for value in (*_ODD, {"a": {}}, {"a": {"DataType": "\ud800"}}, {"a": {"DataType": "Binary", "BinaryValue": "?"}})
]


async def test_fields_of_any_type_get_an_answer_and_never_a_closed_connection(aws: AwsEndpoint) -> None:
    names = ("QueueName", "Entries", "Attributes", "AttributeNames", "MaxNumberOfMessages", "ReceiptHandle")
    documents = [{"QueueUrl": "q", name: value} for name in (*names, "QueueUrl", "MessageBody") for value in _ODD]
    documents += [{"QueueUrl": "q", "Entries": [entry]} for entry in _ODD_ENTRIES]
    actions = ["CreateQueue", "GetQueueUrl", "GetQueueAttributes", "SetQueueAttributes", "SendMessage"]
    actions += ["SendMessageBatch", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch"]
    aws.sqs.create_queue("q")
    async with ClientSession() as session:
        for action in actions:
            for document in documents:
                headers = {"X-Amz-Target": f"AmazonSQS.{action}"}
                async with session.post(aws.url, data=json.dumps(document), headers=headers) as answer:
                    assert answer.status in (200, 400, 404), (action, document)


async def test_nobody_waits_for_an_arrival_at_a_closed_endpoint(aws: AwsEndpoint) -> None:
    waiting = asyncio.create_task(aws.arrival("ReceiveMessage"))
    await asyncio.sleep(0)
    await aws.aclose()
    for arrival in (waiting, aws.arrival("ReceiveMessage")):
        with pytest.raises(RuntimeError, match="closed"):
            await arrival


async def test_a_body_is_dropped_before_it_was_sent_whole(aws: AwsEndpoint) -> None:
    aws.plan.next("SendMessageBatch", DropUnread())
    reader, writer = await asyncio.open_connection("127.0.0.1", int(aws.url.rpartition(":")[2]))
    writer.write(b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.SendMessageBatch\r\nContent-Length: 1000\r\n\r\n")
    assert await reader.read() == b""
    assert aws.log[-1].document == {}
    writer.close()
    await writer.wait_closed()
