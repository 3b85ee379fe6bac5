"""The direct way held to botocore's own: signature, body, credentials, TLS; and when it leaves them to the client."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import logging
import ssl
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import UNSIGNED, auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkwell.core import ConfigError, DeliveryError, Outcome, Policy
from sinkwell.sinks._aws_answer import AnswerReader, UnreadableError
from sinkwell.sinks._aws_fit import NotDirectError, check_client, endpoint_for
from sinkwell.sinks._aws_signature import Credentials, Signer
from sinkwell.sinks._dynamodb_record import Put, encode_put, request_body
from sinkwell.sinks._dynamodb_table import KeyAttribute, Table
from sinkwell.sinks._sqs_destination import _body as sqs_body
from sinkwell.sinks._sqs_message import Queue, encode_message
from sinkwell.sinks.dynamodb import DynamoDBSink
from sinkwell.sinks.sqs import SqsMessage, SqsSink
from sinkwell.sinks.testing import AwsEndpoint, Hang, Redirect, Refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SERIALIZER = create_serializer("json")
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
AT = dt.datetime(2026, 11, 21, 12, 0, 1)  # noqa: DTZ001 - botocore's own form of it


@pytest.fixture
async def aws() -> AsyncIterator[AwsEndpoint]:
    async with AwsEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def session() -> aioboto3.Session:
    return aioboto3.Session(**KEYS, region_name="us-east-1")


@settings(deadline=None)
@given(WORDS, WORDS, st.none() | WORDS, st.binary(max_size=200), st.sampled_from(["/", "/base", "/a/b~c/"]))
def test_a_signature_is_the_one_that_botocore_makes(
    access: str, secret: str, token: str | None, body: bytes, path: str
) -> None:
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessageBatch"}
    request = AWSRequest("POST", f"https://sqs.eu-west-1.amazonaws.com{path}", dict(headers), body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda: AT)
        auth.SigV4Auth(ReadOnlyCredentials(access, secret, token), "sqs", "eu-west-1").add_auth(request)
    ours = headers | {"host": "sqs.eu-west-1.amazonaws.com", "x-amz-date": "20261121T120001Z"}
    ours |= {"x-amz-security-token": token} if token else {}
    signer = Signer("eu-west-1", "sqs")
    for _ in range(2):  # with the key just made, and with the one that was kept
        made = signer.authorization(
            Credentials(access, secret, token), "20261121T120001Z", path, sorted(ours.items()), body
        )
        assert made == request.headers["Authorization"]


def test_the_kept_key_is_of_its_day_and_its_secret_only() -> None:
    signer = Signer("eu-west-1", "sqs")
    made = [
        signer.authorization(Credentials("a", secret, None), at, "/", [("host", "h")], b"")
        for secret, at in (("s", "20261121T235959Z"), ("s", "20261122T000000Z"), ("t", "20261122T000000Z"))
    ]
    assert len({one.rpartition("=")[2] for one in made}) == 3


BODIES = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('"\\\n\té😀'), min_size=1).filter(
    lambda text: not set(text) & {"\ufffe", "\uffff"}
)
MESSAGES = st.builds(
    SqsMessage, BODIES, st.none() | st.dictionaries(st.sampled_from("abc"), BODIES | st.binary(min_size=1))
)


def serialized(service: str, operation: str, parameters: dict[str, Any]) -> Any:
    model = ServiceModel(Loader().load_service_model(service, "service-2")).operation_model(operation)
    return json.loads(SERIALIZER.serialize_to_request(parameters, model)["body"])


@settings(deadline=None)
@given(st.lists(MESSAGES, min_size=1, max_size=10))
def test_an_sqs_body_is_the_one_that_botocore_makes(messages: list[SqsMessage]) -> None:
    queue = Queue.read("https://sqs.eu-west-1.amazonaws.com/1/örders", {})
    payloads = [encode_message(message, queue).payload for message in messages]
    entries = [{"Id": str(place), **payload.fields} for place, payload in enumerate(payloads)]
    theirs = serialized("sqs", "SendMessageBatch", {"QueueUrl": queue.url, "Entries": entries})
    assert json.loads(sqs_body(queue.url, payloads)) == theirs
    assert [entry["MessageBody"] for entry in theirs["Entries"]] == [message.body for message in messages]


VALUES = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(10**20), 10**20) | st.binary() | st.booleans()
    | st.none() | st.sets(st.binary(), min_size=1, max_size=3) | st.sets(st.integers(-99, 99), min_size=1, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["B", "BS", "é"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["B", "S", "é", "x"]), VALUES), min_size=1, max_size=4))
def test_a_dynamodb_body_is_the_one_that_botocore_makes_to_the_byte(items: list[dict[str, Any]]) -> None:
    table = Table("orders", (KeyAttribute("id", "S", 2048),))
    writes = [encode_put(Put(item | {"id": "k"}), table, "refuse").payload for item in items]
    model = ServiceModel(Loader().load_service_model("dynamodb", "service-2")).operation_model("BatchWriteItem")
    asked: dict[str, Any] = {"RequestItems": {"orders": [write.request for write in writes]}}
    for counts in (False, True):
        asked |= {"ReturnConsumedCapacity": "TOTAL"} if counts else {}
        body = SERIALIZER.serialize_to_request(asked, model)["body"]
        assert request_body({"orders": writes}, counts_capacity=counts) == body


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


@pytest.mark.parametrize(("service", "operation"), [("sqs", "SendMessageBatch"), ("dynamodb", "BatchWriteItem")])
async def test_nothing_speaks_against_the_direct_way_with_a_plain_session(
    aws: AwsEndpoint, session: Any, service: str, operation: str
) -> None:
    # It fails when an upgrade of aiobotocore moves what `_aws_fit` reads, or adds an event handler.
    aws.dynamodb.create_table("orders")
    kinds: Any = {"sqs": (SqsSink, aws.sqs.create_queue("orders")), "dynamodb": (DynamoDBSink, "orders")}
    kind, name = kinds[service]
    async with kind(name, session=session, endpoint_url=aws.url, transport="direct") as sink:
        assert sink.transport == "direct"
        check_client(sink._destination._api, operation)
    assert kind(name, session=session, endpoint_url=aws.url).transport == "unopened"


def handled(event: str) -> Any:
    session = get_session()
    session.set_credentials("testing", "testing")
    session.register(event, lambda **_: None)
    return session


def configured(**options: Any) -> Any:
    session = get_session()
    session.set_credentials("testing", "testing")
    session.set_default_client_config(AioConfig(**options))
    return session


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: handled("before-send.sqs"), "an event handler is registered"),
        (lambda: handled("before-call.sqs.SendMessageBatch"), "an event handler is registered"),
        (lambda: handled("choose-signer.sqs"), "an event handler is registered"),
        (lambda: configured(signature_version=UNSIGNED), "the signature version is none, not v4"),
        (lambda: configured(connector_args={"use_dns_cache": False}), "connector_args are set"),
    ],
)
async def test_what_only_the_client_does_is_left_to_it_and_said(
    aws: AwsEndpoint, make: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="sinkwell")
    options: Any = {"session": make(), "endpoint_url": aws.url, "region_name": "us-east-1"}
    queue_url = aws.sqs.create_queue("orders")
    with pytest.raises(ConfigError, match=f'transport="direct" is not possible: .*{reason}'):
        async with SqsSink(queue_url, transport="direct", **options):
            pass
    sink = SqsSink(queue_url, **options)
    with contextlib.suppress(ConfigError):  # the proxy is not there
        await sink.open()
    assert sink.transport.startswith("client (")
    assert reason in sink.transport
    assert reason in caplog.text
    await sink.close()


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


async def test_a_clock_that_is_wrong_is_set_by_the_servers(aws: AwsEndpoint, session: Any) -> None:
    async with SqsSink(aws.sqs.create_queue("orders"), session=session, endpoint_url=aws.url) as sink:
        direct = sink._destination._way.direct
        answer = SimpleNamespace(
            status=403, headers={"date": "Sat, 21 Nov 2099 12:00:00 GMT"}, body=b"RequestTimeTooSkewed"
        )
        direct._learn_the_time(answer)
        assert direct._now().startswith("20991121T")
        aws.plan.next("SendMessageBatch", Refuse("RequestTimeTooSkewed", status=403))
        assert (await sink.put("a")).attempts == 2


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return key, made


async def tls_server(key: Path, certificate: Path, seen: list[bytes]) -> asyncio.Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        body = b'{"Attributes": {"QueueArn": "a"}, "Successful": [{"Id": "0", "MessageId": "m"}]}'
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)


async def test_the_users_own_authority_is_trusted_for_its_hosts_only(
    certificate: tuple[Path, Path], session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[1]))
    seen: list[bytes] = []
    server = await tls_server(*certificate, seen)
    port = server.sockets[0].getsockname()[1]
    for transport in ("direct", "client"):
        url = f"https://localhost:{port}"
        async with SqsSink(f"{url}/1/q", session=session, endpoint_url=url, transport=transport) as sink:
            assert (await sink.put("a")).message_id == "m"
        url = f"https://127.0.0.1:{port}"  # for which the certificate is not
        with pytest.raises(ConfigError, match="certificate"):
            async with SqsSink(f"{url}/1/q", session=session, endpoint_url=url, transport=transport):
                pass
    server.close()
    assert len([head for head in seen if b"SendMessageBatch" in head]) == 2


def read(data: bytes, most: int = 1000) -> Any:
    """Read an answer whole, and the same byte by byte: both must come to the same."""
    results = []
    for pieces in ([data], [data[place : place + 1] for place in range(len(data))]):
        reader, answer = AnswerReader(most), None
        try:
            for piece in pieces:
                answer = answer or reader.feed(piece)
            results.append(answer or reader.ended())
        except UnreadableError:
            results.append("unreadable")
    assert results[0] == results[1]
    return results[0]


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n", b"{}"),
        (b"HTTP/1.1 503 Gone\r\n\r\nsorry", b"sorry"),
        (b"HTTP/1.1 204 None\r\n\r\n", b""),
    ],
)
def test_an_answer_is_read_however_it_comes(data: bytes, body: bytes) -> None:
    assert read(data).body == body


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200\r\n\r\n",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 40_000,
    ],
)
def test_an_answer_that_is_not_plain_http_or_too_large_is_not_read(data: bytes) -> None:
    assert read(data) == "unreadable"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"",
    ],
)
def test_an_answer_cut_short_is_none(data: bytes) -> None:
    assert read(data) is None


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
