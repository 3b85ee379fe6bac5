"""A real broker, and a way to it that breaks: what callers were told is true all the same."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Backoff, DeliveryError, Outcome, Policy
from sinkwell.sinks.kafka import KafkaReceipt, KafkaRecord
from tests.sinks.kafka.conftest import assert_in_order, reckon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinkwell.sinks.kafka import KafkaSink
    from tests.faults import FaultProxy
    from tests.sinks.kafka.conftest import Broker

HASTY = Policy(attempt_timeout=0.5, delivery_timeout=20.0, backoff=Backoff(base=0.002, cap=0.01), max_records=200)
KEYS = 5


def numbered(count: int, start: int = 0) -> Iterator[KafkaRecord]:
    for number in range(start, start + count):
        key = f"k{number % KEYS}"
        yield KafkaRecord(f"{key}:{number}", key=key)


def told(records: list[KafkaRecord], outcomes: list[Any]) -> list[tuple[bytes, object]]:
    return [(str(record.value).encode(), outcome) for record, outcome in zip(records, outcomes, strict=True)]


async def put_steadily(sink: KafkaSink, until: asyncio.Future[None]) -> tuple[list[KafkaRecord], list[Any]]:
    """Put small groups until it is enough; give all of it with its outcomes."""
    records: list[KafkaRecord] = []
    deliveries: list[Any] = []
    while not until.done():
        for record in numbered(40, len(records)):
            records.append(record)
            deliveries.append(await sink.submit(record))
        await asyncio.sleep(0.001)
    return records, await asyncio.gather(*deliveries, return_exceptions=True)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_connection_cut_at_random_bytes_neither_loses_nor_repeats_nor_reorders(
    kafka: Broker, proxy: FaultProxy, direction: str
) -> None:
    topic = await kafka.topic(3)
    rng = random.Random(f"cuts {direction}")
    way = getattr(proxy, direction)
    enough = asyncio.get_running_loop().create_future()
    async with kafka.sink(topic, at=f"{proxy.host}:{proxy.port}", policy=HASTY) as sink:
        putting = asyncio.create_task(put_steadily(sink, enough))
        for _ in range(110):
            before = proxy.connections
            way.cut_after(rng.randrange(1, 12_000 if direction == "up" else 300))
            async with asyncio.timeout(20):
                while proxy.connections == before:  # noqa: ASYNC110 - the proxy tells nobody
                    await asyncio.sleep(0.002)
        way.heal()
        enough.set_result(None)
        records, outcomes = await putting
        retries = sink.stats().retries
    held = await kafka.holds(topic)
    counts = reckon(held, told(records, outcomes))
    assert counts == {"receipts": len(records), "duplicates": 0}
    assert_in_order(held)
    assert retries > 50


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_a_batch_whose_request_or_answer_is_lost_is_written_once(
    kafka: Broker, proxy: FaultProxy, lost: str
) -> None:
    topic = await kafka.topic()
    async with kafka.sink(topic, at=f"{proxy.host}:{proxy.port}", policy=HASTY) as sink:
        await sink.put("before")
        way = proxy.up if lost == "request" else proxy.down
        proxy.up.when(b"needle", lambda: way.cut_after(0))
        receipt = await sink.put("needle")
    assert receipt.attempts == 2
    assert receipt.offset == 1
    assert [record.value for record in await kafka.holds(topic)] == [b"before", b"needle"]


async def test_a_broker_that_hangs_is_given_up_in_time_and_what_it_took_is_not_written_twice(kafka: Broker) -> None:
    topic = await kafka.topic()
    async with kafka.sink(topic, policy=HASTY) as sink:
        await sink.put("k:0")
        kafka.server.pause()
        deliveries = [await sink.submit(f"k:{number}") for number in range(1, 50)]
        await asyncio.sleep(1.2)
        kafka.server.resume()
        receipts = await asyncio.gather(*deliveries)
    assert max(receipt.attempts for receipt in receipts) > 1
    held = await kafka.holds(topic)
    assert len(held) == 50
    assert_in_order(held)


async def test_a_killed_broker_that_comes_back_has_everything_once_and_in_order(kafka: Broker) -> None:
    topic = await kafka.topic(3)
    enough = asyncio.get_running_loop().create_future()
    async with kafka.sink(topic, policy=HASTY) as sink:
        putting = asyncio.create_task(put_steadily(sink, enough))
        await asyncio.sleep(0.3)
        kafka.server.kill()
        await asyncio.to_thread(kafka.server.restart)
        await asyncio.sleep(0.3)
        enough.set_result(None)
        records, outcomes = await putting
    held = await kafka.holds(topic)
    assert reckon(held, told(records, outcomes)) == {"receipts": len(records), "duplicates": 0}
    assert_in_order(held)


async def test_a_broker_away_for_longer_than_the_deadline_leaves_only_true_outcomes(kafka: Broker) -> None:
    topic = await kafka.topic(3)
    policy = Policy(attempt_timeout=0.3, delivery_timeout=1.0, backoff=Backoff(base=0.01, cap=0.1))
    records = list(numbered(400))
    async with kafka.sink(topic, policy=policy) as sink:
        outcomes: list[Any] = await sink.put_many(records[:200])
        asyncio.get_running_loop().call_later(0.002, kafka.server.kill)
        outcomes += await sink.put_many(records[200:300])
        never = await sink.put_many(records[300:])
        await asyncio.to_thread(kafka.server.restart)
        async with asyncio.timeout(20):
            while not isinstance((await sink.put_many([KafkaRecord(b"probe", partition=0)]))[0], KafkaReceipt):
                pass
        receipt = await sink.put(KafkaRecord("k0:999", key="k0"))
    assert all(isinstance(each, DeliveryError) and each.outcome is Outcome.NOT_WRITTEN for each in never)
    held = [record for record in await kafka.holds(topic) if record.value != b"probe"]
    counts = reckon(held, [*told(records, outcomes + never), (b"k0:999", receipt)])
    assert counts["duplicates"] == 0
    assert_in_order(held)


async def test_close_comes_back_in_time_with_the_broker_out_of_reach(kafka: Broker, proxy: FaultProxy) -> None:
    topic = await kafka.topic()
    sink = kafka.sink(topic, at=f"{proxy.host}:{proxy.port}", policy=HASTY)
    await sink.open()
    await sink.put("there")
    proxy.refuse()
    proxy.reset()
    deliveries = [await sink.submit("lost") for _ in range(10)]
    loop = asyncio.get_running_loop()
    began = loop.time()
    report = await sink.close(timeout=0.4)
    assert loop.time() - began < 1.5
    assert report.not_written + report.unknown == 10
    assert all(isinstance(each, DeliveryError) for each in await asyncio.gather(*deliveries, return_exceptions=True))


async def test_close_comes_back_in_time_with_the_broker_hanging(kafka: Broker) -> None:
    topic = await kafka.topic()
    sink = kafka.sink(topic, policy=Policy(attempt_timeout=10.0))
    await sink.open()
    await sink.put("there")
    kafka.server.pause()
    delivery = await sink.submit("where?")
    await asyncio.sleep(0.05)
    report = await sink.close(timeout=0.3)
    kafka.server.resume()
    assert report.unknown == 1
    assert report.seconds < 1.5
    with pytest.raises(DeliveryError):
        await delivery


async def test_a_topic_deleted_under_the_sink_leaves_only_true_outcomes_and_its_neighbour_alone(kafka: Broker) -> None:
    topic, other = await kafka.topic(), await kafka.topic()
    # Ended by its attempts: a deadline may fall into one, and that is a doubt.
    policy = Policy(attempt_timeout=0.5, max_attempts=6, backoff=Backoff(base=0.01, cap=0.1))
    async with kafka.sink(topic, topics=[other], policy=policy) as sink:
        await sink.put("before")
        await kafka.admin.delete_topics([topic])
        lost = await sink.put_many(["a", "b"])
        later = await sink.put_many(["c"])
        fine = await sink.put(KafkaRecord("d", topic=other))
    assert all(isinstance(each, DeliveryError) for each in lost)
    assert isinstance(later[0], DeliveryError)
    assert later[0].outcome is Outcome.NOT_WRITTEN
    assert fine.offset == 0
