"""What is wrong before the first message: endpoints, credentials, queues, variables. And what must never be shown."""

from __future__ import annotations

import asyncio
import io
import logging
import pickle
import ssl
import subprocess
import traceback
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from aiobotocore.session import get_session

from sinkwell.core import Adaptive, ConfigError, DeliveryError, Policy, RecordTooLarge
from sinkwell.sinks._aws import check_endpoint, refuse_metadata_addresses
from sinkwell.sinks.sqs import SqsMessage, SqsSink
from sinkwell.sinks.testing import (
    AccessDenied,
    AwsEndpoint,
    Drop,
    EmptyAnswer,
    ExpiredToken,
    Garbage,
    Hang,
    QueueGone,
    Refuse,
    ServerError,
    Throttle,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY, SECRET, TOKEN, BODY = "AKIACANARYKEY", "canary-secret", "canary-token", "canary-body"
QUICK = Policy(attempt_timeout=0.2, delivery_timeout=0.6)


async def opening_fails(queue_url: str, **options: Any) -> pytest.ExceptionInfo[ConfigError]:
    with pytest.raises(ConfigError) as refused:
        async with SqsSink(queue_url, **({"region_name": "us-east-1"} | options)):
            pass
    return refused


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (QueueGone(), r"SQS queue 'orders' can't be used \(NonExistentQueue\)"),
        (AccessDenied(), r"can't be used \(AccessDenied\)"),
        (ExpiredToken(), "the credentials are refused; renew them"),
        (Refuse("InvalidClientTokenId"), "the credentials are refused"),
        (Refuse("InvalidSecurity"), "InvalidSecurity"),
    ],
)
async def test_what_a_person_must_mend_is_told_when_the_sink_opens(
    aws: AwsEndpoint, session: Any, fault: Any, sentence: str
) -> None:
    queue_url = aws.sqs.create_queue("orders")
    aws.plan.next("GetQueueAttributes", fault)
    error = await opening_fails(queue_url, session=session, endpoint_url=aws.url)
    error.match(sentence)


@pytest.mark.parametrize(
    "fault",
    [Throttle(), ServerError(500), ServerError(503), Drop(), Hang(), EmptyAnswer(), Garbage(b'{"Attributes": {}}')],
)
async def test_a_queue_that_is_only_busy_at_the_start_is_read_by_the_first_write(
    aws: AwsEndpoint, session: Any, fault: Any
) -> None:
    queue_url = aws.sqs.create_queue("small", MaximumMessageSize="1024")
    aws.plan.next("GetQueueAttributes", fault)
    policy = Policy(attempt_timeout=0.3)
    async with SqsSink(queue_url, session=session, endpoint_url=aws.url, policy=policy) as sink:
        await sink.put("a")
        with pytest.raises(RecordTooLarge, match="1,024"):
            sink.put("x" * 1025)
    assert [message.body for message in aws.sqs.messages(queue_url)] == ["a"]


async def test_a_standard_queue_is_not_asked_for_what_only_fifo_queues_have(aws: AwsEndpoint, session: Any) -> None:
    # SQS refuses to answer at all if it is: "Unknown Attribute".
    for name in ("orders", "orders.fifo"):
        async with SqsSink(aws.sqs.create_queue(name), session=session, endpoint_url=aws.url):
            pass
    standard, fifo = (request.document["AttributeNames"] for request in aws.requests("GetQueueAttributes"))
    assert standard == ["QueueArn", "MaximumMessageSize"]
    assert fifo == [*standard, "ContentBasedDeduplication"]


async def test_an_endpoint_out_of_reach_is_told_when_the_sink_opens(session: Any) -> None:
    async with AwsEndpoint() as gone:
        url = gone.url
    error = await opening_fails(f"{url}/1/orders", session=session, endpoint_url=url)
    error.match(r"SQS queue 'orders': could not be reached .*: check endpoint_url")


async def test_no_credentials_and_no_region_are_told_in_one_sentence(
    aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    url = f"{aws.url}/1/orders"
    (await opening_fails(url, endpoint_url=aws.url)).match("no AWS credentials")
    (await opening_fails(url, endpoint_url=aws.url, region_name=None)).match("no AWS region")
    (await opening_fails(url, endpoint_url=aws.url, session=7)).match("session=")
    (await opening_fails(url, endpoint_url=aws.url, region_name="not a region")).match("no sqs client can be made")


async def test_a_certificate_that_is_not_to_be_trusted_stops_the_sink(session: Any, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)  # noqa: ASYNC221 - a moment
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    async with server:
        error = await opening_fails(f"{url}/1/orders", session=session, endpoint_url=url)
    error.match("certificate")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com",
        "http://10.0.0.1:4566",
        "ftp://localhost",
        "localhost:4566",
        "https://",
        "https://user:canary-secret@example.com",
        "https://169.254.169.254",
        "https://0xa9fea9fe",
        "https://2852039166",
        "https://0251.0376.0251.0376",
        "https://169.254.43518",
        "https://[::ffff:169.254.169.254]",
        "https://[fd00:ec2::254]",
        "https://[fe80::1%25eth0]",
        "https://0.0.0.0",
        "https://[bad",
        "https://host:port",
    ],
)
def test_an_endpoint_that_could_leak_credentials_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="endpoint_url") as refused:
        check_endpoint(url, allow_http=False)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "allow_http"),
    [
        ("https://sqs.eu-west-1.amazonaws.com", False),
        ("http://localhost:4566", False),
        ("http://sqs.eu-west-1.localhost:4566", False),
        ("http://127.0.0.1:4566", False),
        ("http://[::1]:4566", False),
        ("http://localstack:4566", True),
        ("https://feed.ac", False),
    ],
)
def test_an_endpoint_is_https_or_on_this_machine_or_allowed(url: str, allow_http: bool) -> None:
    assert check_endpoint(url, allow_http=allow_http).hostname


