"""The endpoint's topics, held to what botocore's own client sends and reads, and to what AWS is known to answer."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aioboto3
import aiohttp
import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError

from localstack.init import FIFO_TOPIC, TOPIC, TOPIC_QUEUES, create_messaging
from sinkwell.sinks.testing import AwsEndpoint, AwsError, FailEntries, Omit, Throttle
from sinkwell.sinks.testing._query import read_form

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NO_RETRIES = AioConfig(retries={"total_max_attempts": 1})


@pytest.fixture
async def client(aws: AwsEndpoint) -> AsyncIterator[Any]:
    async with aioboto3.Session().client("sns", **aws.client_options(), config=NO_RETRIES) as client:
        yield client


def entries(*texts: str, **fields: Any) -> list[dict[str, Any]]:
    return [{"Id": str(n), "Message": text, **fields} for n, text in enumerate(texts)]


async def refusal(call: Any) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        await call
    response = caught.value.response
    assert response["Error"]["Type"] == "Sender"
    return response["Error"]["Code"], response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


async def test_a_published_batch_is_kept_in_order_and_answered_entry_by_entry(aws: AwsEndpoint, client: Any) -> None:
    topic_arn = aws.sns.create_topic("t")
    answer = await client.publish_batch(TopicArn=topic_arn, PublishBatchRequestEntries=entries("a", "é<&\x01"))
    assert [message.message for message in aws.sns.messages(topic_arn)] == ["a", "é<&\x01"]
    ids = [message.message_id for message in aws.sns.messages(topic_arn)]
    assert [(result["Id"], result["MessageId"]) for result in answer["Successful"]] == [("0", ids[0]), ("1", ids[1])]
    assert answer.get("Failed", []) == []
    assert aws.log[-1].answered == {"Successful": answer["Successful"], "Failed": []}
    assert list(aws.log[-1].applied) == ["0", "1"]


async def test_the_parts_of_a_message_arrive_as_they_were_given(aws: AwsEndpoint, client: Any) -> None:
    topic_arn = aws.sns.create_topic("t.fifo")
    text = {"DataType": "String", "StringValue": "é"}
    attributes = {"b": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}, "a.b": text}
    fields = {"MessageGroupId": "g", "MessageDeduplicationId": "d", "MessageStructure": "json", "Subject": "s&"}
    batch = entries('{"default": "x"}', MessageAttributes=attributes, **fields)
    answer = await client.publish_batch(TopicArn=topic_arn, PublishBatchRequestEntries=batch)
    (stored,) = aws.sns.messages(topic_arn)
    assert answer["Successful"][0]["SequenceNumber"] == stored.sequence_number
    assert (stored.subject, stored.structure, stored.group_id, stored.deduplication_id) == ("s&", "json", "g", "d")
    assert {name: (each.data_type, each.value) for name, each in stored.attributes.items()} == {
        "b": ("Binary", b"\x00\xff"),
        "a.b": ("String", "é".encode()),
    }


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        ([], "EmptyBatchRequest"),
        (entries(*"abcdefghijk"), "TooManyEntriesInBatchRequest"),
        ([*entries("a"), *entries("b")], "BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "Message": "a"}], "InvalidBatchEntryId"),
        (entries("a", ""), "InvalidParameter"),
        (entries("a" * 262_145), "BatchRequestTooLong"),
        (entries("a" * 131_072, "é" * 65_536 + "a"), "BatchRequestTooLong"),
        (entries("a", MessageStructure="json"), "InvalidParameter"),
        (entries('{"sqs": "a"}', MessageStructure="json"), "InvalidParameter"),
        (entries("a", Subject="a\nb"), "InvalidParameter"),
        (entries("a", MessageDeduplicationId="d"), "InvalidParameter"),
        (entries("a", MessageGroupId="g g"), "InvalidParameter"),
        (entries("a", MessageAttributes={"k": {"DataType": "Other", "StringValue": "x"}}), "ParameterValueInvalid"),
        (entries("a", MessageAttributes={".k": {"DataType": "String", "StringValue": "x"}}), "ParameterValueInvalid"),
        (entries("a", MessageAttributes={"k": {"DataType": "Number", "StringValue": "x"}}), "ParameterValueInvalid"),
        (entries("a", MessageAttributes={"k": {"DataType": "Binary", "StringValue": "x"}}), "ParameterValueInvalid"),
    ],
)
async def test_whatever_is_wrong_with_one_entry_fails_the_whole_request(
    aws: AwsEndpoint, client: Any, batch: list[dict[str, Any]], code: str
) -> None:
    topic_arn = aws.sns.create_topic("t")
    assert (await refusal(client.publish_batch(TopicArn=topic_arn, PublishBatchRequestEntries=batch)))[::2] == (
        code,
        400,
    )
    assert aws.sns.messages(topic_arn) == []


@pytest.mark.filterwarnings("ignore:Sending a large body")
@pytest.mark.parametrize("limit", [1024, 262_144, 1_048_576])
async def test_a_request_may_hold_what_the_topic_says_to_the_byte(aws: AwsEndpoint, client: Any, limit: int) -> None:
    topic_arn = aws.sns.create_topic("t", MaximumMessageSize=str(limit))
    batch = entries("a" * (limit // 2), "a" * (limit // 2 - 8), MessageAttributes={})
    batch[0]["MessageAttributes"] = {"k": {"DataType": "String", "StringValue": "x"}}
    await client.publish_batch(TopicArn=topic_arn, PublishBatchRequestEntries=batch)
    batch[1]["Message"] += "a"
    code, _, _ = await refusal(client.publish_batch(TopicArn=topic_arn, PublishBatchRequestEntries=batch))
    assert code == "BatchRequestTooLong"


async def test_a_fifo_topic_wants_a_group_and_an_id_for_each_entry(aws: AwsEndpoint, client: Any) -> None:
    topic_arn = aws.sns.create_topic("t.fifo")
    for batch, words in (
        (entries("a"), "The MessageGroupId parameter is required for FIFO topics"),
        (entries("a", MessageGroupId="g"), "The topic should either have ContentBasedDeduplication enabled"),
    ):
        _, message, _ = await refusal(client.publish_batch(TopicArn=topic_arn, PublishBatchRequestEntries=batch))
        assert words in message


async def test_a_topic_that_is_not_there_and_an_arn_that_is_none_are_told_apart(client: Any) -> None:
    arn = "arn:aws:sns:us-east-1:000000000000:none"
    for wrong, code, status in ((arn, "NotFound", 404), ("none", "InvalidParameter", 400)):
        found = await refusal(client.publish_batch(TopicArn=wrong, PublishBatchRequestEntries=entries("a")))
        assert found[::2] == (code, status)


async def test_a_size_is_told_only_where_one_was_set(aws: AwsEndpoint, client: Any) -> None:
    topic_arn = (await client.create_topic(Name="t"))["TopicArn"]
    assert "MaximumMessageSize" not in (await client.get_topic_attributes(TopicArn=topic_arn))["Attributes"]
    await client.set_topic_attributes(TopicArn=topic_arn, AttributeName="MaximumMessageSize", AttributeValue="1048576")
    assert (await client.get_topic_attributes(TopicArn=topic_arn))["Attributes"]["MaximumMessageSize"] == "1048576"
    with pytest.raises(AwsError, match="MaximumMessageSize"):
        aws.sns.set_attributes(topic_arn, MaximumMessageSize="1023")
    await client.delete_topic(TopicArn=topic_arn)
    assert (await refusal(client.get_topic_attributes(TopicArn=topic_arn)))[0] == "NotFound"


async def test_an_entry_that_fails_by_plan_is_not_there(aws: AwsEndpoint, client: Any) -> None:
    topic_arn = aws.sns.create_topic("t")
    aws.plan.next("PublishBatch", FailEntries(positions=[1], sender_fault=True), Omit([0], applied=True), Throttle())
    answer = await client.publish_batch(TopicArn=topic_arn, PublishBatchRequestEntries=entries("a", "b", "c"))
    told = {"Id": "1", "Code": "InternalError", "Message": "Failed by plan.", "SenderFault": True}
    assert answer["Failed"] == [told]
    answer = await client.publish_batch(TopicArn=topic_arn, PublishBatchRequestEntries=entries("d"))
    assert answer.get("Successful", []) == []
    assert (await refusal(client.publish_batch(TopicArn=topic_arn, PublishBatchRequestEntries=entries("e"))))[2] == 403
    assert [message.message for message in aws.sns.messages(topic_arn)] == ["a", "c", "d"]


async def test_a_subscribed_queue_gets_what_is_published(aws: AwsEndpoint, client: Any) -> None:
    topic_arn, raw, wrapped = aws.sns.create_topic("t"), aws.sqs.create_queue("raw"), aws.sqs.create_queue("wrapped")
    aws.sns.subscribe(topic_arn, raw, is_raw=True)
    aws.sns.subscribe(topic_arn, wrapped)
    attributes = {"k": {"DataType": "String", "StringValue": "x"}}
    message = json.dumps({"default": "all", "sqs": "queues"})
    await client.publish(TopicArn=topic_arn, Message=message, MessageStructure="json", MessageAttributes=attributes)
    (first,), (second,) = aws.sqs.messages(raw), aws.sqs.messages(wrapped)
    assert (first.body, first.attributes["k"].value) == ("queues", b"x")
    assert json.loads(second.body)["Message"] == "queues"
    assert json.loads(second.body)["MessageAttributes"] == {"k": {"Type": "String", "Value": "x"}}


async def test_the_init_script_that_furnishes_localstack_furnishes_the_endpoint_too(aws: AwsEndpoint) -> None:
    for _ in range(2):
        await asyncio.to_thread(create_messaging, aws.url)
    for topic, queue in TOPIC_QUEUES.items():
        arn = f"arn:aws:sns:us-east-1:000000000000:{topic}"
        assert len(aws.sns._topic_at(arn).subscriptions) == 1
        assert aws.sqs.messages(f"{aws.url}/000000000000/{queue}") == []
    assert {TOPIC, FIFO_TOPIC} == set(TOPIC_QUEUES)


@pytest.mark.parametrize(
    ("form", "document"),
    [
        (b"Action=A&X=1", {"X": "1"}),
        (b"Action=A&L=", {"L": ""}),
        (b"Action=A&L.member.2=b&L.member.10=c&L.member.1=a", {"L": ["a", "b", "c"]}),
        (b"Action=A&M.entry.1.key=k&M.entry.1.value=v", {"M": {"k": "v"}}),
        (b"Action=A&M.entry.1.Name=k&M.entry.1.Value.T=v", {"M": {"k": {"T": "v"}}}),
        (b"Action=A&X=1&X=2", None),
        (b"Action=A&X=1&X.Y=2", None),
        (b"Action=A&X=\xff", None),
        (b"Action=A&X=%FF", None),
        (b'{"json": 1}', None),
    ],
)
def test_a_form_is_read_as_the_document_it_spells_out_or_not_at_all(form: bytes, document: Any) -> None:
    assert read_form(form)[1] == document


async def test_a_request_that_is_not_understood_is_refused_and_changes_nothing(aws: AwsEndpoint) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    async with aiohttp.ClientSession(headers=headers) as web:
        for body, status in ((b"\xff", 400), (b"", 400), (b"Action=ListTopics", 400), (b"Action=PublishBatch", 400)):
            async with web.post(aws.url, data=body) as answer:
                assert answer.status == status
                assert b"<ErrorResponse" in await answer.read()
    assert [request.service for request in aws.log] == ["sns"] * 4
