"""The direct way held to botocore's own: signature, body, credentials, TLS; and when it leaves them to the client."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import UNSIGNED
from botocore.config import Config

from sinkwell.core import ConfigError, DeliveryError, Outcome, Policy
from sinkwell.sinks._aws_fit import NotDirectError, check_client, endpoint_for
from sinkwell.sinks._aws_signature import Credentials
from sinkwell.sinks.dynamodb import DynamoDBSink
from sinkwell.sinks.sns import SnsSink
from sinkwell.sinks.sqs import SqsSink
from sinkwell.sinks.testing import AwsEndpoint, Hang, Redirect


async def test_a_request_has_the_headers_that_the_client_sends(aws: AwsEndpoint, session: Any) -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            seen.append(head.lower())
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            body = b'{"Attributes": {"QueueArn": "a"}, "Successful": [{"Id": "0", "MessageId": "m"}]}'
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for transport in ("direct", "client"):
        async with SqsSink(f"{url}/1/orders", session=session, endpoint_url=url, transport=transport) as sink:
            await sink.put("a")
    server.close()
    ours, theirs = (
        {line.partition(b":")[0]: line for line in head.split(b"\r\n")[1:] if line}
        for head in seen
        if b"sendmessagebatch" in head
    )
    missing = set(theirs) - set(ours)
    assert missing == {b"amz-sdk-invocation-id", b"amz-sdk-request", b"accept"}
    for name in (b"x-amz-target", b"x-amzn-query-mode", b"content-type", b"host", b"accept-encoding"):
        assert ours[name] == theirs[name]
    for name in (b"authorization",):
        assert (
            ours[name].split(b"signedheaders=")[1].split(b",")[0]
            == theirs[name].split(b"signedheaders=")[1].split(b",")[0]
        )


@pytest.mark.parametrize(
    ("service", "operation"), [("sqs", "SendMessageBatch"), ("dynamodb", "BatchWriteItem"), ("sns", "PublishBatch")]
)
async def test_nothing_speaks_against_the_direct_way_with_a_plain_session(
    aws: AwsEndpoint, session: Any, service: str, operation: str
) -> None:
    # It fails when an upgrade of aiobotocore moves what `_aws_fit` reads, or adds an event handler.
    aws.dynamodb.create_table("orders")
    kinds: Any = {"sqs": (SqsSink, aws.sqs.create_queue("orders")), "dynamodb": (DynamoDBSink, "orders")}
    kinds["sns"] = (SnsSink, aws.sns.create_topic("events"))
    kind, name = kinds[service]
    async with kind(name, session=session, endpoint_url=aws.url, transport="direct") as sink:
        assert sink.transport == "direct"
        check_client(sink._destination._api, operation)
    assert kind(name, session=session, endpoint_url=aws.url).transport == "unopened"


def configured(**options: Any) -> Any:
    session = get_session()
    session.set_credentials("testing", "testing")
    session.set_default_client_config(AioConfig(**options))
    return session


@pytest.mark.parametrize("transport", ["direct", "client"])
async def test_a_redirect_is_not_followed_whatever_the_sessions_default_config(
    aws: AwsEndpoint, transport: Any
) -> None:
    # aiobotocore forgets the sink's HTTP session when it merges two configurations.
    session = configured(tcp_keepalive=True)
    options: Any = {"session": session, "endpoint_url": aws.url, "region_name": "us-east-1", "transport": transport}
    async with SqsSink(aws.sqs.create_queue("orders"), policy=Policy(on_unknown="fail"), **options) as sink:
        aws.plan.next("SendMessageBatch", Redirect())
        with pytest.raises(DeliveryError) as failed:
            await sink.put("a")
        assert failed.value.outcome is Outcome.UNKNOWN
        assert (await sink.put("b")).attempts == 1


async def test_a_default_config_that_aiobotocore_can_not_merge_is_refused(aws: AwsEndpoint) -> None:
    session = configured()
    session.set_default_client_config(Config(tcp_keepalive=True))
    with pytest.raises(ConfigError, match="AioConfig"):
        async with SqsSink(f"{aws.url}/1/orders", session=session, endpoint_url=aws.url, region_name="us-east-1"):
            pass


async def test_another_signature_is_left_to_the_client(aws: AwsEndpoint, session: Any) -> None:
    async with SqsSink(aws.sqs.create_queue("orders"), session=session, endpoint_url=aws.url) as sink:
        client = sink._destination._api
        operation = client.meta.service_model.operation_model("SendMessageBatch")
        for version in ("v4a", "bearer", UNSIGNED):

            async def choose(*_: object, version: object = version) -> object:
                return version

            client._request_signer._choose_signer = choose
            with pytest.raises(NotDirectError, match="signature version"):
                await endpoint_for(client, operation, {"QueueUrl": "q"})


async def test_a_proxy_is_left_to_the_client(aws: AwsEndpoint, session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    monkeypatch.setenv("NO_PROXY", "")
    sink = SqsSink(f"{aws.url}/1/orders", session=session, endpoint_url=aws.url)
    with contextlib.suppress(ConfigError):
        await sink.open()
    assert sink.transport == "client (there is a proxy on the way)"
    await sink.close()
    server.close()
    assert lines
    assert lines[0].startswith(b"POST " + aws.url.encode())


async def test_the_client_is_used_when_asked_for(aws: AwsEndpoint, session: Any) -> None:
    queue_url = aws.sqs.create_queue("orders")
    async with SqsSink(queue_url, session=session, endpoint_url=aws.url, transport="client") as sink:
        await sink.put("a")
        assert sink.transport == "client (asked for)"
    with pytest.raises(ConfigError, match='"auto", "direct" or "client"'):
        SqsSink(queue_url, transport="fast")  # type: ignore[arg-type]


async def test_credentials_that_are_renewed_are_used_from_then_on(aws: AwsEndpoint, session: Any) -> None:
    async with SqsSink(aws.sqs.create_queue("orders"), session=session, endpoint_url=aws.url) as sink:
        await sink.put("a")
        direct = sink._destination._way.direct
        renewed = SimpleNamespace(access_key="NEW", secret_key="s2", token="t2")

        async def frozen() -> Any:
            return renewed

        direct._credentials = SimpleNamespace(get_frozen_credentials=frozen)
        await sink.put("b")
        assert direct._usable == Credentials("NEW", "s2", "t2")
        assert "s2" not in repr(direct._usable) + repr(direct)


async def test_close_with_a_request_on_the_way_leaves_no_task_and_no_connection(aws: AwsEndpoint, session: Any) -> None:
    policy = Policy(attempt_timeout=5.0)
    before = asyncio.all_tasks()
    sink = SqsSink(aws.sqs.create_queue("orders"), session=session, endpoint_url=aws.url, policy=policy)
    await sink.open()
    aws.plan.always("SendMessageBatch", Hang())
    sink.put_nowait("a")
    await asyncio.sleep(0.05)
    (pool,) = sink._destination._way.direct._pools.values()
    await sink.close(timeout=0.1)
    assert not pool._open
    assert asyncio.all_tasks() == before
