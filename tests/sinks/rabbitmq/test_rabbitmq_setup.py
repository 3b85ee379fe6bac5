"""TLS, variables, the page's example: what is settled before the first message."""

from __future__ import annotations

import ast
import inspect
import ssl
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import ConfigError
from sinkwell.sinks.rabbitmq import RabbitMQSink
from tests.sinks.rabbitmq.fake_broker import FakeBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sinks.rabbitmq.conftest import Broker

PAGE = Path(__file__).parents[3] / "docs" / "sinks" / "rabbitmq.md"


@pytest.fixture
def certified(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate that no system trusts, and its key."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    named = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*made, *named, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
async def encrypted(certified: tuple[Path, Path]) -> AsyncIterator[tuple[str, Path]]:
    """A broker that speaks TLS: its address, and its certificate."""
    certificate, key = certified
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    fake = await FakeBroker().start(context)
    yield fake.url.replace("amqp:", "amqps:").replace("127.0.0.1", "localhost"), certificate
    await fake.stop()


async def test_a_certificate_that_nobody_vouches_for_is_refused(encrypted: tuple[str, Path], make_sink: Any) -> None:
    with pytest.raises(ConfigError, match="certificate verify failed"):
        async with make_sink(encrypted[0]):
            pass


async def test_a_certificate_for_another_host_is_refused(encrypted: tuple[str, Path], make_sink: Any) -> None:
    url, certificate = encrypted
    trusting = ssl.create_default_context(cafile=str(certificate))
    with pytest.raises(ConfigError, match="certificate verify failed"):
        async with make_sink(url.replace("localhost", "127.0.0.1"), tls=trusting):
            pass


async def test_a_certificate_that_the_caller_trusts_is_taken(encrypted: tuple[str, Path], make_sink: Any) -> None:
    url, certificate = encrypted
    async with make_sink(url, "", "q", tls=ssl.create_default_context(cafile=str(certificate))) as sink:
        assert (await sink.put("x")).attempts == 1
    async with make_sink(f"{url}?cafile={certificate}", "", "q") as sink:
        assert (await sink.put("x")).attempts == 1


async def test_from_env_reads_all_that_the_constructor_takes(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    queue = await broker.queue()
    monkeypatch.chdir(tmp_path)
    for name, value in {"URL": broker.url, "ROUTING_KEY": queue, "ORDERED": "true", "LINGER": "0.01"}.items():
        monkeypatch.setenv(f"SINKWELL_RABBITMQ_{name}", value)
    async with RabbitMQSink.from_env() as sink:
        await sink.put_many(["1", "2", "3"])
    assert await broker.bodies(queue) == [b"1", b"2", b"3"]


def test_a_variable_that_is_missing_or_misspelt_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="SINKWELL_RABBITMQ_URL is not set"):
        RabbitMQSink.from_env()
    monkeypatch.setenv("SINKWELL_RABBITMQ_URL", "amqp://u:canary@h/")
    monkeypatch.setenv("SINKWELL_RABBITMQ_EXCANGE", "x")
    with pytest.raises(ConfigError, match="did you mean SINKWELL_RABBITMQ_EXCHANGE") as caught:
        RabbitMQSink.from_env()
    assert "canary" not in repr(caught.value)


async def test_the_example_on_the_page_runs_as_it_stands(broker: Broker) -> None:
    example = PAGE.read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    channel = await broker.channel()
    await channel.exchange_declare("orders", exchange_type="topic", durable=True)
    queue = await broker.queue()
    await broker.bind(queue, "orders", "order.*")
    code = example.replace("amqp://writer:secret@localhost/", broker.url)
    names: dict[str, Any] = {}
    running = eval(compile(code, str(PAGE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    assert inspect.isawaitable(running)
    await running
    assert names["receipt"].attempts == 1
    assert await broker.bodies(queue) == [b'{"order":7}', b"\x00\x01", b"later"]
