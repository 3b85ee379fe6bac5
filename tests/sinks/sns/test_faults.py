"""Every fault that SNS or the way to it can make, and what each must mean. The endpoint's log is the oracle."""

from __future__ import annotations

import asyncio
import gzip
import socket
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import BatchRefused, Policy, Retry, Unknown
from sinkwell.sinks.sns import AwsError, SnsMessage
from sinkwell.sinks.testing import (
    AccessDenied,
    AddUnknown,
    AwsEndpoint,
    Contradict,
    CutAnswer,
    Drop,
    DropMidAnswer,
    DropUnread,
    EmptyAnswer,
    ExpiredToken,
    FailEntries,
    Garbage,
    Hang,
    Omit,
    Redirect,
    Refuse,
    Reorder,
    Repeat,
    ServerError,
    Throttle,
    TopicGone,
    Trickle,
)
from tests.sinks.oracle import D, R, T, U, X, verdicts_are_true, word
from tests.sinks.sns.conftest import batch_of, make_destination, texts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

IMPATIENT = Policy(attempt_timeout=1.0)
START = b'<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
LISTS = START + b"<PublishBatchResult>%s</PublishBatchResult></PublishBatchResponse>"

FAULTS = [
    # the whole request is throttled
    (Throttle("Throttled"), [T] * 3),
    (Throttle("Throttling"), [T] * 3),
    (Throttle("ThrottlingException"), [T] * 3),
    (Throttle("KMSThrottling"), [T] * 3),
    (Refuse("SomethingNew", status=429), [T] * 3),
    # a part of it fails
    (FailEntries(positions=[1]), [D, R, D]),
    (FailEntries(positions=[1], code="ServiceUnavailable"), [D, R, D]),
    (FailEntries(positions=[0, 2], code="KMSThrottling", sender_fault=True), [T, D, T]),
    (FailEntries(positions=[0, 2], code="Throttled", sender_fault=True), [T, D, T]),
    (FailEntries(positions=[2], code="InvalidParameter", sender_fault=True), [D, D, X]),
    (FailEntries(positions=[0], code="ParameterValueInvalid", sender_fault=True), [X, D, D]),
    # the answer does not account for every entry
    (Omit([1], applied=True), [D, U, D]),
    (Omit([1], applied=False), [D, U, D]),
    (Omit([0, 1, 2], applied=True), [U] * 3),
    (Contradict([0]), [U, D, D]),
    (Contradict([0], code="InvalidParameter", sender_fault=True), [U, D, D]),
    (Repeat([2]), [D, D, U]),
    (AddUnknown(), [D, D, D]),
    (Reorder(), [D, D, D]),
    # there is a 200, and nothing readable in it
    (EmptyAnswer(applied=True), [U] * 3),
    (EmptyAnswer(applied=False), [U] * 3),
    (Garbage(applied=True), [U] * 3),
    (Garbage(applied=False), [U] * 3),
    (Garbage(b"{}"), [U] * 3),
    (Garbage(b""), [U] * 3),
    (Garbage(START + b"</PublishBatchResponse>"), [U] * 3),
    (Garbage(LISTS % b"<Successful>all</Successful><Failed>7</Failed>"), [U] * 3),
    (Garbage(LISTS % b"<Successful><member><Id>0</Id></member><member/></Successful>"), [U] * 3),
    (Garbage(LISTS % b"<Successful><member>0</member></Successful>"), [U] * 3),
    (Garbage(b"<a>" * 50_000), [U] * 3),
    (Garbage(b"<!DOCTYPE a [<!ENTITY b 'bb'>]><a>&b;</a>"), [U] * 3),
    (Garbage(b"\xff\xfe\x00"), [U] * 3),
    (CutAnswer(), [U] * 3),
    # SNS fails, or the connection does: both halves of each
    (ServerError(500, applied=False), [U] * 3),
    (ServerError(500, applied=True), [U] * 3),
    (ServerError(503, applied=False), [U] * 3),
    (ServerError(503, applied=True), [U] * 3),
    (DropUnread(), [U] * 3),
    (Drop(applied=False), [U] * 3),
    (Drop(applied=True), [U] * 3),
    (Drop(applied=False, resets=True), [U] * 3),
    (Drop(applied=True, resets=True), [U] * 3),
    (DropMidAnswer(), [U] * 3),
    (Hang(applied=False), [U] * 3),
    (Hang(applied=True), [U] * 3),
    (Redirect(), [U] * 3),
    # credentials: they get renewed while the service runs, and clocks set right
    (ExpiredToken(), [R] * 3),
    (Refuse("InvalidClientTokenId"), [R] * 3),
    (Refuse("SignatureDoesNotMatch", status=403), [R] * 3),
    (Refuse("RequestExpired"), [R] * 3),
    # what a person must mend
    (AccessDenied(), [X] * 3),
    (TopicGone(), [X] * 3),
    *((Refuse(f"KMS{kind}"), [X] * 3) for kind in ("Disabled", "InvalidState", "NotFound", "AccessDenied")),
    (Refuse("KMSOptInRequired"), [X] * 3),
    (Refuse("InvalidSecurity"), [X] * 3),
    (Refuse("EndpointDisabled"), [X] * 3),
    (Refuse("PlatformApplicationDisabled"), [X] * 3),
    (Refuse("InvalidAction"), [X] * 3),
    (Refuse("WhoKnows", status=403), [X] * 3),
]


