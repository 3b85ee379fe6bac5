"""Each batch a transaction, on a real broker: readers of committed data see all of it or nothing."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from sinkwell.core import Backoff, DeliveryError, DeliveryRejected, Outcome, Policy
from sinkwell.sinks.kafka import KafkaReceipt, KafkaRecord
from tests.sinks.kafka.conftest import assert_in_order, reckon

if TYPE_CHECKING:
    from tests.faults import FaultProxy
    from tests.sinks.kafka.conftest import Broker

POLICY = Policy(
    attempt_timeout=1.0, delivery_timeout=20.0, backoff=Backoff(base=0.005, cap=0.05), max_records=30, linger=0.02
)


def numbered(count: int) -> list[KafkaRecord]:
    return [KafkaRecord(f"k{number % 4}:{number}", key=f"k{number % 4}") for number in range(count)]


def told(records: list[KafkaRecord], outcomes: list[Any]) -> list[tuple[bytes, object]]:
    return [(str(record.value).encode(), outcome) for record, outcome in zip(records, outcomes, strict=True)]


async def test_a_batch_over_partitions_and_topics_is_committed_and_each_receipt_is_true(kafka: Broker) -> None:
    topic, other = await kafka.topic(3), await kafka.topic()
    records = numbered(300)
    async with kafka.sink(topic, topics=[other], transactional_id=topic, policy=POLICY) as sink:
        outcomes = await sink.put_many(records)
        beside = await sink.put(KafkaRecord("beside", topic=other))
    held = await kafka.holds(topic, committed_only=True)
    assert reckon(held, told(records, outcomes)) == {"receipts": 300, "duplicates": 0}
    assert_in_order(held)
    assert [record.offset for record in await kafka.holds(other, committed_only=True)] == [beside.offset]


async def test_a_refused_record_fails_alone_and_its_neighbours_are_committed_once(kafka: Broker) -> None:
    topic = await kafka.topic(2, message_timestamp_after_max_ms="3600000")
    records = numbered(20)
    records[7].timestamp_ms = 4_000_000_000_000
    async with kafka.sink(topic, transactional_id=topic, policy=POLICY) as sink:
        outcomes = await sink.put_many(records)
    assert [number for number in range(20) if isinstance(outcomes[number], DeliveryRejected)] == [7]
    held = await kafka.holds(topic, committed_only=True)
    assert reckon(held, told(records, outcomes)) == {"receipts": 19, "duplicates": 0, "not_written": 1}


async def test_a_limit_that_was_lowered_meanwhile_blames_no_record(kafka: Broker) -> None:
    topic = await kafka.topic(2)
    records = numbered(30)
    async with kafka.sink(topic, transactional_id=topic, policy=POLICY) as sink:
        await kafka.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "100"})])
        outcomes = await sink.put_many(records)
    held = await kafka.holds(topic, committed_only=True)
    assert reckon(held, told(records, outcomes)) == {"receipts": 30, "duplicates": 0}
    assert_in_order(held)


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_commit_without_an_answer_is_asked_for_again(kafka: Broker, proxy: FaultProxy, lost: str) -> None:
    topic = await kafka.topic()
    way = f"{proxy.host}:{proxy.port}"
    async with kafka.sink(topic, at=way, transactional_id=topic, policy=POLICY) as sink:
        await sink.put("k:0")
        # EndTxn (key 26), version 0.
        broken = proxy.up if lost == "request" else proxy.down
        proxy.up.when(b"\x00\x1a\x00\x00", lambda: broken.cut_after(0))
        receipt = await sink.put("k:1")
    assert receipt.attempts == 2
    held = await kafka.holds(topic, committed_only=True)
    assert [record.value for record in held] == [b"k:0", b"k:1"]
    assert held[1].offset == receipt.offset


async def test_readers_never_see_half_of_a_batch_when_the_connection_is_cut_at_random(
    kafka: Broker, proxy: FaultProxy
) -> None:
    topic = await kafka.topic(3)
    rng = random.Random("transactions")
    records = numbered(900)
    enough = False

    async def cut() -> None:
        while not enough:
            rng.choice([proxy.up, proxy.down]).cut_after(rng.randrange(1, 3_000))
            await asyncio.sleep(0.02)
        proxy.heal()

    async with kafka.sink(topic, at=f"{proxy.host}:{proxy.port}", transactional_id=topic, policy=POLICY) as sink:
        cutting = asyncio.create_task(cut())
        outcomes: list[Any] = []
        for first in range(0, 900, 30):
            outcomes += await sink.put_many(records[first : first + 30])
        enough = True
        await cutting
    held = await kafka.holds(topic, committed_only=True)
    counts = reckon(held, told(records, outcomes))
    assert counts["receipts"] + counts["unknown"] + counts["not_written"] == 900
    assert counts["receipts"] > 600
    assert counts["duplicates"] == 0
    there = {record.value for record in held}
    for first in range(0, 900, 30):
        batch = [str(record.value).encode() in there for record in records[first : first + 30]]
        assert len(set(batch)) == 1, "a reader sees half of a batch"


async def test_a_second_sink_with_the_same_id_shuts_out_the_first_until_it_takes_the_id_back(kafka: Broker) -> None:
    topic = await kafka.topic()
    async with kafka.sink(topic, transactional_id=topic, policy=POLICY) as first:
        await first.put("k:0")
        async with kafka.sink(topic, transactional_id=topic, policy=POLICY) as second:
            await second.put("k:1")
        outcome = (await first.put_many(["k:2"]))[0]
    assert isinstance(outcome, KafkaReceipt)
    held = await kafka.holds(topic, committed_only=True)
    assert [record.value for record in held] == [b"k:0", b"k:1", b"k:2"]


async def test_what_was_not_committed_in_time_is_not_written(kafka: Broker, proxy: FaultProxy) -> None:
    topic = await kafka.topic()
    policy = Policy(attempt_timeout=0.3, delivery_timeout=0.8)
    async with kafka.sink(topic, at=f"{proxy.host}:{proxy.port}", transactional_id=topic, policy=policy) as sink:
        await sink.put("k:0")
        proxy.refuse()
        proxy.reset()
        outcome = (await sink.put_many(["k:1"]))[0]
    assert isinstance(outcome, DeliveryError)
    assert outcome.outcome is Outcome.NOT_WRITTEN
    assert [record.value for record in await kafka.holds(topic, committed_only=True)] == [b"k:0"]
