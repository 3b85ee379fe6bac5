"""How fast records get into Kafka: the sink beside aiokafka's producer and confluent-kafka's, on one real broker.

    python benchmarks/kafka.py [--quick]

All with acks=all and idempotence, in batches of up to 1 MB. aiokafka's `send_batch` is driven by hand: with its own
partitioner, as a program needs it whose records have keys; the same, "all told", where each record's caller waits for
its own place, as with the sink; and with records that were sorted into partitions before the clock starts. But for
"all told" it has one future a batch, and its records have no receipts of their own.
confluent-kafka's producer is C, with threads of its own. Client and broker share the machine's cores.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import confluent_kafka
from _report import FLOOR, OURS, PEER, Report, bars, interleaved, is_quick, median, ratio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import DefaultPartitioner, murmur2
from aiokafka.structs import RecordMetadata

from sinkwell.core import Policy
from sinkwell.sinks.kafka import KafkaRecord, KafkaSink

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.servers import KafkaServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

PARTITIONS = 3
# Callers gather so many at once; what they hold at any time.
WINDOW = 20_000
BATCH_BYTES = 1_000_000
TARGETS = {"aiokafka send": 3.0, "aiokafka send_batch": 0.6}


@dataclass(frozen=True)
class Shape:
    """A kind of record."""

    title: str
    bytes: int
    is_keyed: bool
    count: int


SHAPES = (
    Shape("100 bytes, keyed", 100, is_keyed=True, count=60_000),
    Shape("100 bytes, no key", 100, is_keyed=False, count=60_000),
    Shape("1 KB, keyed", 1_000, is_keyed=True, count=20_000),
)


@dataclass
class Bench:
    """A topic, and what the contenders share."""

    place: str
    topic: str
    shape: Shape
    records: list[tuple[bytes | None, bytes]]
    by_partition: dict[int, list[tuple[bytes | None, bytes]]]
    sink: KafkaSink
    aiokafka: AIOKafkaProducer
    confluent: confluent_kafka.Producer
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def _windows(self) -> Iterator[list[tuple[bytes | None, bytes]]]:
        return (self.records[first : first + WINDOW] for first in range(0, len(self.records), WINDOW))

    async def put_awaited(self) -> None:
        for window in self._windows():
            for receipt in [self.sink.put(KafkaRecord(value, key)) for key, value in window]:
                await receipt

    async def put_gathered(self) -> None:
        for window in self._windows():
            await asyncio.gather(*[self.sink.put(KafkaRecord(value, key)) for key, value in window])

    async def stream(self) -> None:
        async for outcome in self.sink.stream(KafkaRecord(value, key) for key, value in self.records):
            if isinstance(outcome, Exception):
                raise outcome

    async def send(self) -> None:
        for window in self._windows():
            accepted = await asyncio.gather(*[self.aiokafka.send(self.topic, value, key=key) for key, value in window])
            await asyncio.gather(*accepted)

    async def send_batch(self) -> None:
        """As a program does it whose records have keys: aiokafka's own partitioner, a batch a partition."""
        producer = self.aiokafka
        partition_of, places = DefaultPartitioner(), list(range(PARTITIONS))
        batches = {number: producer.create_batch() for number in places}
        sent: list[Any] = []
        turn = 0
        for key, value in self.records:
            number = turn if key is None else partition_of(key, places, places)
            if batches[number].append(key=key, value=value, timestamp=None) is None:
                sent.append(await producer.send_batch(batches[number], self.topic, partition=number))
                batches[number] = producer.create_batch()
                if key is None:
                    turn = (turn + 1) % PARTITIONS
                    number = turn
                batches[number].append(key=key, value=value, timestamp=None)
        for number, batch in batches.items():
            if batch.record_count():
                sent.append(await producer.send_batch(batch, self.topic, partition=number))
        await asyncio.gather(*sent)

    async def send_batch_told(self) -> None:
        """The same where each record's caller waits for its own place, in windows, as callers of the sink do."""
        producer = self.aiokafka
        partition_of, places = DefaultPartitioner(), list(range(PARTITIONS))
        new_future = asyncio.get_running_loop().create_future

        async def send(number: int) -> None:
            sent = await producer.send_batch(batches[number], self.topic, partition=number)
            sent.add_done_callback(partial(tell, callers[number]))
            batches[number], callers[number] = producer.create_batch(), []

        for window in self._windows():
            batches = {number: producer.create_batch() for number in places}
            callers: dict[int, list[asyncio.Future[RecordMetadata]]] = {number: [] for number in places}
            told: list[asyncio.Future[RecordMetadata]] = []
            for key, value in window:
                number = 0 if key is None else partition_of(key, places, places)
                if batches[number].append(key=key, value=value, timestamp=None) is None:
                    await send(number)
                    batches[number].append(key=key, value=value, timestamp=None)
                told.append(new_future())
                callers[number].append(told[-1])
            for number in places:
                if callers[number]:
                    await send(number)
            for caller in told:
                await caller

    async def send_batch_sorted(self) -> None:
        """The records of each partition are in a list of their own before the clock starts."""
        await asyncio.gather(*[self._send_batches(*item) for item in self.by_partition.items()])

    async def _send_batches(self, partition: int, records: list[tuple[bytes | None, bytes]]) -> None:
        producer = self.aiokafka
        sent: list[Any] = []
        batch = producer.create_batch()
        for key, value in records:
            if batch.append(key=key, value=value, timestamp=None) is None:
                sent.append(await producer.send_batch(batch, self.topic, partition=partition))
                batch = producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        sent.append(await producer.send_batch(batch, self.topic, partition=partition))
        await asyncio.gather(*sent)

    async def confluent_produce(self) -> None:
        await asyncio.to_thread(self._produce)

    def _produce(self) -> None:
        failed: list[object] = []

        def done(error: object, _message: object) -> None:
            if error is not None:
                failed.append(error)

        for key, value in self.records:
            while True:
                try:
                    self.confluent.produce(self.topic, value, key, on_delivery=done)
                    break
                except BufferError:
                    self.confluent.poll(0.01)
            self.confluent.poll(0)
        assert self.confluent.flush(60) == 0
        assert not failed

    async def offsets(self) -> int:
        """How many records the topic holds."""
        async with AIOKafkaConsumer(bootstrap_servers=self.place) as consumer:
            places = [TopicPartition(self.topic, number) for number in range(PARTITIONS)]
            return sum((await consumer.end_offsets(places)).values())

    async def timed(self, name: str, work: Coroutine[Any, Any, None]) -> float:
        """Do the work and see that all records are there; seconds for one record."""
        before = await self.offsets()
        loop = asyncio.get_running_loop()
        started, cpu = loop.time(), time.process_time()
        await work
        seconds, cpu = loop.time() - started, time.process_time() - cpu
        arrived = await self.offsets() - before
        assert arrived == len(self.records), f"{name}: {arrived:,} of {len(self.records):,} records arrived"
        self.cpu.setdefault(name, []).append(cpu / len(self.records))
        return seconds / len(self.records)


