"""What a server, or whoever stands before it, may send to the direct way; and what the session may do under it."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.session import get_session

from sinkwell.core import DeliveryError, Outcome, Policy
from sinkwell.sinks._aws_fit import endpoint_for
from sinkwell.sinks.dynamodb import DynamoDBSink
from sinkwell.sinks.sns import SnsSink
from sinkwell.sinks.sqs import SqsSink
from tests.faults import FaultProxy

if TYPE_CHECKING:
    from sinkwell.sinks.testing import AwsEndpoint

ONCE = Policy(attempt_timeout=2.0, on_unknown="fail")
GOOD = b'{"Attributes": {"QueueArn": "a"}, "Successful": [{"Id": "0", "MessageId": "m"}]}'


def answer(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *headers, b"", body])


BOMB = gzip.compress(b" " * 50_000_000)
HOSTILE = {
    "10 GB told": (answer(b"{", b"Content-Length: 10000000000"), b""),
    "10 GB in one chunk": (answer(b"", b"Transfer-Encoding: chunked") + b"2540be400\r\n", b""),
    "chunks without end": (answer(b"", b"Transfer-Encoding: chunked"), b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "a body without end": (answer(b"{"), b"x" * 4096),
    "headers without end": (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 500),
    "interim answers without end": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
    "a gzip bomb": (answer(BOMB, b"Content-Encoding: gzip", b"Content-Length: %d" % len(BOMB)), b""),
    "gzip unasked": (answer(gzip.compress(GOOD), b"Content-Encoding: gzip"), b""),
}


async def serve(first: bytes, forever: bytes) -> asyncio.Server:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
        if b"sendmessagebatch" not in head:
            writer.write(answer(GOOD, b"Content-Length: %d" % len(GOOD), b"Connection: close"))
        else:
            writer.write(first)
            while forever and not writer.is_closing():
                writer.write(forever)
                await writer.drain()
        writer.close()

    return await asyncio.start_server(handle, "127.0.0.1", 0)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("transport", ["direct", "client"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_hostile_answer_ends_soon_within_bounds_and_without_a_receipt(
    session: Any, transport: Any, name: str
) -> None:
    server = await serve(*HOSTILE[name])
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    options: Any = {"session": session, "endpoint_url": url, "policy": ONCE, "transport": transport}
    async with SqsSink(f"{url}/1/orders", **options) as sink:
        tracemalloc.start()
        with pytest.raises(DeliveryError) as failed:
            await sink.put("a")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    server.close()
    assert failed.value.outcome is Outcome.UNKNOWN
    assert peak < 12_000_000


async def test_an_answer_cut_on_the_way_is_unknown_and_the_next_request_is_answered(
    aws: AwsEndpoint, session: Any
) -> None:
    queue_url = aws.sqs.create_queue("orders")
    host, port = aws.url.removeprefix("http://").split(":")
    async with FaultProxy.to(host, int(port)) as proxy:
        options: Any = {
            "session": session,
            "endpoint_url": f"http://{proxy.host}:{proxy.port}",
            "policy": ONCE,
            "transport": "direct",
        }
        async with SqsSink(queue_url, **options) as sink:
            for place in range(0, 270, 30):
                proxy.down.cut_after(place)
                with pytest.raises(DeliveryError) as failed:
                    await sink.put("a")
                assert failed.value.outcome is Outcome.UNKNOWN
                proxy.heal()
                assert (await sink.put("b")).attempts == 1


async def test_credentials_of_a_provider_are_renewed_before_they_expire(aws: AwsEndpoint) -> None:
    made: list[str] = []

    async def renew() -> dict[str, str]:
        made.append(f"KEY{len(made)}")
        expires = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
        return {"access_key": made[-1], "secret_key": "s", "token": "t", "expiry_time": expires}

    session = get_session()
    session._credentials = AioRefreshableCredentials.create_from_metadata(
        await renew(), refresh_using=renew, method="test"
    )
    options: Any = {"session": session, "endpoint_url": aws.url, "region_name": "us-east-1", "transport": "direct"}
    async with SqsSink(aws.sqs.create_queue("orders"), **options) as sink:
        await sink.put("a")
        first = sink._destination._way.direct._usable
        await sink.put("b")
        assert sink._destination._way.direct._usable != first
        assert sink._destination._way.direct._usable.access_key == made[-1]


async def test_an_account_of_its_own_has_the_endpoint_that_botocore_gives_it() -> None:
    session = get_session()
    session.set_credentials("a", "b", account_id="123456789012")
    async with session.create_client("dynamodb", region_name="us-east-1") as client:
        operation = client.meta.service_model.operation_model("BatchWriteItem")
        endpoint = await endpoint_for(client, operation, {"RequestItems": {"orders": []}})
    assert endpoint.url.rstrip("/") == "https://123456789012.ddb.us-east-1.amazonaws.com"


async def test_the_way_is_a_setting_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"SQS_QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/1/q", "DYNAMODB_TABLE_NAME": "orders"}
    names["SNS_TOPIC_ARN"] = "arn:aws:sns:us-east-1:123456789012:events"
    for name, value in names.items():
        monkeypatch.setenv(f"SINKWELL_{name}", value)
        monkeypatch.setenv(f"SINKWELL_{name.partition('_')[0]}_TRANSPORT", "client")
    for kind in (SqsSink, DynamoDBSink, SnsSink):
        destination: Any = kind.from_env(None)._destination
        assert destination._way._wanted == "client"
