"""What is wrong before the first message, where only SQS is asked: endpoints, certificates, queues."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import ConfigError
from sinkwell.sinks._aws import check_endpoint, refuse_metadata_addresses
from sinkwell.sinks.sqs import SqsSink

if TYPE_CHECKING:
    from pathlib import Path

    from sinkwell.sinks.testing import AwsEndpoint


async def opening_fails(queue_url: str, **options: Any) -> pytest.ExceptionInfo[ConfigError]:
    with pytest.raises(ConfigError) as refused:
        async with SqsSink(queue_url, **({"region_name": "us-east-1"} | options)):
            pass
    return refused


async def test_a_standard_queue_is_not_asked_for_what_only_fifo_queues_have(aws: AwsEndpoint, session: Any) -> None:
    # SQS refuses to answer at all if it is: "Unknown Attribute".
    for name in ("orders", "orders.fifo"):
        async with SqsSink(aws.sqs.create_queue(name), session=session, endpoint_url=aws.url):
            pass
    standard, fifo = (request.document["AttributeNames"] for request in aws.requests("GetQueueAttributes"))
    assert standard == ["QueueArn", "MaximumMessageSize"]
    assert fifo == [*standard, "ContentBasedDeduplication"]


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


async def test_a_region_that_is_none_is_told_in_one_sentence(aws: AwsEndpoint, session: Any) -> None:
    error = await opening_fails(
        f"{aws.url}/1/orders", session=session, endpoint_url=aws.url, region_name="not a region"
    )
    error.match("no sqs client can be made")


async def test_a_name_that_no_one_knows_is_told_by_the_first_call(session: Any) -> None:
    url = "https://no-such-host.invalid"
    (await opening_fails(f"{url}/1/orders", session=session, endpoint_url=url)).match("could not be reached")