def tell(callers: list[asyncio.Future[RecordMetadata]], sent: asyncio.Future[RecordMetadata]) -> None:
    """Give each caller the place of its own record."""
    topic, partition, place, first, *more = sent.result()
    for offset, caller in enumerate(callers, first):
        caller.set_result(RecordMetadata(topic, partition, place, offset, *more))


async def open_bench(stack: AsyncExitStack, place: str, shape: Shape, count: int) -> Bench:
    topic = f"bench-{secrets.token_hex(4)}"
    admin = AIOKafkaAdminClient(bootstrap_servers=place)
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()
    await asyncio.sleep(0.5)
    records = [
        (f"customer-{number % 1000}".encode() if shape.is_keyed else None, b"%08d" % number + b"x" * (shape.bytes - 8))
        for number in range(count)
    ]
    # As many pending as the windows hold, and full batches: an open window is put before any batch leaves.
    policy = Policy(linger=0.1, max_bytes=BATCH_BYTES, max_records=10_000, max_pending_records=160_000)
    sink = await stack.enter_async_context(KafkaSink(place, topic, policy=policy))
    aiokafka = await stack.enter_async_context(
        AIOKafkaProducer(bootstrap_servers=place, enable_idempotence=True, max_batch_size=BATCH_BYTES, linger_ms=5)
    )
    confluent = confluent_kafka.Producer(
        {
            "bootstrap.servers": place,
            "enable.idempotence": True,
            "linger.ms": 5,
            "batch.size": BATCH_BYTES,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": WINDOW,
        }
    )
    by_partition: dict[int, list[tuple[bytes | None, bytes]]] = {number: [] for number in range(PARTITIONS)}
    for index, (key, value) in enumerate(records):
        number = (index if key is None else murmur2(key) & 0x7FFFFFFF) % PARTITIONS
        by_partition[number].append((key, value))
    return Bench(place, topic, shape, records, by_partition, sink, aiokafka, confluent)


