"""Topics of a test's own on the run's broker, and what they hold."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from sinkwell.core import Backoff, DeliveryError, Outcome, Policy
from sinkwell.sinks.kafka import KafkaReceipt, KafkaSink
from tests.faults import FaultProxy
from tests.sinks.kafka.fake_broker import FakeBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aiokafka.structs import ConsumerRecord

    from tests.servers import KafkaServer

QUICK = Policy(attempt_timeout=2.0, delivery_timeout=20.0, backoff=Backoff(base=0.01, cap=0.2))


@dataclass
class Broker:
    """The run's broker, as a test sees it."""

    server: KafkaServer
    admin: AIOKafkaAdminClient

    @property
    def place(self) -> str:
        return self.server.bootstrap_servers

    async def topic(self, partitions: int = 1, **configs: str) -> str:
        name = f"test-{secrets.token_hex(6)}"
        given = {key.replace("_", "."): value for key, value in configs.items()}
        made = await self.admin.create_topics([NewTopic(name, partitions, 1, topic_configs=given)])
        assert [row[1] for row in made.topic_errors] == [0], made
        return name

    def sink(self, topic: str, **options: Any) -> KafkaSink:
        return KafkaSink(options.pop("at", self.place), topic, **{"policy": QUICK} | options)

    async def holds(self, topic: str, *, committed_only: bool = False) -> list[ConsumerRecord[bytes, bytes]]:
        """All that a consumer reads of a topic, by partition and offset."""
        isolation = "read_committed" if committed_only else "read_uncommitted"
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.place,
            isolation_level=isolation,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        async with consumer:
            found = await consumer._client._wait_on_metadata(topic)
            places = [TopicPartition(topic, number) for number in sorted(found)]
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            records: list[ConsumerRecord[bytes, bytes]] = []
            for place in places:
                while await consumer.position(place) < ends[place]:
                    batch = await consumer.getmany(place, timeout_ms=1000)
                    records += batch.get(place, [])
        return records


@pytest.fixture
async def kafka(kafka_server: KafkaServer) -> AsyncIterator[Broker]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap_servers)
    await admin.start()
    yield Broker(kafka_server, admin)
    await admin.close()


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    async with FakeBroker() as fake:
        yield fake


@pytest.fixture
async def proxy(kafka_server: KafkaServer) -> AsyncIterator[FaultProxy]:
    """Between the sink and the broker, where the sink connects to `proxy.host:proxy.port`."""
    way = FaultProxy.to(kafka_server.host, kafka_server.proxied_port, on_port=kafka_server.proxy_port)
    async with way:
        yield way


def reckon(records: Sequence[ConsumerRecord[bytes, bytes]], outcomes: Sequence[tuple[bytes, object]]) -> dict[str, int]:
    """Hold what the broker has against what callers were told; raise on a contradiction, else count.

    No receipt without its record at its offset; no NOT_WRITTEN that is there; nothing twice but what was UNKNOWN.
    """
    held = Counter(record.value for record in records)
    by_place = {(record.partition, record.offset): record for record in records}
    counts = Counter[str]()
    for value, outcome in outcomes:
        times = held.pop(value, 0)
        if isinstance(outcome, KafkaReceipt):
            counts["receipts"] += 1
            record = by_place[outcome.partition, outcome.offset]
            assert record.value == value, "a receipt points at another record"
            assert record.timestamp == outcome.timestamp_ms
            counts["duplicates"] += times - 1
            continue
        assert isinstance(outcome, DeliveryError), outcome
        counts[outcome.outcome.value] += 1
        if outcome.outcome is Outcome.NOT_WRITTEN:
            assert times == 0, "a record that was called not written is there"
        else:
            counts["unknown_and_there"] += times > 0
            counts["duplicates"] += max(0, times - 1)
    assert not held, f"nobody put {len(held)} of the records"
    return counts


def assert_in_order(records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
    """Values are `key:number`; numbers of one key rise."""
    last: dict[bytes, int] = {}
    for record in records:
        key, _, number = record.value.partition(b":")
        assert int(number) > last.get(key, -1), f"{key!r} is out of order at {record.partition}:{record.offset}"
        last[key] = int(number)
