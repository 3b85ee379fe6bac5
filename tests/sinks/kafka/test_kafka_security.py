"""Getting in, being kept out, and telling nobody the password."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from sinkwell.core import ConfigError, DeliveryRejected, Outcome, Policy
from sinkwell.sinks._kafka_security import Security, parse_servers
from sinkwell.sinks.kafka import KafkaRecord, KafkaSink, SaslPassword, SaslToken
from tests.sinks.kafka.fake_broker import FakeBroker, Fault

if TYPE_CHECKING:
    from tests.servers import KafkaServer
    from tests.sinks.kafka.conftest import Broker

# How every TLS connection begins: a record of type 22, version 3.x.
TLS_HANDSHAKE = b"\x16\x03"


def unsigned_token(subject: str) -> str:
    def part(content: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part({'sub': subject, 'iat': 1_500_000_000, 'exp': 4_000_000_000})}."


async def async_token() -> str:
    return unsigned_token("writer")


def password_of(server: KafkaServer, mechanism: Any = "SCRAM-SHA-512") -> SaslPassword:
    return SaslPassword(server.username, server.password, mechanism)


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "token", "async token"])
async def test_each_way_to_prove_who_one_is_lets_in_over_verified_tls(kafka: Broker, how: str) -> None:
    topic = await kafka.topic()
    ways = {"token": SaslToken(lambda: unsigned_token("writer")), "async token": SaslToken(async_token)}
    sasl = ways.get(how) or password_of(kafka.server, how)
    async with kafka.sink(topic, at=kafka.server.secured, tls=kafka.server.trust(), sasl=sasl) as sink:
        await sink.put(how)
    assert [record.value for record in await kafka.holds(topic)] == [how.encode()]


async def test_a_login_that_counts_for_a_while_only_is_renewed_before_it_costs_an_attempt(kafka: Broker) -> None:
    topic = await kafka.topic()
    server, policy = kafka.server, Policy(max_attempts=1)
    sasl = password_of(server, "SCRAM-SHA-256")
    async with kafka.sink(topic, at=server.secured, tls=server.trust(), sasl=sasl, policy=policy) as sink:
        await sink.put("first")
        await asyncio.sleep(server.login_ms / 1000)
        await sink.put("second")
    assert [record.value for record in await kafka.holds(topic)] == [b"first", b"second"]


async def test_a_certificate_that_nobody_vouches_for_is_refused(kafka: Broker) -> None:
    context = ssl.create_default_context()
    with pytest.raises(ConfigError, match="CERTIFICATE_VERIFY_FAILED"):
        async with kafka.sink("t", at=kafka.server.secured, tls=context, sasl=password_of(kafka.server)):
            pass


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_told_when_the_sink_opens_and_shown_nowhere(
    kafka: Broker, mechanism: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sasl = SaslPassword("writer", "canary-word", mechanism)
    sink = kafka.sink("t", at=kafka.server.secured, tls=kafka.server.trust(), sasl=sasl)
    with pytest.raises(ConfigError, match="Authentication") as caught:
        await sink.open()
    await sink.close()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    for text in (shown, caplog.text, repr(sink), repr(sasl), repr(vars(sink)), repr(sink._destination)):
        assert "canary-word" not in text


async def test_a_token_callable_that_fails_is_told_when_the_sink_opens(kafka: Broker) -> None:
    def broken() -> str:
        raise RuntimeError("canary-word")

    sink = kafka.sink("t", at=kafka.server.secured, tls=kafka.server.trust(), sasl=SaslToken(broken))
    with pytest.raises(ConfigError, match=r"SaslToken failed \(RuntimeError\)") as caught:
        await sink.open()
    await sink.close()
    assert "canary-word" not in str(caught.value)


async def test_a_listener_of_another_kind_is_told_with_what_to_look_at(kafka: Broker) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"at": kafka.server.secured}, "this sink speaks no TLS and no SASL"),
        ({"sasl": password_of(kafka.server)}, "does not let in with SCRAM-SHA-512"),
    ]
    for options, words in wrong:
        sink = kafka.sink("t", policy=Policy(), **options)
        with pytest.raises(ConfigError, match=words):
            await sink.open()
        await sink.close()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionResetError(), "ConnectionResetError; this sink speaks TLS and no SASL: is the listener like that?"),
        (TimeoutError(), "no answer in time; this sink speaks TLS and no SASL: is the listener like that?"),
        (
            ConnectionRefusedError(111, "refused"),
            "ConnectionRefusedError: [Errno 111] refused: check host and port, and that a broker runs there",
        ),
        (ssl.SSLCertVerificationError(1, "unknown"), "SSLCertVerificationError: unknown"),
    ],
)
def test_what_may_help_is_said_where_the_listener_may_be_of_another_kind(error: Exception, words: str) -> None:
    assert Security([("kafka", 9092)], None, None).words_for("kafka", error) == words


async def test_no_log_shows_a_records_content(kafka: Broker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    topic = await kafka.topic()
    async with kafka.sink(topic) as sink:
        await sink.put(KafkaRecord("canary-word", key="canary-key"))
    assert "<a request>" in caplog.text
    assert "canary" not in caplog.text


async def test_a_right_that_is_taken_away_rejects_for_that_topic_alone(kafka: Broker) -> None:
    topic, other = await kafka.topic(), await kafka.topic()
    options: dict[str, Any] = {"tls": kafka.server.trust(), "sasl": password_of(kafka.server)}
    async with kafka.sink(topic, at=kafka.server.secured, topics=[other], **options) as sink:
        await sink.put("allowed")
        await asyncio.to_thread(deny_writing, kafka.place, topic)
        outcomes = await sink.put_many(["a", "b"])
        assert (await sink.put(KafkaRecord("c", topic=other))).offset == 0
    assert {type(outcome) for outcome in outcomes} == {DeliveryRejected}
    assert {outcome.outcome for outcome in outcomes} == {Outcome.NOT_WRITTEN}
    assert outcomes[0].__cause__.code == 29
    assert [record.value for record in await kafka.holds(topic)] == [b"allowed"]


def deny_writing(place: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": place})
    rule = AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        "User:writer",
        "*",
        AclOperation.WRITE,
        AclPermissionType.DENY,
    )
    for done in admin.create_acls([rule]).values():
        done.result(10)


@pytest.mark.parametrize(
    ("servers", "tls", "protocol"),
    [
        ("localhost:9092", None, "PLAINTEXT"),
        ("127.0.0.1", None, "PLAINTEXT"),
        ("kafka-1:9092", None, "SSL"),
        ("localhost:1,kafka-1:9092", None, "SSL"),
        ("kafka-1:9092", "off", "PLAINTEXT"),
        ("[2001:db8::1]:9093", None, "SSL"),
    ],
)
def test_tls_is_on_and_verified_unless_the_servers_are_here_or_it_was_switched_off(
    servers: str, tls: Any, protocol: str
) -> None:
    places = parse_servers(servers)
    options = Security(places, tls, None).options(places[0][0])
    assert options["security_protocol"] == protocol
    if protocol == "SSL":
        assert options["ssl_context"].verify_mode is ssl.CERT_REQUIRED
        assert options["ssl_context"].check_hostname


def test_plain_passwords_do_not_leave_this_machine_without_tls_unless_that_was_said() -> None:
    sasl = SaslPassword("u", "p", "PLAIN")
    for named in ("kafka", "localhost"):
        servers = parse_servers(named)
        assert Security(servers, None, sasl).options("kafka")["security_protocol"] == "SASL_SSL"
        assert Security(servers, "off", sasl).options("kafka")["security_protocol"] == "SASL_PLAINTEXT"


async def test_a_broker_that_is_advertised_elsewhere_gets_nothing_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(65_536))
        writer.close()

    names_to_loopback(monkeypatch, "kafka-2.example")
    policy = Policy(attempt_timeout=0.3, delivery_timeout=0.5)
    async with (
        FakeBroker() as broker,
        await asyncio.start_server(listen, "127.0.0.1", 0) as other,
        KafkaSink(broker.place, "events", policy=policy) as sink,
    ):
        broker.hosts[2], broker.others[2] = "kafka-2.example", other.sockets[0].getsockname()[1]
        broker.leaders[0] = 2
        broker.faults += [Fault(6, is_applied=False)]
        (outcome,) = await sink.put_many(["canary-word"])
    assert received
    assert all(data.startswith(TLS_HANDSHAKE) for data in received)
    assert 'advertises kafka-2.example, which is not this machine: TLS, unless tls="off"' in str(outcome.__cause__)


def names_to_loopback(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        return await resolve("127.0.0.1" if host == name else host, *args, **options)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("servers", ["", " , ", "kafka:port", "kafka://h:1", "user:word@h:1", ":9092", []])
def test_servers_that_can_not_be_read_are_refused_without_being_shown(servers: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        KafkaSink(servers, "t")
    assert "word" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"acks": 0},
        {"acks": 1},
        {"acks": 1, "idempotent": False, "transactional_id": "x"},
        {"transactional_id": "x", "idempotent": False},
        {"transactional_id": ""},
        {"transactional_id": "x", "transaction_timeout": 10.0},
        {"transactional_id": "x", "transaction_timeout": 1e9},
        {"compression": "rar"},
        {"tls": "on"},
        {"topics": "abc"},
        {"topic": ""},
    ],
)
def test_arguments_that_contradict_each_other_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        KafkaSink("h:1", **{"topic": "t"} | options)


def test_an_order_that_kafka_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="each partition is a lane"):
        KafkaSink("h:1", "t", policy=Policy(order="none"))


ENV = {"BOOTSTRAP_SERVERS": "kafka-1:9092,kafka-2:9092", "TOPIC": "orders"}


def set_env(monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    for name, value in (ENV | more).items():
        monkeypatch.setenv(f"SINKWELL_KAFKA_{name}", value)


def test_a_sink_is_made_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_env(
        monkeypatch,
        TOPICS="audit, trail",
        SASL_USERNAME="me",
        SASL_PASSWORD="canary-word",
        COMPRESSION="gzip",
        LINGER="0.02",
        TRANSACTIONAL_ID="one",
    )
    sink = KafkaSink.from_env(None)
    destination: Any = sink._destination
    assert list(destination._cluster.topics) == ["orders", "audit", "trail"]
    assert destination._cluster._servers == [("kafka-1", 9092), ("kafka-2", 9092)]
    options = destination._cluster._security.options("kafka-1")
    assert options["security_protocol"] == "SASL_SSL"
    assert options["sasl_plain_password"] == "canary-word"
    assert "canary-word" not in repr(vars(destination)) + repr(vars(destination._cluster))
    assert destination._terms.transactional_id == "one"
    assert sink._policy.linger == 0.02


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"TOPIC": ""}, "SINKWELL_KAFKA_TOPIC is empty"),
        ({"SASL_PASSWORD": "canary-word"}, "need each other"),
        ({"SASL_MECHANISM": "GSSAPI"}, "SASL_MECHANISM"),
        ({"ACKS": "0"}, "ACKS"),
        ({"TOPIK": "x"}, "did you mean SINKWELL_KAFKA_TOPIC"),
    ],
)
def test_a_wrong_environment_is_told_by_name_and_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, str], sentence: str
) -> None:
    set_env(monkeypatch, **more)
    with pytest.raises(ConfigError, match=sentence) as caught:
        KafkaSink.from_env(None)
    assert "canary-word" not in str(caught.value)


def test_a_token_takes_the_place_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    set_env(monkeypatch)
    sink: Any = KafkaSink.from_env(None, token=lambda: "t")
    assert sink._destination._cluster._security.options("kafka-1")["sasl_mechanism"] == "OAUTHBEARER"
    set_env(monkeypatch, SASL_USERNAME="me")
    with pytest.raises(ConfigError, match="exclude each other"):
        KafkaSink.from_env(None, token=lambda: "t")