def contenders(bench: Bench) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
    return {
        "put, awaited": bench.put_awaited,
        "put, gathered": bench.put_gathered,
        "stream": bench.stream,
        "aiokafka send": bench.send,
        "aiokafka send_batch": bench.send_batch,
        "aiokafka send_batch, all told": bench.send_batch_told,
        "aiokafka send_batch, sorted before": bench.send_batch_sorted,
        "confluent-kafka produce": bench.confluent_produce,
    }


def add_figures(report: Report, bench: Bench, seconds: dict[str, list[float]]) -> None:
    shape = bench.shape

    def over(name: str, peer: str) -> float:
        return ratio(seconds[peer], seconds[name])

    peers = {
        "x send": "aiokafka send",
        "of send_batch": "aiokafka send_batch",
        "of told": "aiokafka send_batch, all told",
        "of sorted": "aiokafka send_batch, sorted before",
        "of confluent": "confluent-kafka produce",
    }
    report.table(
        f"{shape.title}; {PARTITIONS} partitions, {len(bench.records):,} records",
        ["", "records/s", "client's CPU µs/record", *peers],
        [
            [
                name,
                f"{1 / median(seconds[name]):,.0f}",
                f"{median(bench.cpu[name]) * 1e6:.2f}",
                *[f"{over(name, peer):.2f}" for peer in peers.values()],
            ]
            for name in seconds
        ],
    )
    for peer, target in TARGETS.items():
        report.at_least(f"{shape.title}: put, awaited / {peer}", over("put, awaited", peer), target)
    colours = {name: FLOOR if "batch" in name else PEER if name in peers.values() else OURS for name in seconds}
    drawn = {name: (1e-3 / median(seconds[name]), colours[name]) for name in seconds}
    report.plot(bars(shape.title, "thousand records/s", drawn))


def measure(
    runner: asyncio.Runner, place: str, shape: Shape, count: int, rounds: int
) -> tuple[Bench, dict[str, list[float]]]:
    stack = AsyncExitStack()
    try:
        bench = runner.run(open_bench(stack, place, shape, count))

        def timed(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], float]:
            return lambda: runner.run(bench.timed(name, work()))

        return bench, interleaved(rounds, {name: timed(name, work) for name, work in contenders(bench).items()})
    finally:
        runner.run(stack.aclose())


def main() -> None:
    report = Report("kafka", "Records into Kafka", is_quick=is_quick(__doc__))
    rounds = 2 if report.is_quick else 5
    server = KafkaServer.start()
    try:
        for shape in SHAPES:
            with asyncio.Runner() as runner:
                count = shape.count // 5 if report.is_quick else shape.count
                bench, seconds = measure(runner, server.bootstrap_servers, shape, count, rounds)
            add_figures(report, bench, seconds)
    finally:
        server.stop()
    report.finish()


if __name__ == "__main__":
    main()