@pytest.mark.parametrize("transport", ["direct", "client"])
@pytest.mark.parametrize(("fault", "expected"), FAULTS, ids=lambda value: repr(value)[:80])
async def test_each_fault_gets_the_verdict_that_is_true(
    aws: AwsEndpoint, opened: Callable[..., Any], fault: Any, expected: list[str], transport: str
) -> None:
    topic_arn = aws.sns.create_topic("events")
    destination = await opened(topic_arn, policy=IMPATIENT, transport=transport)
    aws.plan.next("PublishBatch", fault)
    verdicts = await destination.write(batch_of(destination, ["a", "b", "c"]))
    assert [word(verdict) for verdict in verdicts] == expected
    assert verdicts_are_true("abc", verdicts, texts(aws, topic_arn))
    assert len(aws.requests("PublishBatch")) == 1, "the client must not send again on its own"


@pytest.mark.parametrize(
    "code", ["InvalidParameter", "ParameterValueInvalid", "ValidationError", "ValidationException", "Brand.New"]
)
async def test_a_request_refused_for_one_record_is_handed_back_to_find_it(
    aws: AwsEndpoint, opened: Callable[..., Any], code: str
) -> None:
    topic_arn = aws.sns.create_topic("events")
    destination = await opened(topic_arn)
    aws.plan.next("PublishBatch", Refuse(code))
    with pytest.raises(BatchRefused) as refused:
        await destination.write(batch_of(destination, ["a", "b"]))
    assert refused.value.suspect is None
    assert isinstance(refused.value.__cause__, AwsError)
    assert aws.sns.messages(topic_arn) == []


@pytest.mark.parametrize("fault", [Throttle("Throttled"), Drop(applied=True), ServerError(500, applied=True)])
async def test_a_fifo_message_that_is_sent_again_has_the_same_deduplication_id_and_is_there_once(
    aws: AwsEndpoint, opened: Callable[..., Any], fault: Any
) -> None:
    topic_arn = aws.sns.create_topic("events.fifo")
    destination = await opened(topic_arn)
    batch = batch_of(destination, [SnsMessage("a", group_id="g")])
    aws.plan.next("PublishBatch", fault)
    await destination.write(batch)
    (verdict,) = await destination.write(batch)
    first, second = (request.entries[0] for request in aws.requests("PublishBatch"))
    assert first["MessageDeduplicationId"] == second["MessageDeduplicationId"]
    assert word(verdict) == D
    assert texts(aws, topic_arn) == ["a"]


async def test_a_server_that_is_not_there_leaves_nothing_in_doubt(aws: AwsEndpoint, opened: Callable[..., Any]) -> None:
    destination = await opened(aws.sns.create_topic("events"))
    await aws.aclose()
    await destination.write(batch_of(destination, ["over the connection that was open before"]))
    (verdict,) = await destination.write(batch_of(destination, ["over a new one"]))
    assert isinstance(verdict, Retry)
    assert "could not be reached" in str(verdict.error)


