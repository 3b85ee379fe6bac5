"""Each batch a transaction, on a real broker: readers of committed data see all of it or nothing."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from sinkwell.core import Backoff, DeliveryError, DeliveryRejected, Outcome, Policy
from sinkwell.sinks.kafka import KafkaRecord
from tests.sinks.kafka.conftest import assert_in_order, reckon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sinkwell.sinks.kafka import KafkaSink
    from tests.faults import FaultProxy
    from tests.sinks.kafka.conftest import Broker

POLICY = Policy(
    attempt_timeout=1.0, delivery_timeout=20.0, backoff=Backoff(base=0.005, cap=0.05), max_records=30, linger=0.02
)
# For a transaction that the brokers end because it is too old.
PATIENT = Policy(attempt_timeout=0.5, delivery_timeout=30.0, backoff=Backoff(base=0.2, cap=0.2))
TRANSACTION_SECONDS = 1.0


def numbered(count: int) -> list[KafkaRecord]:
    return [KafkaRecord(f"k{number % 4}:{number}", key=f"k{number % 4}") for number in range(count)]


def told(records: list[KafkaRecord], outcomes: list[Any]) -> list[tuple[bytes, object]]:
    return [(str(record.value).encode(), outcome) for record, outcome in zip(records, outcomes, strict=True)]


@asynccontextmanager
async def sink_through(
    kafka: Broker, proxy: FaultProxy, policy: Policy = POLICY, **options: Any
) -> AsyncIterator[tuple[str, KafkaSink]]:
    """A topic of one partition that holds `k:0`, and the sink that wrote it, whose way to the broker can break."""
    topic = await kafka.topic()
    way = f"{proxy.host}:{proxy.port}"
    async with kafka.sink(topic, at=way, transactional_id=topic, policy=policy, **options) as sink:
        await sink.put("k:0")
        yield topic, sink


async def outlive_the_transaction(kafka: Broker, proxy: FaultProxy, topic: str) -> None:
    """Let the broker know a younger epoch, as it does itself of a transaction too old, at most once in ten seconds."""
    await asyncio.sleep(TRANSACTION_SECONDS)
    async with kafka.sink(topic, transactional_id=topic, policy=POLICY):
        pass
    await proxy.accept()


async def committed(kafka: Broker, topic: str) -> list[bytes | None]:
    return [record.value for record in await kafka.holds(topic, committed_only=True)]


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
    async with sink_through(kafka, proxy) as (topic, sink):
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


async def test_a_second_sink_with_the_same_id_shuts_out_the_first_for_good(kafka: Broker) -> None:
    topic = await kafka.topic()
    async with kafka.sink(topic, transactional_id=topic, policy=POLICY) as first:
        await first.put("k:0")
        async with kafka.sink(topic, transactional_id=topic, policy=POLICY) as second:
            await second.put("k:1")
            outcomes = [*await first.put_many(["lost"]), *await first.put_many(["lost too"])]
            await second.put("k:2")
    for outcome in outcomes:
        assert isinstance(outcome, DeliveryRejected)
        assert outcome.outcome is Outcome.NOT_WRITTEN
        assert "give each sink an id of its own" in str(outcome.__cause__)
    assert await committed(kafka, topic) == [b"k:0", b"k:1", b"k:2"]


async def test_a_sink_that_was_shut_out_while_it_had_no_connection_does_not_take_the_id_back(
    kafka: Broker, proxy: FaultProxy
) -> None:
    async with sink_through(kafka, proxy) as (topic, first):
        # Its transaction is open and it knows no way to the brokers, when the second one comes.
        proxy.up.when(b"k:lost", lambda: (proxy.refuse(), proxy.reset()))
        lost = await first.submit("k:lost")
        async with kafka.sink(topic, transactional_id=topic, policy=POLICY) as second:
            await second.put("k:1")
            await proxy.accept()
            with pytest.raises(DeliveryRejected):
                await lost
            await second.put("k:2")
    assert await committed(kafka, topic) == [b"k:0", b"k:1", b"k:2"]


async def test_a_transaction_that_the_brokers_ended_because_it_was_too_old_is_begun_anew(
    kafka: Broker, proxy: FaultProxy
) -> None:
    async with sink_through(kafka, proxy, PATIENT, transaction_timeout=TRANSACTION_SECONDS) as (topic, sink):
        proxy.up.when(b"k:1", lambda: (proxy.refuse(), proxy.reset()))
        delivery = await sink.submit("k:1")
        await outlive_the_transaction(kafka, proxy, topic)
        assert (await delivery).attempts > 1
    assert await committed(kafka, topic) == [b"k:0", b"k:1"]


async def test_a_commit_in_doubt_that_nobody_can_clear_up_is_unknown_and_not_written_again(
    kafka: Broker, proxy: FaultProxy
) -> None:
    async with sink_through(kafka, proxy, PATIENT, transaction_timeout=TRANSACTION_SECONDS) as (topic, sink):
        proxy.up.when(b"\x00\x1a\x00\x00", lambda: (proxy.down.cut_after(0), proxy.refuse()))
        delivery = await sink.submit("k:1")
        await outlive_the_transaction(kafka, proxy, topic)
        with pytest.raises(DeliveryError) as caught:
            await delivery
        await sink.put("k:2")
    assert caught.value.outcome is Outcome.UNKNOWN
    assert await committed(kafka, topic) == [b"k:0", b"k:1", b"k:2"]


async def test_a_failed_transaction_does_not_keep_readers_waiting(kafka: Broker, proxy: FaultProxy) -> None:
    topic = await kafka.topic(message_timestamp_after_max_ms="3600000")
    way = f"{proxy.host}:{proxy.port}"
    policy = Policy(attempt_timeout=1.0, max_attempts=1)
    async with kafka.sink(topic, at=way, transactional_id=topic, policy=policy) as sink:
        refused = await sink.put_many([KafkaRecord("refused", timestamp_ms=4_000_000_000_000)])
        proxy.up.when(b"unanswered", lambda: proxy.down.cut_after(0))
        unanswered = await sink.put_many(["unanswered"])
        async with kafka.sink(topic) as other:
            await other.put("beside")
        held = await committed(kafka, topic)
    assert [each.outcome for each in (*refused, *unanswered)] == [Outcome.NOT_WRITTEN] * 2
    assert held == [b"beside"]


async def test_close_aborts_what_it_gives_up(kafka: Broker, proxy: FaultProxy) -> None:
    topic = await kafka.topic()
    sink = kafka.sink(topic, at=f"{proxy.host}:{proxy.port}", transactional_id=topic, policy=POLICY)
    await sink.open()
    proxy.up.when(b"given up", lambda: (proxy.refuse(), proxy.reset()))
    delivery = await sink.submit("given up")
    await asyncio.sleep(0.1)
    await proxy.accept()
    await sink.close(timeout=0.0)
    with pytest.raises(DeliveryError):
        await delivery
    async with kafka.sink(topic) as other:
        await other.put("beside")
    assert await committed(kafka, topic) == [b"beside"]


async def test_what_was_not_committed_in_time_is_not_written(kafka: Broker, proxy: FaultProxy) -> None:
    async with sink_through(kafka, proxy, Policy(attempt_timeout=0.3, delivery_timeout=0.8)) as (topic, sink):
        proxy.refuse()
        proxy.reset()
        outcome = (await sink.put_many(["k:1"]))[0]
    assert isinstance(outcome, DeliveryError)
    assert outcome.outcome is Outcome.NOT_WRITTEN
    assert await committed(kafka, topic) == [b"k:0"]
