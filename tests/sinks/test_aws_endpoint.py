"""The rules of SQS as a real client meets them at `AwsEndpoint`; expected words are those recorded from AWS."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from sinkwell.sinks.testing import Attribute, AwsEndpoint, AwsError, AwsRequest, Sqs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# aiohttp warns of bodies above 1 MiB, which a full batch always is.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")

_SESSION = get_session()
_MIB = 1_048_576
_BAD_ID = (
    "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
    "It can be at most 80 letters long."
)


@pytest.fixture
async def client(aws: AwsEndpoint) -> AsyncIterator[Any]:
    config = AioConfig(retries={"total_max_attempts": 1}, read_timeout=5)
    async with _SESSION.create_client("sqs", config=config, **aws.client_options()) as sqs:
        yield sqs


def _entries(*bodies: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"Id": str(index), "MessageBody": body, **fields} for index, body in enumerate(bodies)]


def _fifo(*bodies: str, group: str = "g") -> list[dict[str, Any]]:
    return [{**entry, "MessageGroupId": group, "MessageDeduplicationId": entry["Id"]} for entry in _entries(*bodies)]


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


async def test_a_sent_batch_is_kept_in_order_and_answered_with_its_digests(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q")
    answer = await client.send_message_batch(QueueUrl=queue_url, Entries=_entries("a", "é"))
    assert _bodies(aws, queue_url) == ["a", "é"]
    assert [result["MD5OfMessageBody"] for result in answer["Successful"]] == [
        hashlib.md5(body.encode()).hexdigest() for body in ("a", "é")
    ]
    assert [result["MessageId"] for result in answer["Successful"]] == [
        message.message_id for message in aws.sqs.messages(queue_url)
    ]


async def test_an_empty_list_is_left_out_of_the_answer(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q")
    assert "Failed" not in await client.send_message_batch(QueueUrl=queue_url, Entries=_entries("a"))
    assert "Successful" not in await client.send_message_batch(QueueUrl=queue_url, Entries=_entries("\0"))


async def test_the_digest_of_attributes_is_the_one_recorded_from_aws(aws: AwsEndpoint, client: Any) -> None:
    attributes = {"Hello": _string("There"), "General": _string("Kenobi"), "Help.Me": _string("Me")}
    queue_url = aws.sqs.create_queue("q")
    entries = _entries("msg", MessageAttributes=attributes)
    [result] = (await client.send_message_batch(QueueUrl=queue_url, Entries=entries))["Successful"]
    assert result["MD5OfMessageBody"] == "6e2baaf3b97dbeef01c0043275f9a0e7"
    assert result["MD5OfMessageAttributes"] == "4c360f3fdafd970e05fae2f149d997f5"


async def test_the_digest_of_a_binary_attribute_is_the_one_recorded_from_aws(aws: AwsEndpoint, client: Any) -> None:
    value = b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"
    attributes = {"attr1": {"DataType": "Binary", "BinaryValue": value}}
    queue_url = aws.sqs.create_queue("q")
    sent = await client.send_message(QueueUrl=queue_url, MessageBody="test", MessageAttributes=attributes)
    assert sent["MD5OfMessageAttributes"] == "8cbe4db156db8a94db8b801b7addb984"
    assert aws.sqs.messages(queue_url)[0].attributes == {"attr1": Attribute("Binary", value, is_binary=True)}


@pytest.mark.parametrize(
    ("entries", "code", "message"),
    [
        ([], "EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request."),
        (
            _entries(*"x" * 11),
            "TooManyEntriesInBatchRequest",
            "Maximum number of entries per request are 10. You have sent 11.",
        ),
        ([{"Id": "a", "MessageBody": "1"}] * 2, "BatchEntryIdsNotDistinct", "Id a repeated."),
        ([{"Id": "", "MessageBody": "1"}], "InvalidBatchEntryId", _BAD_ID),
        ([{"Id": "invalid:id", "MessageBody": "1"}], "InvalidBatchEntryId", _BAD_ID),
        ([{"Id": "é", "MessageBody": "1"}], "InvalidBatchEntryId", _BAD_ID),
        ([{"Id": "x" * 81, "MessageBody": "1"}], "InvalidBatchEntryId", _BAD_ID),
        (
            _entries("x" * (_MIB - 1), "xx"),
            "BatchRequestTooLong",
            "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.",
        ),
    ],
)
async def test_a_batch_that_breaks_a_rule_is_refused_whole(
    aws: AwsEndpoint, client: Any, entries: list[dict[str, Any]], code: str, message: str
) -> None:
    queue_url = aws.sqs.create_queue("q")
    refusal = await _refusal(client.send_message_batch(QueueUrl=queue_url, Entries=entries))
    assert refusal == ("AWS.SimpleQueueService." + code, message, 400)
    assert aws.sqs.messages(queue_url) == []
    assert aws.log[-1].applied == {}


async def test_the_error_class_of_the_client_follows_the_models_name(aws: AwsEndpoint, client: Any) -> None:
    with pytest.raises(client.exceptions.EmptyBatchRequest) as caught:
        await client.send_message_batch(QueueUrl=aws.sqs.create_queue("q"), Entries=[])
    assert caught.value.response["Error"]["QueryErrorCode"] == "EmptyBatchRequest"


@pytest.mark.parametrize(
    "entries",
    [
        _entries("é" * (_MIB // 2)),
        _entries("x" * (_MIB - 8), MessageAttributes={"k": _string("x")}),
        _entries("x" * (_MIB - 10), MessageAttributes={"k": {"DataType": "Binary", "BinaryValue": b"\0\1\2"}}),
    ],
    ids=["utf-8", "attribute", "binary attribute"],
)
async def test_the_batch_limit_counts_utf8_bytes_of_body_and_attributes(
    aws: AwsEndpoint, client: Any, entries: list[dict[str, Any]]
) -> None:
    queue_url = aws.sqs.create_queue("q")
    trace = {"AWSTraceHeader": _string("Root=1")}
    full = [{**entries[0], "MessageSystemAttributes": trace}]
    assert "Failed" not in await client.send_message_batch(QueueUrl=queue_url, Entries=full)
    one_more = [*entries, {"Id": "last", "MessageBody": "x"}]
    code, message, _ = await _refusal(client.send_message_batch(QueueUrl=queue_url, Entries=one_more))
    assert code == "AWS.SimpleQueueService.BatchRequestTooLong"
    assert message.endswith("You have sent 1048577 bytes.")


async def test_the_queues_own_limit_fails_one_entry_and_not_the_batch(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q", MaximumMessageSize="2048")
    entries = _entries("a" * 2048, "b" * 2049, "c" * 2048)
    answer = await client.send_message_batch(QueueUrl=queue_url, Entries=entries)
    assert answer["Failed"] == [
        {
            "Id": "1",
            "SenderFault": True,
            "Code": "InvalidParameterValue",
            "Message": "One or more parameters are invalid. Reason: Message must be shorter than 2048 bytes.",
        }
    ]
    assert list(aws.log[-1].applied) == ["0", "2"]
    assert len(aws.sqs.messages(queue_url)) == 2


@pytest.mark.parametrize("text", ["\0", "\x0b", "\ufffe", "\uffff", "\ud800", "ok\x1fok"])
async def test_a_forbidden_character_fails_its_entry_alone(aws: AwsEndpoint, client: Any, text: str) -> None:
    queue_url = aws.sqs.create_queue("q")
    answer = await client.send_message_batch(QueueUrl=queue_url, Entries=_entries("a", text, "b"))
    [failed] = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("1", "InvalidMessageContents", True)
    assert _bodies(aws, queue_url) == ["a", "b"]


async def test_every_allowed_character_arrives_as_it_was_sent(aws: AwsEndpoint, client: Any) -> None:
    text = "\t\n\r ~\x7f\x85\ud7ff\ue000\ufffd\U00010000\U0010ffff"
    queue_url = aws.sqs.create_queue("q")
    await client.send_message_batch(QueueUrl=queue_url, Entries=_entries(text))
    assert _bodies(aws, queue_url) == [text]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"MessageBody": ""}, "MissingParameter"),
        ({"MessageAttributes": {f"a{n}": _string("x") for n in range(11)}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"a": _string("")}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"a": {"DataType": "Float", "StringValue": "1"}}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"a": {"DataType": "String", "BinaryValue": b"\xff"}}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"a": _string("\0")}}, "InvalidMessageContents"),
        ({"MessageAttributes": {"a b": _string("1")}}, "InvalidParameterValue"),
        ({"MessageDeduplicationId": "d"}, "InvalidParameterValue"),
        ({"MessageGroupId": "a b"}, "InvalidParameterValue"),
        ({"DelaySeconds": 901}, "InvalidParameterValue"),
        ({"DelaySeconds": -1}, "InvalidParameterValue"),
    ],
)
async def test_an_invalid_entry_of_a_standard_queue_fails_alone(
    aws: AwsEndpoint, client: Any, fields: dict[str, Any], code: str
) -> None:
    queue_url = aws.sqs.create_queue("q")
    entries = [{"Id": "bad", "MessageBody": "x", **fields}, {"Id": "good", "MessageBody": "y"}]
    answer = await client.send_message_batch(QueueUrl=queue_url, Entries=entries)
    [failed] = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", code, True)
    assert _bodies(aws, queue_url) == ["y"]


_MISSING_GROUP = "The request must contain the parameter MessageGroupId."
_MISSING_ID = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)
_NO_DELAY = (
    "Value 2 for parameter DelaySeconds is invalid. "
    "Reason: The request include parameter that is not valid for this queue type."
)
_NO_SPACE = (
    "Value group 123 for parameter MessageGroupId is invalid. "
    "Reason: MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length."
)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"MessageDeduplicationId": "d"}, _MISSING_GROUP),
        ({"MessageGroupId": "g"}, _MISSING_ID),
        ({"MessageGroupId": "g", "MessageDeduplicationId": "d", "DelaySeconds": 2}, _NO_DELAY),
        ({"MessageGroupId": "group 123", "MessageDeduplicationId": "d"}, _NO_SPACE),
    ],
)
async def test_a_bad_entry_of_a_fifo_queue_fails_its_whole_batch(
    aws: AwsEndpoint, client: Any, fields: dict[str, Any], message: str
) -> None:
    queue_url = aws.sqs.create_queue("q.fifo")
    entries = [*_fifo("good"), {"Id": "bad", "MessageBody": "x", **fields}]
    refusal = await _refusal(client.send_message_batch(QueueUrl=queue_url, Entries=entries))
    assert refusal == ("InvalidParameterValue", message, 400)
    assert aws.sqs.messages(queue_url) == []


async def test_a_single_message_without_its_group_is_refused_by_the_other_code(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q.fifo")
    call = client.send_message(QueueUrl=queue_url, MessageBody="x", MessageDeduplicationId="d")
    assert await _refusal(call) == ("MissingParameter", _MISSING_GROUP, 400)


async def test_a_fifo_batch_can_be_made_to_fail_whole_for_a_large_entry(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q.fifo", MaximumMessageSize="1024")
    entries = _fifo("ok", "x" * 1025)
    assert len((await client.send_message_batch(QueueUrl=queue_url, Entries=entries))["Failed"]) == 1
    aws.sqs.fails_fifo_batches_whole = True
    assert (await _refusal(client.send_message_batch(QueueUrl=queue_url, Entries=entries)))[
        0
    ] == "InvalidParameterValue"


async def test_a_fifo_queue_numbers_its_messages_upwards(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q.fifo")
    answer = await client.send_message_batch(QueueUrl=queue_url, Entries=_fifo("a", "b", "c"))
    numbers = [result["SequenceNumber"] for result in answer["Successful"]]
    assert numbers == sorted(set(numbers))
    assert {len(number) for number in numbers} == {20}


async def test_a_repeated_id_is_answered_as_success_and_not_stored_again(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q.fifo")
    first = await client.send_message_batch(QueueUrl=queue_url, Entries=_fifo("a"))
    second = await client.send_message_batch(QueueUrl=queue_url, Entries=_fifo("a", "b", group="other"))
    assert second["Successful"][0]["MessageId"] == first["Successful"][0]["MessageId"]
    assert _bodies(aws, queue_url) == ["a", "b"]
    assert aws.log[-1].deduplicated == ["0"]


async def test_the_scope_of_a_deduplication_id_can_be_its_group(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q.fifo", DeduplicationScope="messageGroup")
    for group in ("one", "two", "one"):
        await client.send_message_batch(QueueUrl=queue_url, Entries=_fifo("a", group=group))
    assert [message.group_id for message in aws.sqs.messages(queue_url)] == ["one", "two"]


async def test_deduplication_by_content_looks_at_the_body_only(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q.fifo", ContentBasedDeduplication="true")
    for value in ("1", "2"):
        entries = _entries("same", MessageGroupId="g", MessageAttributes={"a": _string(value)})
        await client.send_message_batch(QueueUrl=queue_url, Entries=entries)
    [message] = aws.sqs.messages(queue_url)
    assert message.deduplication_id == hashlib.sha256(b"same").hexdigest()


def test_an_id_is_forgotten_after_five_minutes() -> None:
    now = [0.0]
    sqs = Sqs(lambda: now[0], "http://aws")
    queue_url = sqs.create_queue("q.fifo")
    document = {"QueueUrl": queue_url, "Entries": _fifo("a")}
    for now[0] in (0.0, 299.9, 300.0, 599.9):
        sqs.perform(AwsRequest(1, "sqs", "SendMessageBatch", now[0], document), {})
    assert [message.arrived_at for message in sqs.messages(queue_url)] == [0.0, 300.0]


async def test_a_queue_that_is_not_there_is_named_in_the_old_words(aws: AwsEndpoint, client: Any) -> None:
    call = client.send_message_batch(QueueUrl=aws.url + "/000000000000/none", Entries=_entries("a"))
    words = ("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.", 400)
    assert await _refusal(call) == words
    with pytest.raises(AwsError):
        aws.sqs.messages("none")


async def test_requests_beyond_a_queues_rate_are_throttled(aws: AwsEndpoint, client: Any) -> None:
    queue_url = aws.sqs.create_queue("q")
    aws.sqs.throttle(queue_url, 2)
    for _ in range(2):
        await client.send_message_batch(QueueUrl=queue_url, Entries=_entries("a"))
    code, _, status = await _refusal(client.send_message_batch(QueueUrl=queue_url, Entries=_entries("a")))
    assert (code, status) == ("RequestThrottled", 403)
    assert len(aws.sqs.messages(queue_url)) == 2
