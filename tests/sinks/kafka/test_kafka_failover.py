"""Three real brokers: a partition's leader dies or hangs, another one takes over, and no receipt was wrong."""

from __future__ import annotations

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.admin import NewTopic
from confluent_kafka.admin import AdminClient

from sinkwell.core import Backoff, Policy
from sinkwell.sinks.kafka import KafkaReceipt, KafkaRecord
from tests.servers import KafkaMember
from tests.sinks.kafka.conftest import assert_in_order, reckon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import KafkaServer
    from tests.sinks.kafka.conftest import Broker

POLICY = Policy(attempt_timeout=1.0, delivery_timeout=30.0, backoff=Backoff(base=0.02, cap=0.2), max_records=200)
# By partition, its leader first; broker 1 is the run's own, which is the controller too.
COPIES = {0: [2, 3, 1], 1: [3, 1, 2], 2: [1, 2, 3]}


@pytest.fixture(scope="module")
def members(kafka_server: KafkaServer) -> Iterator[dict[int, KafkaMember]]:
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        started = threads.map(lambda node: KafkaMember.join(kafka_server, node), (2, 3))
        yield {member.node: stack.enter_context(member) for member in started}
    # Until then the controller would give them partitions of the next test's topic.
    admin = AdminClient({"bootstrap.servers": kafka_server.bootstrap_servers})
    while set(admin.list_topics(timeout=10).brokers) != {kafka_server.node}:
        time.sleep(0.05)


async def copied_topic(kafka: Broker) -> str:
    name = f"test-{secrets.token_hex(6)}"
    new = NewTopic(name, -1, -1, replica_assignments=COPIES, topic_configs={"min.insync.replicas": "2"})
    made = await kafka.admin.create_topics([new])
    assert [row[1] for row in made.topic_errors] == [0], made
    return name


# In this order: who was killed stays away.
@pytest.mark.parametrize("fate", ["hangs", "killed"])
async def test_a_leader_that_is_lost_costs_no_record_and_repeats_none(
    kafka: Broker, members: dict[int, KafkaMember], fate: str
) -> None:
    topic = await copied_topic(kafka)
    records: list[KafkaRecord] = []
    deliveries: list[Any] = []

    async def put_some(sink: Any) -> None:
        for number in range(len(records), len(records) + 30):
            records.append(KafkaRecord(f"{number % 3}:{number}", partition=number % 3))
            deliveries.append(await sink.submit(records[-1]))
        await asyncio.sleep(0.001)

    async with kafka.sink(topic, policy=POLICY) as sink:
        for _ in range(100):
            await put_some(sink)
        if fate == "killed":
            members[2].kill()
        else:
            members[2].pause()
        after = len(records)
        for _ in range(20):
            await put_some(sink)
        await asyncio.gather(*deliveries[after:])
        if fate == "hangs":
            # Back, it still takes itself for the leader, until somebody tells it.
            members[2].resume()
        for _ in range(20):
            await put_some(sink)
        outcomes = await asyncio.gather(*deliveries)
    assert max(receipt.attempts for receipt in outcomes if receipt.partition == 0) > 1
    assert all(isinstance(outcome, KafkaReceipt) for outcome in outcomes)
    held = await kafka.holds(topic)
    told = [(str(record.value).encode(), outcome) for record, outcome in zip(records, outcomes, strict=True)]
    assert reckon(held, told) == {"receipts": len(records), "duplicates": 0}
    assert_in_order(held)
