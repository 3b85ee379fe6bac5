"""Every fault of `AwsEndpoint` as a real client meets it, and what the log says of it: the truth beside the answer."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)

from sinkwell.sinks import testing as faults
from sinkwell.sinks.testing import AwsEndpoint, AwsRequest, FailEntries, Late, Refuse, Throttle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SESSION = get_session()
_BATCH = "SendMessageBatch"


@pytest.fixture
async def client(aws: AwsEndpoint) -> AsyncIterator[Any]:
    config = AioConfig(retries={"total_max_attempts": 1}, read_timeout=0.3)
    async with _SESSION.create_client("sqs", config=config, **aws.client_options()) as sqs:
        yield sqs


@pytest.fixture
def queue_url(aws: AwsEndpoint) -> str:
    return aws.sqs.create_queue("q")


def _send(client: Any, queue_url: str, *bodies: str) -> Any:
    entries = [{"Id": f"e{index}", "MessageBody": body} for index, body in enumerate(bodies or "abc")]
    return client.send_message_batch(QueueUrl=queue_url, Entries=entries)


def _ids(answer: dict[str, Any], name: str) -> list[str]:
    return [result["Id"] for result in answer.get(name, [])]


def _bodies(aws: AwsEndpoint, queue_url: str) -> list[str]:
    return [message.body for message in aws.sqs.messages(queue_url)]


@pytest.mark.parametrize("sender_fault", [True, False])
async def test_a_failed_entry_is_really_not_there(
    aws: AwsEndpoint, client: Any, queue_url: str, *, sender_fault: bool
) -> None:
    aws.plan.next(_BATCH, FailEntries(positions=[1], code="ServiceUnavailable", sender_fault=sender_fault))
    answer = await _send(client, queue_url)
    [failed] = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("e1", "ServiceUnavailable", sender_fault)
    assert _bodies(aws, queue_url) == ["a", "c"]
    assert list(aws.log[-1].applied) == _ids(answer, "Successful") == ["e0", "e2"]


async def test_entries_can_be_chosen_by_what_they_say(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    aws.plan.always(_BATCH, FailEntries(only=lambda entry: entry["MessageBody"] == "b"))
    for _ in range(2):
        assert _ids(await _send(client, queue_url), "Failed") == ["e1"]


async def test_the_same_seed_fails_the_same_entries() -> None:
    seen: list[list[str]] = []
    for _ in range(2):
        async with AwsEndpoint() as aws, _SESSION.create_client("sqs", **aws.client_options()) as client:
            queue_url = aws.sqs.create_queue("q")
            aws.plan.always(_BATCH, FailEntries(0.3), seed=7)
            for _ in range(20):
                await _send(client, queue_url)
            seen.append([entry_id for request in aws.log for entry_id in request.applied])
    assert seen[0] == seen[1]
    assert 20 < len(seen[0]) < 60


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        (Throttle(), "RequestThrottled", 403),
        (Throttle("ThrottlingException"), "ThrottlingException", 400),
        (Throttle("OverLimit"), "OverLimit", 403),
        (Throttle("KmsThrottled"), "KMS.ThrottlingException", 400),
        (faults.ExpiredToken(), "ExpiredToken", 403),
        (faults.AccessDenied(), "AccessDenied", 403),
        (faults.QueueGone(), "AWS.SimpleQueueService.NonExistentQueue", 400),
        (faults.ServerError(), "InternalFailure", 500),
        (faults.ServerError(503), "ServiceUnavailable", 503),
        (Refuse("SomethingNew", "Words.", 418), "SomethingNew", 418),
    ],
)
async def test_a_refused_request_applies_nothing(
    aws: AwsEndpoint, client: Any, queue_url: str, *, fault: Any, code: str, status: int
) -> None:
    aws.plan.next(_BATCH, fault)
    with pytest.raises(ClientError) as caught:
        await _send(client, queue_url)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == aws.log[-1].status == status
    assert aws.log[-1].applied == {}
    assert _bodies(aws, queue_url) == []
    await _send(client, queue_url)
    assert _bodies(aws, queue_url) == ["a", "b", "c"]


async def test_a_server_error_can_come_after_all_was_applied(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    aws.plan.next(_BATCH, faults.ServerError(500, applied=True))
    with pytest.raises(ClientError):
        await _send(client, queue_url)
    assert _bodies(aws, queue_url) == ["a", "b", "c"]
    assert len(aws.log[-1].applied) == 3


@pytest.mark.parametrize(
    ("fault", "error", "applied", "ending"),
    [
        (faults.Drop(), ConnectionClosedError, 0, "dropped"),
        (faults.Drop(resets=True), EndpointConnectionError, 0, "dropped"),
        (faults.Drop(applied=True), ConnectionClosedError, 3, "dropped"),
        (faults.Drop(applied=True, resets=True), EndpointConnectionError, 3, "dropped"),
        (faults.DropUnread(), (ConnectionClosedError, EndpointConnectionError), 0, "dropped"),
        (faults.DropMidAnswer(0.2), ConnectionClosedError, 3, "cut"),
        (faults.DropMidAnswer(0.8), ConnectionClosedError, 3, "cut"),
        (faults.Hang(), ReadTimeoutError, 0, "hung"),
        (faults.Hang(applied=True), ReadTimeoutError, 3, "hung"),
    ],
)
async def test_a_broken_connection_leaves_the_log_to_say_what_was_applied(
    aws: AwsEndpoint, client: Any, queue_url: str, *, fault: Any, error: Any, applied: int, ending: str
) -> None:
    aws.plan.next(_BATCH, fault)
    with pytest.raises(error):
        await _send(client, queue_url)
    assert (len(aws.sqs.messages(queue_url)), len(aws.log[-1].applied), aws.log[-1].ending) == (
        applied,
        applied,
        ending,
    )
    assert aws.log[-1].answered == {}
    assert len((await _send(client, queue_url))["Successful"]) == 3


@pytest.mark.parametrize(
    "fault",
    [faults.CutAnswer(), faults.CutAnswer(0.0), faults.Garbage(), faults.EmptyAnswer()],
    ids=["cut", "nothing", "html", "empty"],
)
async def test_a_worthless_200_looks_like_success_without_entries(
    aws: AwsEndpoint, client: Any, queue_url: str, *, fault: Any
) -> None:
    aws.plan.next(_BATCH, fault)
    answer = await _send(client, queue_url)
    assert (answer.get("Successful"), answer.get("Failed")) == (None, None)
    assert aws.log[-1].answered == {}
    assert len(aws.log[-1].applied) == 3


@pytest.mark.parametrize("fault", [faults.Garbage(applied=False), faults.EmptyAnswer(applied=False)])
async def test_a_worthless_200_may_also_have_applied_nothing(
    aws: AwsEndpoint, client: Any, queue_url: str, *, fault: Any
) -> None:
    aws.plan.next(_BATCH, fault)
    await _send(client, queue_url)
    assert _bodies(aws, queue_url) == []


@pytest.mark.parametrize(("applied", "bodies"), [(True, ["a", "b", "c"]), (False, ["a", "c"])])
async def test_an_entry_can_be_missing_from_the_answer(
    aws: AwsEndpoint, client: Any, queue_url: str, *, applied: bool, bodies: list[str]
) -> None:
    aws.plan.next(_BATCH, faults.Omit([1], applied=applied))
    answer = await _send(client, queue_url)
    assert (_ids(answer, "Successful"), _ids(answer, "Failed")) == (["e0", "e2"], [])
    assert _bodies(aws, queue_url) == bodies


@pytest.mark.parametrize(
    ("fault", "successful", "failed"),
    [
        (faults.Repeat([0, 2]), ["e0", "e1", "e2", "e0", "e2"], []),
        (faults.AddUnknown("x"), ["e0", "e1", "e2", "x"], []),
        (faults.Reorder(), ["e1", "e0", "e2"], []),
        (faults.Contradict([1]), ["e0", "e1", "e2"], ["e1"]),
    ],
)
async def test_an_answer_can_lie_about_entries_that_are_all_applied(
    aws: AwsEndpoint, client: Any, queue_url: str, *, fault: Any, successful: list[str], failed: list[str]
) -> None:
    aws.plan.next(_BATCH, fault)
    answer = await _send(client, queue_url)
    assert (_ids(answer, "Successful"), _ids(answer, "Failed")) == (successful, failed)
    assert _bodies(aws, queue_url) == ["a", "b", "c"]
    assert _ids(aws.log[-1].answered, "Successful") == successful


async def test_a_redirect_applies_nothing_here_and_the_client_goes_there(
    aws: AwsEndpoint, client: Any, queue_url: str
) -> None:
    aws.plan.next(_BATCH, faults.Redirect(aws.url + "/"))
    await _send(client, queue_url)
    assert [(request.status, len(request.applied)) for request in aws.log] == [(307, 0), (200, 3)]


async def test_a_checksum_that_does_not_fit_is_in_the_header(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    aws.plan.next(_BATCH, faults.WrongChecksum())
    answer = await _send(client, queue_url)
    told = answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-crc32"]
    assert int(told) != zlib.crc32(aws.log[-1].answer)


async def test_a_late_answer_was_applied_at_once(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    aws.plan.next(_BATCH, Late(0.05))
    sending = asyncio.create_task(_send(client, queue_url))
    await aws.arrival(_BATCH)
    assert (len(aws.sqs.messages(queue_url)), aws.log[0].ending) == (3, "open")
    assert len((await sending)["Successful"]) == 3


async def test_a_late_request_is_applied_after_its_client_left_and_tried_again(
    aws: AwsEndpoint, client: Any, queue_url: str
) -> None:
    aws.plan.next(_BATCH, Late(0.4, before=True))
    with pytest.raises(ReadTimeoutError):
        await _send(client, queue_url)
    await _send(client, queue_url)
    await asyncio.sleep(0.3)
    assert [message.request_number for message in aws.sqs.messages(queue_url)] == [2, 2, 2, 1, 1, 1]
    assert aws.log[0].ending == "open"


async def test_latency_can_be_drawn(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    drawn: list[float] = []

    def draw(turn: faults.Turn) -> float:
        drawn.append(turn.rng.uniform(0.001, 0.002))
        return drawn[-1]

    aws.plan.always("*", Late(draw), seed=1)
    await _send(client, queue_url)
    await _send(client, queue_url)
    assert len(set(drawn)) == 2


async def test_a_trickling_answer_never_trips_the_read_timeout(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    aws.plan.next(_BATCH, faults.Trickle(piece_bytes=10, pause=0.02))
    began = asyncio.get_running_loop().time()
    assert len((await _send(client, queue_url))["Successful"]) == 3
    assert asyncio.get_running_loop().time() - began > 0.3


async def test_bandwidth_bounds_how_fast_an_answer_comes(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    aws.plan.next(_BATCH, faults.Bandwidth(5_000))
    began = asyncio.get_running_loop().time()
    await _send(client, queue_url)
    sent_bytes = len(aws.log[-1].answer)
    assert asyncio.get_running_loop().time() - began > sent_bytes / 5_000 * 0.8


async def test_a_client_that_leaves_a_trickle_harms_nobody(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    aws.plan.next(_BATCH, faults.Trickle(pause=0.01))
    sending = asyncio.create_task(_send(client, queue_url))
    await aws.arrival(_BATCH)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await _send(client, queue_url)
    assert [request.ending for request in aws.log] == ["open", "answered"]


async def test_closing_ends_those_that_hang_or_wait(client: Any, aws: AwsEndpoint, queue_url: str) -> None:
    aws.plan.next(_BATCH, faults.Hang(), Late(60), Late(60, before=True), faults.Trickle(pause=60))
    tasks = [asyncio.create_task(_send(client, queue_url)) for _ in range(4)]
    await aws.arrival(_BATCH, 4)
    await aws.aclose()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, HTTPClientError) for result in results)


async def test_what_was_not_applied_when_the_endpoint_closed_never_is(
    aws: AwsEndpoint, client: Any, queue_url: str
) -> None:
    aws.plan.next(_BATCH, Late(0.05, before=True))
    sending = asyncio.create_task(_send(client, queue_url))
    await aws.arrival(_BATCH)
    await aws.aclose()
    await asyncio.gather(sending, return_exceptions=True)
    await asyncio.sleep(0.1)
    assert _bodies(aws, queue_url) == []


async def test_faults_of_one_request_act_together(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    aws.plan.always(_BATCH, FailEntries(positions=[0]))
    aws.plan.next(_BATCH, faults.Drop(applied=True))
    with pytest.raises(ConnectionClosedError):
        await _send(client, queue_url)
    assert _bodies(aws, queue_url) == ["b", "c"]
    assert len(aws.log[0].faults) == 2


async def test_a_script_sees_the_request_and_decides(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    def only_singles(request: AwsRequest) -> Throttle | None:
        return Throttle() if len(request.entries) == 1 else None

    aws.plan.script(only_singles)
    await _send(client, queue_url, "a", "b")
    with pytest.raises(client.exceptions.RequestThrottled):
        await _send(client, queue_url, "a")


async def test_a_fault_can_be_a_function_of_ones_own(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    def add_header(turn: faults.Turn) -> None:
        turn.edits.append(lambda reply: reply.headers.update({"x-own": "1"}))

    aws.plan.next("*", add_header)
    answer = await _send(client, queue_url)
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-own"] == "1"


async def test_the_truth_of_the_log_is_the_truth_of_the_queue(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    for seed, fault in enumerate((FailEntries(0.3), faults.Drop(applied=True), Throttle(), faults.Omit(applied=False))):
        aws.plan.always(_BATCH, fault, probability=0.3, seed=seed)
    for _ in range(60):
        await asyncio.gather(_send(client, queue_url), return_exceptions=True)
    stored = [message.message_id for message in aws.sqs.messages(queue_url)]
    assert stored == [message_id for request in aws.log for message_id in request.applied.values()]
    assert {request.ending for request in aws.log} == {"answered", "dropped"}


async def test_a_log_entry_holds_what_the_client_saw(aws: AwsEndpoint, client: Any, queue_url: str) -> None:
    aws.plan.always(_BATCH, FailEntries(0.5), seed=3)
    for _ in range(10):
        answer = await _send(client, queue_url)
        answer.pop("ResponseMetadata")
        assert aws.log[-1].answered == answer
        assert list(aws.log[-1].applied) == _ids(answer, "Successful")
