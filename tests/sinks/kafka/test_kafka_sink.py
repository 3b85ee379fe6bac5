"""What a real broker holds after the sink has written to it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from sinkwell.core import ConfigError, DeliveryRejected, InvalidRecord, Outcome, Policy, RecordTooLarge
from sinkwell.sinks.kafka import KafkaError, KafkaReceipt, KafkaRecord, KafkaSink
from tests.sinks.kafka.conftest import QUICK, assert_in_order, reckon

if TYPE_CHECKING:
    from tests.sinks.kafka.conftest import Broker

YEAR_MS = 366 * 24 * 3_600_000


async def test_every_receipt_names_the_place_where_its_record_is(kafka: Broker) -> None:
    topic = await kafka.topic(3)
    values = [f"k{number % 7}:{number}".encode() for number in range(5_000)]
    async with kafka.sink(topic) as sink:
        outcomes = await sink.put_many(KafkaRecord(value, key=value.partition(b":")[0]) for value in values)
    records = await kafka.holds(topic)
    assert reckon(records, list(zip(values, outcomes, strict=True))) == {"receipts": 5_000, "duplicates": 0}
    assert_in_order(records)


async def test_all_of_a_record_arrives(kafka: Broker) -> None:
    topic, other = await kafka.topic(2), await kafka.topic()
    record = KafkaRecord(
        "välue", key="key", headers=[("h", "text"), ("h", b"\xff"), ("none", None)], partition=1, timestamp_ms=12_345
    )
    async with kafka.sink(topic, topics=[other]) as sink:
        first = await sink.put(record)
        second = await sink.put(KafkaRecord(None, key=b"gone", topic=other))
    assert first == KafkaReceipt(topic=topic, partition=1, offset=0, timestamp_ms=12_345, attempts=1)
    held = (await kafka.holds(topic))[0]
    assert (held.value, held.key, held.partition, held.timestamp) == ("välue".encode(), b"key", 1, 12_345)
    assert held.headers == (("h", b"text"), ("h", b"\xff"), ("none", None))
    assert second.topic == other
    assert (await kafka.holds(other))[0].value is None


async def test_any_other_object_is_encoded(kafka: Broker) -> None:
    @dataclass
    class Event:
        id: int

    topic = await kafka.topic()
    async with kafka.sink(topic) as sink:
        await sink.put_many([Event(1), {"a": 1}, KafkaRecord({"b": 2}), bytearray(b"raw")])
    async with kafka.sink(topic, encode=lambda event: KafkaRecord(b"own", key=str(event.id))) as sink:
        await sink.put(Event(7))
    held = await kafka.holds(topic)
    assert [record.value for record in held] == [b'{"id":1}', b'{"a":1}', b'{"b":2}', b"raw", b"own"]
    assert held[-1].key == b"7"


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_a_compressed_batch_is_read_back(kafka: Broker, compression: Any) -> None:
    topic = await kafka.topic()
    values = [b"%05d " % number * 20 for number in range(2_000)]
    async with kafka.sink(topic, compression=compression) as sink:
        outcomes = await sink.put_many(values)
    assert reckon(await kafka.holds(topic), list(zip(values, outcomes, strict=True)))["receipts"] == 2_000


async def test_keys_go_where_the_java_client_and_aiokafka_send_them(kafka: Broker) -> None:
    topic = await kafka.topic(7)
    keys = [f"key-{number}".encode() for number in range(200)]
    async with kafka.sink(topic) as sink:
        ours = await sink.put_many(KafkaRecord(b"", key=key) for key in keys)
    async with AIOKafkaProducer(bootstrap_servers=kafka.place) as producer:
        theirs = [await (await producer.send(topic, b"", key=key)) for key in keys]
    assert [receipt.partition for receipt in ours] == [place.partition for place in theirs]


async def test_records_without_a_key_stay_together_and_take_turns(kafka: Broker) -> None:
    topic = await kafka.topic(3)
    async with kafka.sink(topic, policy=Policy(max_bytes=100_000)) as sink:
        receipts = await sink.put_many([b"x" * 1_000] * 1_200)
        requests = sink.stats().requests
    counts = [sum(receipt.partition == number for receipt in receipts) for number in range(3)]
    assert min(counts) > 300
    assert requests < 20


async def test_the_brokers_own_time_is_on_the_receipt_where_the_topic_says_so(kafka: Broker) -> None:
    topic = await kafka.topic(message_timestamp_type="LogAppendTime")
    async with kafka.sink(topic) as sink:
        receipt = await sink.put(KafkaRecord("x", timestamp_ms=5))
    assert receipt.timestamp_ms == (await kafka.holds(topic))[0].timestamp > 5


async def test_batches_stay_below_the_topics_own_limit(kafka: Broker) -> None:
    topic = await kafka.topic(max_message_bytes="20000")
    values = [b"%04d" % number + b"x" * (number * 7 % 3_000) for number in range(400)]
    async with kafka.sink(topic) as sink:
        outcomes = await sink.put_many(values)
        requests = sink.stats().requests
    assert reckon(await kafka.holds(topic), list(zip(values, outcomes, strict=True)))["receipts"] == 400
    assert requests < 45


async def test_a_record_just_below_the_limit_is_taken_and_one_above_is_refused_at_put(kafka: Broker) -> None:
    topic = await kafka.topic(max_message_bytes="20000")
    fits = 20_000 - 61 - 3 - 3 - 1 - 3 - 1
    async with kafka.sink(topic) as sink:
        await sink.put(b"x" * fits)
        with pytest.raises(RecordTooLarge, match=r"max\.message\.bytes"):
            await sink.put(b"x" * (fits + 1))
    async with AIOKafkaProducer(bootstrap_servers=kafka.place, max_request_size=30_000) as producer:
        with pytest.raises(Exception, match="MessageSizeTooLarge"):
            await producer.send_and_wait(topic, b"x" * (fits + 1))


async def test_a_limit_that_was_lowered_meanwhile_fails_only_what_is_above_it(kafka: Broker) -> None:
    topic = await kafka.topic()
    async with kafka.sink(topic) as sink:
        first = await sink.put("first")
        await alter(kafka, topic, {"max.message.bytes": "10000"})
        values = [b"%03d" % number + b"x" * (20_000 if number == 60 else 500) for number in range(100)]
        outcomes = await sink.put_many(values)
        with pytest.raises(RecordTooLarge):
            await sink.put(b"x" * 10_000)
    assert [number for number in range(100) if isinstance(outcomes[number], DeliveryRejected)] == [60]
    told = [(b"first", first), *zip(values, outcomes, strict=True)]
    assert reckon(await kafka.holds(topic), told)["not_written"] == 1


async def alter(kafka: Broker, topic: str, settings: dict[str, str]) -> None:
    await kafka.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, settings)])


@pytest.mark.parametrize("culprits", [{57}, {0, 99}, {3, 4, 5}])
async def test_a_record_that_the_broker_refuses_fails_alone(kafka: Broker, culprits: set[int]) -> None:
    topic = await kafka.topic(message_timestamp_after_max_ms="3600000")
    values = [b"k:%d" % number for number in range(100)]
    future = 4_000_000_000_000
    async with kafka.sink(topic) as sink:
        outcomes = await sink.put_many(
            KafkaRecord(value, timestamp_ms=future if number in culprits else None)
            for number, value in enumerate(values)
        )
        requests = sink.stats().requests
    assert {number for number in range(100) if isinstance(outcomes[number], DeliveryRejected)} == culprits
    failure = outcomes[min(culprits)]
    assert isinstance(failure, DeliveryRejected)
    assert isinstance(failure.__cause__, KafkaError)
    assert failure.__cause__.code == 32
    records = await kafka.holds(topic)
    assert reckon(records, list(zip(values, outcomes, strict=True)))["not_written"] == len(culprits)
    assert_in_order(records)
    assert requests == 1


async def test_a_compacted_topic_takes_no_record_without_a_key(kafka: Broker) -> None:
    topic = await kafka.topic(cleanup_policy="compact")
    async with kafka.sink(topic) as sink:
        with pytest.raises(InvalidRecord, match="compacted"):
            await sink.put("x")
        assert await sink.put(KafkaRecord("x", key="k"))


@pytest.mark.parametrize(
    "record",
    [
        KafkaRecord("\ud800"),
        KafkaRecord("x", key="\ud800"),
        KafkaRecord("x", key=5),  # type: ignore[arg-type]
        KafkaRecord("x", headers={"h": 5}),  # type: ignore[dict-item]
        KafkaRecord("x", headers=[(1, "h")]),  # type: ignore[list-item]
        KafkaRecord("x", headers="ab"),  # type: ignore[arg-type]
        KafkaRecord("x", timestamp_ms=1.5),  # type: ignore[arg-type]
        KafkaRecord("x", timestamp_ms=-1),
        KafkaRecord("x", partition=1),
        KafkaRecord("x", partition=-1),
        KafkaRecord("x", topic="elsewhere"),
        object(),
    ],
)
async def test_what_kafka_can_not_hold_is_refused_at_put(kafka: Broker, record: object) -> None:
    topic = await kafka.topic()
    async with kafka.sink(topic) as sink:
        with pytest.raises(InvalidRecord):
            await sink.put(record)
        assert sink.stats().pending_records == 0
        assert await sink.put("good")


async def test_a_topic_that_is_not_there_is_told_when_the_sink_opens_and_is_not_created(kafka: Broker) -> None:
    with pytest.raises(ConfigError, match="missing-topic can't be written to"):
        async with kafka.sink("missing-topic"):
            pass
    assert "missing-topic" not in await kafka.admin.list_topics()


async def test_a_cluster_out_of_reach_is_told_when_the_sink_opens() -> None:
    with pytest.raises(ConfigError, match=r"no connection to 127\.0\.0\.1:9"):
        async with KafkaSink("127.0.0.1:9", "t", policy=QUICK):
            pass


async def test_an_idle_sink_has_nothing_scheduled(kafka: Broker) -> None:
    topic = await kafka.topic()
    async with kafka.sink(topic) as sink:
        await sink.put("x")
        await asyncio.sleep(0)
        loop: Any = asyncio.get_running_loop()
        ours = [handle for handle in loop._scheduled if not handle.cancelled()]
        assert [handle for handle in ours if "aiokafka/conn" not in repr(handle) and "sinkwell" in repr(handle)] == []


async def test_an_answer_of_not_written_is_certain_when_the_topic_was_deleted_before(kafka: Broker) -> None:
    topic = await kafka.topic()
    # Ended by its attempts: a deadline may fall into one, and that is a doubt.
    policy = Policy(attempt_timeout=1.0, max_attempts=5)
    async with kafka.sink(topic, policy=policy) as sink:
        await sink.put("before")
        await kafka.admin.delete_topics([topic])
        first = (await sink.put_many(["after"]))[0]
        second = (await sink.put_many(["later"]))[0]
    assert first.outcome in (Outcome.UNKNOWN, Outcome.NOT_WRITTEN)
    assert second.outcome is Outcome.NOT_WRITTEN
