"""Every fault that a service or the way to it can make, and what each must mean. The endpoint's log is the oracle.

What only one service answers stands in `faults` of its own folder.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Backoff, BatchRefused, Policy, Retry, Unknown
from sinkwell.sinks._aws_verdicts import AwsError
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
    Trickle,
)
from tests.sinks.aws.service import DYNAMODB, EVERY, MESSAGING, SNS, SQS, batch_of, session_of
from tests.sinks.dynamodb.faults import FAULTS as OF_DYNAMODB
from tests.sinks.oracle import D, R, T, U, X, verdicts_are_true, word
from tests.sinks.sns.faults import FAULTS as OF_SNS
from tests.sinks.sqs.faults import FAULTS as OF_SQS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.sinks.aws.service import Messaging, Service

OF_EVERY = [
    (Throttle("ThrottlingException"), [T] * 3),
    (Refuse("SomethingNew", status=429), [T] * 3),
    (FailEntries(positions=[1]), [D, R, D]),
    (AddUnknown(), [D, D, D]),
    # there is a 200, and nothing readable in it
    (EmptyAnswer(applied=True), [U] * 3),
    (EmptyAnswer(applied=False), [U] * 3),
    (Garbage(applied=True), [U] * 3),
    (Garbage(applied=False), [U] * 3),
    (Garbage(b"\xff\xfe\x00"), [U] * 3),
    (CutAnswer(), [U] * 3),
    # the service fails, or the connection does: both halves of each
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
    # what a person must mend; that credentials which a session renews are not of it is in test_identity.py
    (ExpiredToken(), [X] * 3),
    (AccessDenied(), [X] * 3),
    (Refuse("WhoKnows", status=403), [X] * 3),
]
OF_MESSAGES = [
    (FailEntries(positions=[1], code="ServiceUnavailable"), [D, R, D]),
    # the answer does not account for every entry
    (Omit([1], applied=True), [D, U, D]),
    (Omit([1], applied=False), [D, U, D]),
    (Contradict([0]), [U, D, D]),
    (Repeat([2]), [D, D, U]),
    (Reorder(), [D, D, D]),
    (Refuse("InvalidClientTokenId"), [R] * 3),
    (Refuse("SignatureDoesNotMatch", status=403), [R] * 3),
    (Refuse("InvalidSecurity"), [X] * 3),
]
FAULTS = [
    *((SQS, *case) for case in [*OF_EVERY, *OF_MESSAGES, *OF_SQS]),
    *((SNS, *case) for case in [*OF_EVERY, *OF_MESSAGES, *OF_SNS]),
    *((DYNAMODB, *case) for case in [*OF_EVERY, *OF_DYNAMODB]),
    *((service, service.gone, [X] * 3) for service in EVERY),
]


@pytest.mark.parametrize("transport", ["direct", "client"])
@pytest.mark.parametrize(("service", "fault", "expected"), FAULTS, ids=lambda value: repr(value)[:80])
async def test_each_fault_gets_the_verdict_that_is_true(
    aws: AwsEndpoint, service: Service, place: str, opened: Any, fault: Any, expected: list[str], transport: str
) -> None:
    policy = Policy(attempt_timeout=0.3 if isinstance(fault, Hang) else 1.0)
    destination = await opened(place, policy=policy, transport=transport)
    aws.plan.next(service.writes, fault)
    verdicts = await destination.write(batch_of(destination, [service.record(text) for text in "abc"]))
    assert [word(verdict) for verdict in verdicts] == expected
    assert verdicts_are_true("abc", verdicts, service.texts(aws, place))
    assert len(aws.requests(service.writes)) == 1, "the client must not send again on its own"


BAD_MESSAGES = ["InvalidParameterValue", "MissingParameter", "BatchRequestTooLong", "InvalidMessageContents"]
BAD_PUBLISHES = ["InvalidParameter", "ParameterValueInvalid", "ValidationError", "ValidationException"]
REFUSALS = [
    *((SQS, Refuse(code)) for code in [*BAD_MESSAGES, "Brand.New"]),
    *((SNS, Refuse(code)) for code in [*BAD_PUBLISHES, "Brand.New"]),
    *((DYNAMODB, Refuse(code, status=400)) for code in ("ValidationException", "SerializationException")),
    (DYNAMODB, Refuse("", status=413)),
]


@pytest.mark.parametrize(("service", "refusal"), REFUSALS, ids=repr)
async def test_a_request_refused_for_one_record_is_handed_back_to_find_it(
    aws: AwsEndpoint, service: Service, place: str, opened: Any, refusal: Any
) -> None:
    destination = await opened(place)
    aws.plan.next(service.writes, refusal)
    with pytest.raises(BatchRefused) as refused:
        await destination.write(batch_of(destination, [service.record("a"), service.record("b")]))
    assert refused.value.suspect is None
    assert isinstance(refused.value.__cause__, AwsError)
    assert service.texts(aws, place) == []


async def test_a_server_that_is_not_there_leaves_nothing_in_doubt(
    aws: AwsEndpoint, service: Service, place: str, opened: Any
) -> None:
    destination = await opened(place)
    await aws.aclose()
    await destination.write(batch_of(destination, [service.record("over the connection that was open before")]))
    (verdict,) = await destination.write(batch_of(destination, [service.record("over a new one")]))
    assert isinstance(verdict, Retry)
    assert "could not be reached" in str(verdict.error)


@pytest.fixture
async def answering(service: Service) -> AsyncIterator[Callable[..., Any]]:
    """Write one record to a server that reads the request and answers with these bytes; then it resets, or waits."""
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
        destination = service.make_destination(
            service.faraway, session=session_of(service), endpoint_url=url, policy=Policy(attempt_timeout=0.5)
        )
        await service.open_unread(destination)
        try:
            return (await destination.write(batch_of(destination, [service.record("a")])))[0]
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
async def test_a_hostile_answer_leaves_the_record_in_doubt_and_ends_in_time(
    answering: Any, answer: bytes, resets: bool
) -> None:
    assert isinstance(await answering(answer, resets=resets), Unknown)


async def test_a_compressed_answer_that_unfolds_to_megabytes_is_unknown(answering: Any) -> None:
    bomb = gzip.compress(b"<" * 20_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    assert isinstance(await answering(head + bomb, resets=False), Unknown)


@pytest.mark.parametrize("transport", ["direct", "client"])
async def test_what_is_put_while_the_service_is_away_arrives_when_it_is_back(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, transport: Any
) -> None:
    async with sink_for(place, transport=transport, policy=Policy(backoff=Backoff(base=0.01, cap=0.02))) as sink:
        await sink.put(service.record("before"))
        await aws.aclose()
        delivery = sink.put_nowait(service.record("meanwhile"))
        while sink.stats().retries < 3:  # noqa: ASYNC110 - the sink counts, it does not call
            await asyncio.sleep(0)
        async with AwsEndpoint(port=int(aws.url.rpartition(":")[2])) as back:
            assert service.create(back) == place
            await delivery
            await sink.put(service.record("after"))
            assert sorted(service.texts(back, place)) == ["after", "meanwhile"]


async def test_a_redirect_is_not_followed(aws: AwsEndpoint, service: Service, place: str, opened: Any) -> None:
    destination = await opened(place)
    async with AwsEndpoint() as elsewhere:
        aws.plan.next(service.writes, Redirect(elsewhere.url))
        (verdict,) = await destination.write(batch_of(destination, [service.record("a")]))
        assert elsewhere.log == []
    assert isinstance(verdict, Unknown)


async def test_an_answer_that_trickles_in_ends_with_the_attempt(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any
) -> None:
    # A client's read timeout counts from byte to byte: it would never end this.
    async with sink_for(place) as sink:
        aws.plan.next(service.writes, Trickle(1, pause=0.05))
        assert (await sink.put(service.record("a"))).attempts == 2
    assert service.texts(aws, place) == (["a"] if service is DYNAMODB else ["a", "a"]), "an item is written over"


@pytest.mark.parametrize(
    ("service", "entry_code", "told"),
    [
        (SQS, "InvalidMessageContents", "InvalidMessageContents"),
        (SNS, "InvalidParameter", "InvalidParameter"),
        (DYNAMODB, "none is told", "UnprocessedItems"),
    ],
)
async def test_errors_tell_the_place_the_code_and_the_status(
    aws: AwsEndpoint, service: Service, place: str, opened: Any, entry_code: str, told: str
) -> None:
    destination = await opened(place)
    aws.plan.next(service.writes, service.gone, FailEntries(code=entry_code, sender_fault=True))
    (gone,) = await destination.write(batch_of(destination, [service.record("a")]))
    (bad,) = await destination.write(batch_of(destination, [service.record("a")]))
    code, status = service.gone_code, service.gone_status
    sentence = f"{service.title} {service.place} 'orders' answered {code} (HTTP {status})"
    assert str(gone.error).startswith(sentence)
    assert (gone.error.code, gone.error.status) == (code, status)
    assert bad.error.code == told


@pytest.mark.parametrize("service", MESSAGING)
async def test_an_answer_in_another_order_still_gives_each_its_own_receipt(
    aws: AwsEndpoint, service: Messaging, place: str, opened: Any
) -> None:
    destination = await opened(place)
    aws.plan.next(service.writes, Reorder())
    verdicts = await destination.write(batch_of(destination, list("abcde")))
    stored = {service.text_of(message): message.message_id for message in service.stored(aws, place)}
    assert [verdict.receipt.message_id for verdict in verdicts] == [stored[text] for text in "abcde"]
