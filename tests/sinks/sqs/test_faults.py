"""Every fault that SQS or the way to it can make, and what each must mean. The endpoint's log is the oracle."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import BatchRefused, Policy, Retry, Unknown
from sinkwell.sinks.sqs import AwsError
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
    QueueGone,
    Redirect,
    Refuse,
    Reorder,
    Repeat,
    ServerError,
    Throttle,
)
from tests.sinks.oracle import D, R, T, U, X, verdicts_are_true, word
from tests.sinks.sqs.conftest import batch_of, bodies, make_destination

if TYPE_CHECKING:
    from collections.abc import Callable

IMPATIENT = Policy(attempt_timeout=1.0)

FAULTS = [
    # the whole request is throttled
    (Throttle(), [T] * 3),
    (Throttle("OverLimit"), [T] * 3),
    (Throttle("KmsThrottled"), [T] * 3),
    (Throttle("ThrottlingException"), [T] * 3),
    (Refuse("SomethingNew", status=429), [T] * 3),
    # a part of it fails
    (FailEntries(positions=[1]), [D, R, D]),
    (FailEntries(positions=[1], code="ServiceUnavailable"), [D, R, D]),
    (FailEntries(positions=[0, 2], code="KmsThrottled", sender_fault=True), [T, D, T]),
    (FailEntries(positions=[1], code="KMS.ThrottlingException", sender_fault=True), [D, T, D]),
    (FailEntries(positions=[2], code="InvalidMessageContents", sender_fault=True), [D, D, X]),
    (FailEntries(positions=[0], code="InvalidParameterValue", sender_fault=True), [X, D, D]),
    # the answer does not account for every entry
    (Omit([1], applied=True), [D, U, D]),
    (Omit([1], applied=False), [D, U, D]),
    (Contradict([0]), [U, D, D]),
    (Contradict([0], code="InvalidMessageContents", sender_fault=True), [U, D, D]),
    (Repeat([2]), [D, D, U]),
    (AddUnknown(), [D, D, D]),
    (Reorder(), [D, D, D]),
    # there is a 200, and nothing readable in it
    (EmptyAnswer(applied=True), [U] * 3),
    (EmptyAnswer(applied=False), [U] * 3),
    (Garbage(applied=True), [U] * 3),
    (Garbage(applied=False), [U] * 3),
    (Garbage(b'{"Successful": "all", "Failed": 7}'), [U] * 3),
    (Garbage(b'{"Successful": [{"Id": "0"}, {"Id": 1}, null]}'), [U] * 3),
    (Garbage(b"[" * 100_000), [U] * 3),
    (Garbage(b"\xff\xfe\x00"), [U] * 3),
    (CutAnswer(), [U] * 3),
    # SQS fails, or the connection does: both halves of each
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
    # credentials: they get renewed while the service runs
    (ExpiredToken(), [R] * 3),
    (Refuse("InvalidClientTokenId"), [R] * 3),
    (Refuse("SignatureDoesNotMatch", status=403), [R] * 3),
    (Refuse("RequestTimeTooSkewed", status=403), [R] * 3),
    # what a person must mend
    (AccessDenied(), [X] * 3),
    (QueueGone(), [X] * 3),
    *((Refuse(f"Kms{kind}"), [X] * 3) for kind in ("Disabled", "InvalidState", "NotFound", "AccessDenied")),
    *((Refuse(f"Kms{kind}"), [X] * 3) for kind in ("OptInRequired", "InvalidKeyUsage")),
    (Refuse("InvalidSecurity"), [X] * 3),
    (Refuse("InvalidAddress"), [X] * 3),
    (Refuse("UnsupportedOperation"), [X] * 3),
    (Refuse("WhoKnows", status=403), [X] * 3),
]


@pytest.mark.parametrize("transport", ["direct", "client"])
@pytest.mark.parametrize(("fault", "expected"), FAULTS, ids=lambda value: repr(value)[:80])
async def test_each_fault_gets_the_verdict_that_is_true(
    aws: AwsEndpoint, opened: Callable[..., Any], fault: Any, expected: list[str], transport: str
) -> None:
    queue_url = aws.sqs.create_queue("orders")
    destination = await opened(queue_url, policy=IMPATIENT, transport=transport)
    aws.plan.next("SendMessageBatch", fault)
    verdicts = await destination.write(batch_of(destination, ["a", "b", "c"]))
    assert [word(verdict) for verdict in verdicts] == expected
    assert verdicts_are_true("abc", verdicts, bodies(aws, queue_url))
    assert len(aws.requests("SendMessageBatch")) == 1, "the client must not send again on its own"


@pytest.mark.parametrize(
    "code", ["InvalidParameterValue", "MissingParameter", "BatchRequestTooLong", "InvalidMessageContents", "Brand.New"]
)
async def test_a_request_refused_for_one_record_is_handed_back_to_find_it(
    aws: AwsEndpoint, opened: Callable[..., Any], code: str
) -> None:
    queue_url = aws.sqs.create_queue("orders")
    destination = await opened(queue_url)
    aws.plan.next("SendMessageBatch", Refuse(code))
    with pytest.raises(BatchRefused) as refused:
        await destination.write(batch_of(destination, ["a", "b"]))
    assert refused.value.suspect is None
    assert isinstance(refused.value.__cause__, AwsError)
    assert aws.sqs.messages(queue_url) == []


async def test_a_server_that_is_not_there_leaves_nothing_in_doubt(aws: AwsEndpoint, opened: Callable[..., Any]) -> None:
    destination = await opened(aws.sqs.create_queue("orders"))
    await aws.aclose()
    await destination.write(batch_of(destination, ["over the connection that was open before"]))
    (verdict,) = await destination.write(batch_of(destination, ["over a new one"]))
    assert isinstance(verdict, Retry)
    assert "could not be reached" in str(verdict.error)


async def test_a_reset_before_any_answer_is_unknown_in_spite_of_could_not_connect(session: object) -> None:
    # botocore says "Could not connect to the endpoint URL" also of a server that read all of the request and reset.
    async def read_and_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        writer.transport.abort()

    server = await asyncio.start_server(read_and_reset, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    destination = make_destination(f"{url}/1/orders", session=session, endpoint_url=url)
    async with server:
        await destination.open()  # a connection that breaks at the start may hold at the first write
        destination._queues[f"{url}/1/orders"] = destination._queue
        (verdict,) = await destination.write(batch_of(destination, ["a"]))
    await destination.aclose()
    assert isinstance(verdict, Unknown)


async def test_a_redirect_is_not_followed(aws: AwsEndpoint, opened: Callable[..., Any]) -> None:
    destination = await opened(aws.sqs.create_queue("orders"))
    async with AwsEndpoint() as elsewhere:
        aws.plan.next("SendMessageBatch", Redirect(elsewhere.url))
        (verdict,) = await destination.write(batch_of(destination, ["a"]))
        assert elsewhere.log == []
    assert isinstance(verdict, Unknown)


async def test_errors_tell_the_queue_the_code_and_the_status(aws: AwsEndpoint, opened: Callable[..., Any]) -> None:
    destination = await opened(aws.sqs.create_queue("orders"))
    aws.plan.next("SendMessageBatch", QueueGone(), FailEntries(code="InvalidMessageContents", sender_fault=True))
    (gone,) = await destination.write(batch_of(destination, ["a"]))
    (bad,) = await destination.write(batch_of(destination, ["a"]))
    assert str(gone.error).startswith("SQS queue 'orders' answered NonExistentQueue (HTTP 400)")
    assert (gone.error.code, gone.error.status) == ("NonExistentQueue", 400)
    assert bad.error.code == "InvalidMessageContents"


async def test_an_answer_in_another_order_still_gives_each_its_own_receipt(
    aws: AwsEndpoint, opened: Callable[..., Any]
) -> None:
    queue_url = aws.sqs.create_queue("orders")
    destination = await opened(queue_url)
    aws.plan.next("SendMessageBatch", Reorder())
    verdicts = await destination.write(batch_of(destination, list("abcde")))
    stored = {message.body: message.message_id for message in aws.sqs.messages(queue_url)}
    assert [verdict.receipt.message_id for verdict in verdicts] == [stored[body] for body in "abcde"]