async def test_a_name_that_stands_for_a_metadata_service_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object, **__: object) -> list[Any]:
        return [(2, 1, 6, "", ("93.184.216.34", 443)), (2, 1, 6, "", ("169.254.169.254", 443))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    with pytest.raises(ConfigError, match="metadata"):
        await refuse_metadata_addresses(check_endpoint("https://innocent.example", allow_http=False))


async def test_a_name_that_no_one_knows_is_told_by_the_first_call(session: Any) -> None:
    url = "https://no-such-host.invalid"
    (await opening_fails(f"{url}/1/orders", session=session, endpoint_url=url)).match("could not be reached")


async def test_an_endpoint_from_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch, session: Any) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://169.254.169.254")
    (await opening_fails("https://sqs.us-east-1.amazonaws.com/1/orders", session=session)).match("metadata")


async def test_the_region_is_the_one_in_the_queues_url(monkeypatch: pytest.MonkeyPatch) -> None:
    regions: list[object] = []
    session = get_session()
    make = session.create_client

    def create_client(name: str, **options: object) -> object:
        regions.append(options["region_name"])
        return make(name, **options)

    monkeypatch.setattr(session, "create_client", create_client)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://169.254.169.254")
    for url in ("https://sqs.ap-south-2.amazonaws.com/1/q", "https://us-gov-west-1.queue.amazonaws.com/1/q"):
        await opening_fails(url, session=session, region_name=None)
    await opening_fails("https://sqs.ap-south-2.amazonaws.com/1/q", session=session, region_name="us-west-2")
    assert regions == ["ap-south-2", "us-gov-west-1", "us-west-2"]


@pytest.mark.parametrize("concurrency", [3, Adaptive(1, 3)])
async def test_the_client_retries_nothing_and_has_a_connection_for_each_request(
    aws: AwsEndpoint, session: Any, concurrency: Any
) -> None:
    queue_url = aws.sqs.create_queue("orders")
    policy = Policy(concurrency=concurrency, attempt_timeout=7.0)
    async with SqsSink(queue_url, session=session, endpoint_url=aws.url, policy=policy) as sink:
        config = sink._destination._api.meta.config  # type: ignore[attr-defined]
    assert config.max_pool_connections == 3
    assert config.retries == {"total_max_attempts": 1, "mode": "standard"}
    assert (config.connect_timeout, config.read_timeout) == (7.0, 7.0)


async def test_no_text_of_ours_ever_shows_a_secret_or_a_body(
    aws: AwsEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="sinkwell")
    session = aioboto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, aws_session_token=TOKEN)
    queue_url = aws.sqs.create_queue("orders")
    quoting = f"The Canonical String should have been 'x-amz-security-token:{TOKEN}'"
    faults = [Drop(), Drop(resets=True), Hang(), ServerError(500), Throttle(), AccessDenied(), EmptyAnswer()]
    faults += [Refuse("SignatureDoesNotMatch", quoting, 403), Refuse("InvalidParameterValue")]
    shown = io.StringIO()
    for fault in faults:
        sink = SqsSink(queue_url, session=session, endpoint_url=aws.url, region_name="us-east-1", policy=QUICK)
        async with sink:
            aws.plan.always("SendMessageBatch", fault)
            with pytest.raises(DeliveryError) as failed:
                await sink.put(SqsMessage(BODY, {"k": BODY}))
        aws.plan.clear()
        report = traceback.TracebackException.from_exception(failed.value, capture_locals=True)
        frames = [frame for frame in report.stack if __file__ not in frame.filename]
        cause = report.__cause__
        while cause is not None:
            assert not cause.stack, "foreign frames hold signed requests"
            cause = cause.__cause__ or cause.__context__
        print(sink, sink.stats(), failed.value, repr(failed.value), sink._destination, file=shown)
        print([frame.locals for frame in frames], failed.value.__cause__.__dict__, file=shown)
        print(
            repr(failed.value.__cause__.__cause__), vars(failed.value.__cause__.__cause__ or ConfigError()), file=shown
        )
        print(pickle.dumps(failed.value.__cause__.args), file=shown)
    text = shown.getvalue() + caplog.text
    assert "canary" not in text
    assert KEY not in text


def test_from_env_reads_its_variables_and_the_policys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINKWELL_SQS_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/orders.fifo")
    monkeypatch.setenv("SINKWELL_SQS_STRICT_ORDER", "false")
    monkeypatch.setenv("SINKWELL_SQS_LINGER", "0.25")
    monkeypatch.setenv("SINKWELL_SQS_ENDPOINT_URL", "http://localhost:4566")
    monkeypatch.setenv("SINKWELL_SQS_REGION_NAME", "eu-west-1")
    sink = SqsSink.from_env(env_file=None)
    assert "sqs:orders.fifo" in repr(sink)
    destination: Any = sink._destination
    assert sink._policy.linger == 0.25
    assert destination.limits.keys_repeat
    assert destination._settings.endpoint_url == "http://localhost:4566"
    assert destination._settings.region_name == "eu-west-1"


def test_from_env_refuses_a_missing_queue_and_a_misspelt_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="SINKWELL_SQS_QUEUE_URL is not set"):
        SqsSink.from_env(env_file=None)
    monkeypatch.setenv("SINKWELL_SQS_QUEU_URL", "https://sqs.eu-west-1.amazonaws.com/1/orders")
    with pytest.raises(ConfigError, match="did you mean SINKWELL_SQS_QUEUE_URL"):
        SqsSink.from_env(env_file=None)
