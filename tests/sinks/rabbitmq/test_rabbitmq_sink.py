"""What users are promised, against a real broker, consumed back."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import ConfigError, DeliveryError, DeliveryRejected, InvalidRecord, Outcome, Policy, RecordTooLarge
from sinkwell.sinks.rabbitmq import RabbitMQMessage, RabbitMQReceipt, RabbitMQSink

if TYPE_CHECKING:
    from tests.sinks.rabbitmq.conftest import Broker, Oracle


async def test_every_receipt_is_in_its_queue_once_and_in_order(broker: Broker, make_sink: Any) -> None:
    queue = await broker.queue()
    async with make_sink(broker.url, "", queue) as sink:
        outcomes = await sink.put_many([f"{n}" for n in range(3_000)])
    found = await broker.messages(queue)
    assert all(isinstance(outcome, RabbitMQReceipt) for outcome in outcomes)
    ids = {message.header.properties.message_id: message.body for message in found}
    assert [ids[outcome.message_id] for outcome in outcomes] == [str(n).encode() for n in range(3_000)]
    assert len(found) == 3_000


async def test_a_message_is_persistent_and_arrives_with_its_properties(broker: Broker, make_sink: Any) -> None:
    queue = await broker.queue()
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    message = RabbitMQMessage(
        "ä",
        headers={"a": 0.1, "b": [1, 2**40, None, True], "c": {"d": Decimal("1.50")}, "e": now, "f": b"\xff"},
        message_id="mine",
        content_type="text/plain",
        correlation_id="c",
        type="t",
        app_id="app",
        expiration=60,
        priority=3,
        timestamp=now,
    )
    async with make_sink(broker.url, "", queue) as sink:
        receipt = await sink.put(message)
    (found,) = await broker.messages(queue)
    got = found.header.properties
    assert receipt.message_id == got.message_id == "mine"
    assert found.body == "ä".encode()
    assert got.headers == {
        "a": 0.1, "b": [1, 2**40, None, True], "c": {"d": Decimal("1.50")}, "e": now, "f": b"\xff",
    }  # fmt: skip
    assert (got.delivery_mode, got.expiration, got.priority, got.timestamp) == (2, "60000", 3, now)
    assert (got.content_type, got.correlation_id, got.message_type, got.app_id) == ("text/plain", "c", "t", "app")


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 131_066, 1_000_000])
async def test_a_body_of_any_size_arrives_whole(broker: Broker, make_sink: Any, size: int) -> None:
    queue = await broker.queue()
    body = bytes(n % 251 for n in range(size))
    async with make_sink(broker.url, "", queue) as sink:
        await sink.put(body)
    assert await broker.bodies(queue) == [body]


async def test_other_objects_go_as_json_or_as_encode_says(broker: Broker, make_sink: Any) -> None:
    queue = await broker.queue()
    async with make_sink(broker.url, "", queue) as sink:
        await sink.put({"at": datetime(2026, 1, 1, tzinfo=UTC)})
    (found,) = await broker.messages(queue)
    assert json.loads(found.body) == {"at": "2026-01-01T00:00:00Z"}
    assert found.header.properties.content_type == "application/json"
    encode = lambda record: RabbitMQMessage(record["body"], routing_key=queue)  # noqa: E731
    async with make_sink(broker.url, encode=encode) as sink:
        await sink.put({"body": b"x"})
    assert await broker.bodies(queue) == [b"x"]


async def test_one_sink_serves_several_exchanges_and_routing_keys(broker: Broker, make_sink: Any) -> None:
    queues = [await broker.queue() for _ in range(4)]
    exchanges = [await broker.exchange(), await broker.exchange("topic")]
    for number, queue in enumerate(queues):
        await broker.bind(queue, exchanges[number % 2], f"key.{number}")
    records = [RabbitMQMessage(f"{n}", f"key.{n % 4}", exchange=exchanges[n % 2]) for n in range(400)]
    async with make_sink(broker.url, exchanges[0]) as sink:
        outcomes = await sink.put_many(records)
    assert all(isinstance(outcome, RabbitMQReceipt) for outcome in outcomes)
    for number, queue in enumerate(queues):
        assert await broker.bodies(queue) == [f"{n}".encode() for n in range(number, 400, 4)]


async def test_a_message_that_no_queue_takes_is_rejected_and_its_neighbours_are_not(
    broker: Broker, make_sink: Any
) -> None:
    queue = await broker.queue()
    records = [RabbitMQMessage(f"{n}", "nowhere" if n % 10 == 3 else queue) for n in range(100)]
    async with make_sink(broker.url) as sink:
        outcomes = await sink.put_many(records)
    lost = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, DeliveryRejected)]
    assert lost == list(range(3, 100, 10))
    assert {outcome.outcome for outcome in outcomes if isinstance(outcome, DeliveryError)} == {Outcome.NOT_WRITTEN}
    assert await broker.bodies(queue) == [f"{n}".encode() for n in range(100) if n % 10 != 3]


async def test_messages_with_one_id_are_told_apart_when_one_is_returned(broker: Broker, make_sink: Any) -> None:
    queue = await broker.queue()
    keys = [queue, "nowhere", queue, "nowhere"]
    async with make_sink(broker.url) as sink:
        await sink.put(RabbitMQMessage("first", queue))
        outcomes = await sink.put_many([RabbitMQMessage(key, key, message_id="same") for key in keys])
    assert [isinstance(outcome, RabbitMQReceipt) for outcome in outcomes] == [True, False, True, False]
    assert len(await broker.bodies(queue)) == 3


async def test_a_channel_error_among_100_good_publishes_fails_the_culprit_only(
    broker: Broker, make_sink: Any, oracle: Oracle
) -> None:
    queue = await broker.queue()
    records = [RabbitMQMessage(f"{n}", queue) for n in range(101)]
    records[50] = RabbitMQMessage("50", queue, headers={"CC": "not a list"})
    async with make_sink(broker.url) as sink:
        await sink.put(RabbitMQMessage("first", queue))
        oracle.told_of((str(record.body).encode() for record in records), await sink.put_many(records))
    assert oracle.ended(Outcome.NOT_WRITTEN) == [b"50"]
    assert not oracle.ended(Outcome.UNKNOWN)
    oracle.check((await broker.bodies(queue))[1:])
    assert oracle.duplicates <= 50


async def test_an_exchange_that_is_not_there_rejects_its_messages_and_no_others(broker: Broker, make_sink: Any) -> None:
    queue = await broker.queue()
    records = [RabbitMQMessage(f"{n}", queue, exchange="missing" if n in {50, 70} else "") for n in range(101)]
    async with make_sink(broker.url) as sink:
        outcomes = await sink.put_many(records)
    assert [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, RabbitMQReceipt)] == [50, 70]
    assert {outcomes[n].outcome for n in (50, 70)} == {Outcome.NOT_WRITTEN}
    assert await broker.bodies(queue) == [f"{n}".encode() for n in range(101) if n not in {50, 70}]


async def test_a_missing_exchange_or_broker_is_told_at_the_start(broker: Broker, make_sink: Any) -> None:
    with pytest.raises(ConfigError, match="no exchange 'missing'"):
        async with make_sink(broker.url, "missing"):
            pass
    with pytest.raises(ConfigError, match="vhost nowhere not found"):
        async with make_sink(f"{broker.url}nowhere"):
            pass
    with pytest.raises(ConfigError, match="rabbitmq:"):
        async with make_sink("amqp://guest:guest@127.0.0.1:1/"):
            pass


@pytest.mark.parametrize("place", ["{broker}/", "{broker}/nowhere", "127.0.0.1:1/"])
async def test_the_password_is_nowhere(
    broker: Broker, make_sink: Any, caplog: pytest.LogCaptureFixture, shown: Any, place: str
) -> None:
    caplog.set_level(logging.DEBUG)
    server = broker.server
    url = f"amqp://sinkwell:s3cr%2Ft@{place.format(broker=f'{server.host}:{server.port}')}"
    with pytest.raises(ConfigError, match=r"(?i)refused|connect") as caught:
        async with make_sink(url):
            pass
    assert "s3cr" not in shown(caught.value) + repr(make_sink(url)) + caplog.text


@pytest.mark.parametrize(
    "record",
    [
        RabbitMQMessage("x", "k" * 256),
        RabbitMQMessage("x", headers={"a": 2**64}),
        RabbitMQMessage("x", headers={"a": object()}),
        RabbitMQMessage("x", headers={"n" * 129: 1}),
        RabbitMQMessage("x", headers={"a": "x" * 140_000}),
        RabbitMQMessage("x", priority=256),
        RabbitMQMessage("x", expiration=-1),
        RabbitMQMessage("x", timestamp=datetime(2026, 1, 1)),  # noqa: DTZ001 - that is what is refused
        RabbitMQMessage(7),  # type: ignore[arg-type]
        "\ud800",
        b"x" * 2_001,
    ],
)
async def test_what_amqp_has_no_form_for_is_refused_at_put(broker: Broker, make_sink: Any, record: Any) -> None:
    async with make_sink(broker.url, max_message_bytes=2_000) as sink:
        with pytest.raises(InvalidRecord):
            await sink.put(record)


async def test_a_body_above_the_brokers_limit_is_refused_with_both_numbers(broker: Broker, make_sink: Any) -> None:
    async with make_sink(broker.url, max_message_bytes=10) as sink:
        with pytest.raises(RecordTooLarge, match=r"11 bytes is above max_message_bytes \(10\)"):
            await sink.put(b"x" * 11)


@pytest.mark.parametrize("url", ["http://x", "amqp://user:pa#s:w@host", "amqp://h:x/", "amqps://h/?no_verify_ssl=1"])
def test_a_url_that_cannot_be_one_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RabbitMQSink(url)
    assert url not in str(caught.value)


def test_more_concurrency_than_channels_is_refused() -> None:
    with pytest.raises(ConfigError, match="concurrency"):
        RabbitMQSink("amqp://h/", policy=Policy(concurrency=1_001))
