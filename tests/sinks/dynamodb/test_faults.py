"""Every fault that DynamoDB or the way to it can make, and what each must mean. The endpoint's log is the oracle."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import BatchRefused, Delivered, Policy, Rejected, Retry, Unknown
from sinkwell.sinks.dynamodb import AwsError, Delete, Put
from sinkwell.sinks.testing import (
    AccessDenied,
    AddUnknown,
    AwsEndpoint,
    CutAnswer,
    Drop,
    DropMidAnswer,
    DropUnread,
    EmptyAnswer,
    ExpiredToken,
    FailEntries,
    Garbage,
    Hang,
    QueueGone,
    Redirect,
    Refuse,
    ServerError,
    Throttle,
    ThrottleWrites,
    Trickle,
    Turn,
    WrongChecksum,
)
from tests.sinks.dynamodb.conftest import batch_of, ids, make_destination

if TYPE_CHECKING:
    from collections.abc import Callable

IMPATIENT = Policy(attempt_timeout=0.3)
BATCH = "BatchWriteItem"
D, T, R, X, U = "delivered", "throttled", "retry", "rejected", "unknown"
HOT = "TableWriteKeyRangeThroughputExceeded"


@dataclass(frozen=True)
class AddToAnswer:
    """The answer's UnprocessedItems holds a write that wasn't left over, or was never sent."""

    write: Any
    table: str = "orders"

    def __call__(self, turn: Turn) -> None:
        turn.edits.append(
            lambda reply: reply.document["UnprocessedItems"].setdefault(self.table, []).append(self.write)
        )


def stray(key: str) -> dict[str, Any]:
    return {"PutRequest": {"Item": {"id": {"S": key}}}}


FAULTS = [
    # the whole request is throttled
    (ThrottleWrites(), [T] * 3),
    (ThrottleWrites(code="ThrottlingException"), [T] * 3),
    (ThrottleWrites("TableWriteAccountLimitExceeded"), [T] * 3),
    (ThrottleWrites("IndexWriteProvisionedThroughputExceeded"), [T] * 3),
    (Throttle("ProvisionedThroughputExceededException"), [T] * 3),
    (Throttle("ProvisionedThroughputExceededException", status=503), [T] * 3),
    (Throttle("RequestLimitExceeded"), [T] * 3),
    (Throttle("ThrottlingException"), [T] * 3),
    (Refuse("SomethingNew", status=429), [T] * 3),
    # ... by one hot key, which says nothing of the table
    (ThrottleWrites(HOT), [R] * 3),
    (ThrottleWrites("IndexWriteKeyRangeThroughputExceeded", code="ThrottlingException"), [R] * 3),
    # a part of it is left unprocessed, without a reason: more than one key means the table
    (FailEntries(positions=[0, 1]), [T, T, D]),
    (FailEntries(), [T, T, T]),
    (FailEntries(positions=[1]), [D, R, D]),
    # the answer tells of other writes than those that were sent
    (AddToAnswer(stray("never-sent")), [U] * 3),
    (AddToAnswer(stray("a"), table="elsewhere"), [U] * 3),
    (AddToAnswer({"PutRequest": {"Item": {}}}), [U] * 3),
    (AddToAnswer({"DeleteRequest": {"Key": {"id": {"S": "a"}}}}), [U] * 3),
    (AddToAnswer({"PutRequest": {"Item": {"id": {"N": "1"}}}}), [U] * 3),
    (AddToAnswer({}), [U] * 3),
    (AddUnknown(), [D, D, D]),
    # there is a 200, and nothing readable in it
    (EmptyAnswer(applied=True), [U] * 3),
    (EmptyAnswer(applied=False), [U] * 3),
    (Garbage(applied=True), [U] * 3),
    (Garbage(applied=False), [U] * 3),
    (Garbage(b'{"UnprocessedItems": null}'), [U] * 3),
    (Garbage(b'{"UnprocessedItems": "all"}'), [U] * 3),
    (Garbage(b'{"UnprocessedItems": {"orders": "all"}}'), [U] * 3),
    (Garbage(b'{"UnprocessedItems": {"orders": [null]}}'), [U] * 3),
    (Garbage(b"[" * 100_000), [U] * 3),
    (Garbage(b"\xff\xfe\x00"), [U] * 3),
    (CutAnswer(), [U] * 3),
    (WrongChecksum(), [U] * 3),
    (Garbage(b"<html>Service unavailable</html>", applied=False), [U] * 3),
    # DynamoDB fails, or the connection does: both halves of each
    (ServerError(500, applied=False), [U] * 3),
    (ServerError(500, applied=True), [U] * 3),
    (ServerError(503, applied=False), [U] * 3),
    (ServerError(503, applied=True), [U] * 3),
    (Refuse("InternalServerError", status=502), [U] * 3),
    (Refuse("SomethingNew", status=504), [U] * 3),
    (Refuse("ReplicatedWriteConflictException"), [U] * 3),
    (Refuse("TransactionConflictException"), [U] * 3),
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
    (Refuse("UnrecognizedClientException"), [R] * 3),
    (Refuse("InvalidSignatureException"), [R] * 3),
    (Refuse("RequestTimeTooSkewed", status=403), [R] * 3),
    # what a person must mend
    (AccessDenied(), [X] * 3),
    (QueueGone(), [X] * 3),
    (Refuse("ResourceNotFoundException"), [X] * 3),
    (Refuse("WhoKnows", status=403), [X] * 3),
]


def word(verdict: object) -> str:
    if isinstance(verdict, Retry):
        return T if verdict.throttled else R
    return {Delivered: D, Rejected: X, Unknown: U}[type(verdict)]


@pytest.mark.parametrize("transport", ["direct", "client"])
@pytest.mark.parametrize(("fault", "expected"), FAULTS, ids=lambda value: repr(value)[:80])
async def test_each_fault_gets_the_verdict_that_is_true(
    aws: AwsEndpoint, opened: Callable[..., Any], fault: Any, expected: list[str], transport: str
) -> None:
    destination = await opened(policy=IMPATIENT, transport=transport)
    aws.plan.next(BATCH, fault)
    verdicts = await destination.write(batch_of(destination, [{"id": key} for key in "abc"]))
    assert [word(verdict) for verdict in verdicts] == expected
    written = set(ids(aws))
    for key, said in zip("abc", expected, strict=True):
        assert said == U or (key in written) == (said == D)
    assert len(aws.requests(BATCH)) == 1, "the client must not send again on its own"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ValidationException", 400),
        ("SerializationException", 400),
        ("", 413),
    ],
)
async def test_a_request_refused_for_one_record_is_handed_back_to_find_it(
    aws: AwsEndpoint, opened: Callable[..., Any], code: str, status: int
) -> None:
    destination = await opened()
    aws.plan.next(BATCH, Refuse(code, status=status))
    with pytest.raises(BatchRefused) as refused:
        await destination.write(batch_of(destination, [{"id": "a"}, {"id": "b"}]))
    assert refused.value.suspect is None
    assert isinstance(refused.value.__cause__, AwsError)
    assert aws.dynamodb.items("orders") == []


@pytest.mark.parametrize("code", ["ItemCollectionSizeLimitExceededException", "Brand.New"])
async def test_what_is_refused_of_one_write_is_found_out_write_by_write_since_others_may_be_there(
    aws: AwsEndpoint, opened: Callable[..., Any], code: str
) -> None:
    destination = await opened()
    aws.plan.next(BATCH, Refuse(code, status=400), Refuse(code, status=400))
    verdicts = await destination.write(batch_of(destination, [{"id": key} for key in "abc"]))
    assert sorted(word(verdict) for verdict in verdicts) == [D, D, X]
    assert sorted(ids(aws)) == sorted(key for key, verdict in zip("abc", verdicts, strict=True) if word(verdict) == D)


@pytest.mark.parametrize("plain", [True, False])
async def test_what_is_left_over_is_found_again_by_its_normal_key(
    aws: AwsEndpoint, opened: Callable[..., Any], plain: bool
) -> None:
    aws.dynamodb.create_table("events", {"device": "N", "at": "B"})
    aws.dynamodb.echoes_plain_numbers = plain
    destination = await opened("events", table_names=["orders"])
    aws.plan.next(BATCH, FailEntries(positions=[0, 2, 3]))
    records = [
        {"device": 10**60, "at": b"\x00\xff"},
        {"device": 7, "at": b"x", "more": "é"},
        Delete({"device": Decimal("1.50"), "at": b"x"}),
        Put({"id": "7"}, table_name="orders"),
        Put({"id": "8"}, table_name="orders"),
    ]
    verdicts = await destination.write(batch_of(destination, records))
    assert [word(verdict) for verdict in verdicts] == [T, D, T, T, D]
    assert len(aws.dynamodb.writes("events")) == len(aws.dynamodb.writes("orders")) == 1


async def test_all_that_is_left_over_of_one_partition_key_slows_its_lane_and_not_the_sink(
    aws: AwsEndpoint, opened: Callable[..., Any]
) -> None:
    aws.dynamodb.create_table("events", {"device": "S", "at": "N"})
    destination = await opened("events")
    aws.dynamodb.throttle_key("events", {"S": "hot"}, 1)
    devices = ["hot", "cold", "hot", "hot", "warm"]
    batch = batch_of(destination, [{"device": device, "at": n} for n, device in enumerate(devices)])
    assert [word(verdict) for verdict in await destination.write(batch)] == [D, D, R, R, D]
    aws.dynamodb.throttle("events", 2)
    batch = batch_of(destination, [{"device": device, "at": 9} for device in "abcd"])
    assert [word(verdict) for verdict in await destination.write(batch)] == [D, D, T, T]


async def test_a_server_that_is_not_there_leaves_nothing_in_doubt(aws: AwsEndpoint, opened: Callable[..., Any]) -> None:
    destination = await opened()
    await aws.aclose()
    await destination.write(batch_of(destination, [{"id": "over the connection that was open before"}]))
    (verdict,) = await destination.write(batch_of(destination, [{"id": "over a new one"}]))
    assert isinstance(verdict, Retry)
    assert "could not be reached" in str(verdict.error)


async def test_a_reset_before_any_answer_is_unknown_in_spite_of_could_not_connect(
    aws: AwsEndpoint, opened: Callable[..., Any], session: object
) -> None:
    # botocore says "Could not connect to the endpoint URL" also of a server that read all of the request and reset.
    async def read_and_reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        writer.transport.abort()

    destination = await opened()
    server = await asyncio.start_server(read_and_reset, "127.0.0.1", 0)
    async with server:
        elsewhere = make_destination(
            session=session, endpoint_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        )
        elsewhere._names, elsewhere._tables = (), destination._tables
        await elsewhere.open()
        (verdict,) = await elsewhere.write(batch_of(destination, [{"id": "a"}]))
    await elsewhere.aclose()
    assert isinstance(verdict, Unknown)


async def test_a_redirect_is_not_followed(aws: AwsEndpoint, opened: Callable[..., Any]) -> None:
    destination = await opened()
    async with AwsEndpoint() as elsewhere:
        aws.plan.next(BATCH, Redirect(elsewhere.url))
        (verdict,) = await destination.write(batch_of(destination, [{"id": "a"}]))
        assert elsewhere.log == []
    assert isinstance(verdict, Unknown)


async def test_an_answer_that_trickles_is_ended_by_the_sinks_own_deadline(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(policy=Policy(attempt_timeout=0.2, delivery_timeout=2.0, max_attempts=1)) as sink:
        aws.plan.next(BATCH, Trickle(piece_bytes=1, pause=0.1))
        (outcome,) = await sink.put_many([{"id": "a"}])
    assert "no receipt" in str(outcome)


async def test_errors_tell_the_table_the_code_and_the_status(aws: AwsEndpoint, opened: Callable[..., Any]) -> None:
    destination = await opened()
    aws.plan.next(BATCH, QueueGone(), FailEntries())
    (gone,) = await destination.write(batch_of(destination, [{"id": "a"}]))
    (left,) = await destination.write(batch_of(destination, [{"id": "a"}]))
    assert str(gone.error).startswith("DynamoDB table 'orders' answered ResourceNotFoundException (HTTP 400)")
    assert (gone.error.code, gone.error.status) == ("ResourceNotFoundException", 400)
    assert left.error.code == "UnprocessedItems"


async def test_one_table_out_of_use_does_not_hurt_the_records_of_another(
    aws: AwsEndpoint, opened: Callable[..., Any]
) -> None:
    aws.dynamodb.create_table("gone")
    destination = await opened(table_names=["gone"])
    aws.dynamodb.set_status("gone", "DELETING")
    records = [Put({"id": key}, table_name=table) for key in "abc" for table in ("orders", "gone")]
    verdicts = await destination.write(batch_of(destination, records))
    assert [word(verdict) for verdict in verdicts] == [D, X] * 3
    assert ids(aws) == ["a", "b", "c"]
    assert len(aws.requests(BATCH)) == 3


async def test_a_bad_record_beside_a_table_out_of_use_is_rejected_alone(
    aws: AwsEndpoint, opened: Callable[..., Any]
) -> None:
    aws.dynamodb.create_table("gone")
    destination = await opened(table_names=["gone"])
    aws.dynamodb.set_status("gone", "DELETING")

    def refuse_bad(request: Any) -> Any:
        tables = {entry["Table"] for entry in request.entries}
        return Refuse("ValidationException") if tables == {"orders"} and "bad" in str(request.entries) else None

    aws.plan.script(refuse_bad)
    records = [Put({"id": "a"}, "orders"), Put({"id": "x"}, "gone"), Put({"id": "bad"}, "orders"), Put({"id": "c"})]
    verdicts = await destination.write(batch_of(destination, records))
    assert [word(verdict) for verdict in verdicts] == [D, X, X, D]
    assert ids(aws) == ["a", "c"]