@pytest.fixture
async def answering(session: object) -> AsyncIterator[Callable[..., Any]]:
    """Write one message to a server that reads the request and answers with these bytes; then it resets, or waits."""
    servers: list[asyncio.Server] = []

    async def write(answer: bytes, *, resets: bool = True) -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            if resets:
                raw: socket.socket = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                writer.transport.abort()
            else:
                await reader.read()
                writer.close()

        servers.append(await asyncio.start_server(serve, "127.0.0.1", 0))
        url = f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"
        arn = "arn:aws:sns:us-east-1:000000000000:events"
        destination = make_destination(arn, session=session, endpoint_url=url, policy=IMPATIENT)
        await destination.open()
        destination._topics[arn] = destination._topic
        try:
            return (await destination.write(batch_of(destination, ["a"])))[0]
        finally:
            await destination.aclose()

    yield write
    for server in servers:
        server.close()
        await server.wait_closed()


async def test_a_reset_before_any_answer_is_unknown_in_spite_of_could_not_connect(answering: Any) -> None:
    # botocore says "Could not connect to the endpoint URL" also of a server that read all of the request and reset.
    assert isinstance(await answering(b""), Unknown)


@pytest.mark.parametrize(
    ("answer", "resets"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n<Publish", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: 2\r\n\r\n\xff\xfe", False),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", False),
        (b"\x00" * 70_000, True),
    ],
    ids=["ten gigabytes", "negative length", "bad UTF-8", "no gzip", "no HTTP"],
)
async def test_a_hostile_answer_leaves_the_message_in_doubt_and_ends_in_time(
    answering: Any, answer: bytes, resets: bool
) -> None:
    assert isinstance(await answering(answer, resets=resets), Unknown)


async def test_a_compressed_answer_that_unfolds_to_megabytes_is_unknown(answering: Any) -> None:
    bomb = gzip.compress(b"<" * 20_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    assert isinstance(await answering(head + bomb, resets=False), Unknown)


async def test_a_redirect_is_not_followed(aws: AwsEndpoint, opened: Callable[..., Any]) -> None:
    destination = await opened(aws.sns.create_topic("events"))
    async with AwsEndpoint() as elsewhere:
        aws.plan.next("PublishBatch", Redirect(elsewhere.url))
        (verdict,) = await destination.write(batch_of(destination, ["a"]))
        assert elsewhere.log == []
    assert isinstance(verdict, Unknown)


async def test_an_answer_that_trickles_in_ends_with_the_attempt(aws: AwsEndpoint, sink_for: Any) -> None:
    # A client's read timeout counts from byte to byte: it would never end this.
    topic_arn = aws.sns.create_topic("events")
    async with sink_for(topic_arn) as sink:
        aws.plan.next("PublishBatch", Trickle(1, pause=0.05))
        assert (await sink.put("a")).attempts == 2
    assert texts(aws, topic_arn) == ["a", "a"]


async def test_errors_tell_the_topic_the_code_and_the_status(aws: AwsEndpoint, opened: Callable[..., Any]) -> None:
    destination = await opened(aws.sns.create_topic("events"))
    aws.plan.next("PublishBatch", TopicGone(), FailEntries(code="InvalidParameter", sender_fault=True))
    (gone,) = await destination.write(batch_of(destination, ["a"]))
    (bad,) = await destination.write(batch_of(destination, ["a"]))
    assert str(gone.error).startswith("SNS topic 'events' answered NotFound (HTTP 404)")
    assert (gone.error.code, gone.error.status) == ("NotFound", 404)
    assert bad.error.code == "InvalidParameter"


async def test_an_answer_in_another_order_still_gives_each_its_own_receipt(
    aws: AwsEndpoint, opened: Callable[..., Any]
) -> None:
    topic_arn = aws.sns.create_topic("events")
    destination = await opened(topic_arn)
    aws.plan.next("PublishBatch", Reorder())
    verdicts = await destination.write(batch_of(destination, list("abcde")))
    stored = {message.message: message.message_id for message in aws.sns.messages(topic_arn)}
    assert [verdict.receipt.message_id for verdict in verdicts] == [stored[text] for text in "abcde"]
