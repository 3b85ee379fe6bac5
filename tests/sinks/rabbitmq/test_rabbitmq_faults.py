"""A real broker that is stopped, starved, reconfigured and cut off: what callers are told is what the queue holds."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Backoff, Outcome, Policy
from sinkwell.sinks.rabbitmq import RabbitMQMessage, RabbitMQReceipt
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sinkwell.sinks.rabbitmq import RabbitMQSink
    from tests.servers import RabbitMQServer
    from tests.sinks.rabbitmq.conftest import Broker, Oracle

CUTS = 200


def bodies(first: int, count: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


async def delivered(sink: RabbitMQSink, count: int) -> None:
    while sink.stats().delivered < count:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.001)


@pytest.fixture
async def proxy(rabbitmq_server: RabbitMQServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy.to(rabbitmq_server.host, rabbitmq_server.port) as proxy:
        yield proxy


async def test_200_cuts_at_random_bytes_lose_nothing_and_count_every_duplicate(
    broker: Broker, make_sink: Any, proxy: FaultProxy, oracle: Oracle
) -> None:
    queue = await broker.queue()
    chance = random.Random(4)
    policy = Policy(attempt_timeout=5.0, delivery_timeout=30.0, max_records=20, backoff=Backoff(base=0.001, cap=0.005))
    number = 0
    async with make_sink(broker.server.through(proxy.host, proxy.port), "", queue, policy=policy) as sink:
        while proxy.connections <= CUTS:
            way, most = chance.choice([(proxy.up, 9_000), (proxy.down, 90)])
            way.cut_after(chance.randrange(most))
            records = bodies(number, 30)
            number += len(records)
            oracle.told_of(records, await sink.put_many(records))
        proxy.heal()
    assert not oracle.ended(Outcome.UNKNOWN)
    assert not oracle.ended(Outcome.NOT_WRITTEN)
    oracle.check(await broker.bodies(queue))
    assert oracle.duplicates


async def test_a_broker_that_dies_and_comes_back_has_every_receipt_and_nothing_that_is_not_written(
    broker: Broker, make_sink: Any, oracle: Oracle
) -> None:
    queues = [await broker.queue() for _ in range(2)]
    backoff = Backoff(base=0.05, cap=0.2)
    patient = Policy(attempt_timeout=5.0, delivery_timeout=60.0, max_records=50, backoff=backoff)
    hasty = Policy(attempt_timeout=0.5, delivery_timeout=1.0, max_records=50, backoff=backoff)
    async with (
        make_sink(broker.url, "", queues[0], policy=patient) as sink,
        make_sink(broker.url, "", queues[1], policy=hasty) as other,
    ):
        waits = asyncio.create_task(sink.put_many(bodies(0, 3_000)))
        oracle.told_of(bodies(3_000, 100), await other.put_many(bodies(3_000, 100)))
        await delivered(sink, 500)
        broker.server.pause()
        oracle.told_of(bodies(3_100, 100), await other.put_many(bodies(3_100, 100)))
        broker.server.kill()
        # Longer than its deadline, without a broker.
        oracle.told_of(bodies(3_200, 100), await other.put_many(bodies(3_200, 100)))
        await asyncio.to_thread(broker.server.restart)
        oracle.told_of(bodies(3_300, 100), await other.put_many(bodies(3_300, 100)))
        oracle.told_of(bodies(0, 3_000), await waits)
    assert oracle.ended(None) == bodies(3_000, 100) + bodies(3_300, 100) + bodies(0, 3_000)
    assert oracle.ended(Outcome.NOT_WRITTEN)[-100:] == bodies(3_200, 100)
    assert set(oracle.ended(Outcome.UNKNOWN)) <= set(bodies(3_100, 100))
    oracle.check([body for queue in queues for body in await broker.bodies(queue)])


@pytest.mark.parametrize(
    ("alarm", "lift"),
    [
        (["set_vm_memory_high_watermark", "0.00001"], ["set_vm_memory_high_watermark", "0.4"]),
        (["set_disk_free_limit", "1000000GB"], ["set_disk_free_limit", "50MB"]),
    ],
)
async def test_an_alarm_holds_messages_back_until_it_is_lifted(
    broker: Broker, make_sink: Any, oracle: Oracle, alarm: list[str], lift: list[str]
) -> None:
    queue = await broker.queue()
    policy = Policy(attempt_timeout=0.5, delivery_timeout=30.0, max_records=50, backoff=Backoff(base=0.05, cap=0.1))
    async with make_sink(broker.url, "", queue, policy=policy) as sink:
        oracle.told_of(bodies(0, 10), await sink.put_many(bodies(0, 10)))
        await asyncio.to_thread(broker.server.control, *alarm)
        try:
            told = [asyncio.create_task(sink.put_many(bodies(10, 10)))]
            await asyncio.sleep(1.2)
            # By now the broker has said so: these wait, and nothing of them is sent.
            told.append(asyncio.create_task(sink.put_many(bodies(20, 10))))
            retries = sink.stats().retries
            await asyncio.sleep(0.3)
            assert sink.stats().retries > retries
            assert not any(task.done() for task in told)
        finally:
            await asyncio.to_thread(broker.server.control, *lift)
        for first, task in zip((10, 20), told, strict=True):
            oracle.told_of(bodies(first, 10), await task)
    assert len(oracle.ended(None)) == 30
    found = await broker.bodies(queue)
    oracle.check(found)
    assert all((found.count(body), oracle.told[body].attempts) == (1, 1) for body in bodies(20, 10))
    assert all(found.count(body) <= 2 for body in bodies(10, 10))


async def test_an_alarm_longer_than_the_deadline_tells_sent_from_unsent(
    broker: Broker, make_sink: Any, oracle: Oracle
) -> None:
    queue = await broker.queue()
    policy = Policy(attempt_timeout=0.3, delivery_timeout=0.6, backoff=Backoff(base=0.05, cap=0.1))
    async with make_sink(broker.url, "", queue, policy=policy) as sink:
        await sink.put("first")
        await asyncio.to_thread(broker.server.control, "set_vm_memory_high_watermark", "0.00001")
        try:
            oracle.told_of(bodies(0, 10), await sink.put_many(bodies(0, 10)))
            oracle.told_of(bodies(10, 10), await sink.put_many(bodies(10, 10)))
        finally:
            await asyncio.to_thread(broker.server.control, "set_vm_memory_high_watermark", "0.4")
        await sink.put("last")
    assert oracle.ended(Outcome.UNKNOWN) == bodies(0, 10)
    assert oracle.ended(Outcome.NOT_WRITTEN) == bodies(10, 10)
    oracle.check(body for body in await broker.bodies(queue) if body.isdigit())


async def test_a_full_queue_that_rejects_gets_the_rest_when_it_has_room(
    broker: Broker, make_sink: Any, oracle: Oracle
) -> None:
    queue = await broker.queue(x_max_length=10, x_overflow="reject-publish")
    async with make_sink(broker.url, "", queue) as sink:
        told = asyncio.create_task(sink.put_many(bodies(0, 30)))
        found: list[bytes] = []
        while len(found) < 30:
            await asyncio.sleep(0.02)
            found += await broker.bodies(queue)
        oracle.told_of(bodies(0, 30), await told)
    assert len(oracle.ended(None)) == 30
    oracle.check(found + await broker.bodies(queue))
    assert not oracle.duplicates


@pytest.mark.parametrize(("is_default", "outcome"), [(True, Outcome.NOT_WRITTEN), (False, Outcome.UNKNOWN)])
async def test_a_queue_that_stays_full_leaves_its_messages_unwritten_unless_another_queue_may_have_them(
    broker: Broker, make_sink: Any, oracle: Oracle, is_default: bool, outcome: Outcome
) -> None:
    queue = await broker.queue(x_max_length=1, x_overflow="reject-publish")
    exchange = "" if is_default else await broker.exchange()
    if exchange:
        await broker.bind(queue, exchange, queue)
    policy = Policy(attempt_timeout=0.3, delivery_timeout=0.4, backoff=Backoff(base=0.05, cap=0.1))
    async with make_sink(broker.url, exchange, queue, policy=policy) as sink:
        await sink.put_many(["x"] * 3)
        oracle.told_of(bodies(0, 10), await sink.put_many(bodies(0, 10)))
    assert len(oracle.ended(outcome)) == 10
    oracle.check(body for body in await broker.bodies(queue) if body.isdigit())


async def test_a_right_that_is_taken_away_and_given_back(
    broker: Broker, make_sink: Any, proxy: FaultProxy, oracle: Oracle
) -> None:
    queue = await broker.queue()

    async def write_right(pattern: str) -> None:
        words = ("set_permissions", "-p", "/", "sinkwell", ".*", pattern, ".*")
        await asyncio.to_thread(broker.server.control, *words)
        proxy.reset()  # the broker asks once for each channel, and remembers

    async with make_sink(broker.server.through(proxy.host, proxy.port), "", queue) as sink:
        oracle.told_of(bodies(0, 10), await sink.put_many(bodies(0, 10)))
        try:
            await write_right("^$")
            oracle.told_of(bodies(10, 10), await sink.put_many(bodies(10, 10)))
            oracle.told_of(bodies(20, 10), await sink.put_many(bodies(20, 10)))
        finally:
            await write_right(".*")
        oracle.told_of(bodies(30, 10), await sink.put_many(bodies(30, 10)))
    assert oracle.ended(None) == bodies(0, 10) + bodies(30, 10)
    assert set(oracle.ended(Outcome.NOT_WRITTEN)) >= set(bodies(20, 10))
    oracle.check(await broker.bodies(queue))


async def test_an_exchange_deleted_in_mid_flight_costs_nothing_of_the_others(
    broker: Broker, make_sink: Any, oracle: Oracle
) -> None:
    queue, exchange = await broker.queue(), await broker.exchange()
    await broker.bind(queue, exchange, "k")
    records = [
        RabbitMQMessage(body, "k", exchange=exchange) if n % 3 == 0 else RabbitMQMessage(body, queue)
        for n, body in enumerate(bodies(0, 6_000))
    ]
    async with make_sink(broker.url, policy=Policy(max_records=100, attempt_timeout=5)) as sink:
        told = asyncio.create_task(sink.put_many(records))
        await delivered(sink, 1_000)
        await (await broker.channel()).exchange_delete(exchange)
        oracle.told_of(bodies(0, 6_000), await told)
    lost = {*oracle.ended(Outcome.UNKNOWN), *oracle.ended(Outcome.NOT_WRITTEN)}
    assert lost
    assert lost <= set(bodies(0, 6_000)[::3])
    oracle.check(await broker.bodies(queue))


async def test_a_connection_gone_silent_is_replaced_within_the_attempts_time(
    broker: Broker, make_sink: Any, proxy: FaultProxy, oracle: Oracle
) -> None:
    queue = await broker.queue()
    policy = Policy(attempt_timeout=0.4, delivery_timeout=10.0, backoff=Backoff(base=0.01, cap=0.05))
    async with make_sink(broker.server.through(proxy.host, proxy.port), "", queue, policy=policy) as sink:
        await sink.put("first")
        proxy.down.swallow = True
        told = asyncio.create_task(sink.put_many(bodies(0, 10)))
        await asyncio.sleep(0.2)
        proxy.down.swallow = False  # for new connections: the old one has lost a part of its stream
        oracle.told_of(bodies(0, 10), await told)
    assert len(oracle.ended(None)) == 10
    oracle.check((await broker.bodies(queue))[1:])


async def test_one_routing_keys_order_holds_over_cuts(broker: Broker, make_sink: Any, proxy: FaultProxy) -> None:
    queues = [await broker.queue() for _ in range(5)]
    chance = random.Random(5)
    options: dict[str, Any] = {"ordered": True, "strict_order": False}
    policy = Policy(max_records=10, backoff=Backoff(base=0.001, cap=0.005))
    records = [RabbitMQMessage(b"%d" % n, queues[n % 5]) for n in range(1_000)]
    async with make_sink(broker.server.through(proxy.host, proxy.port), policy=policy, **options) as sink:
        outcomes: list[Any] = []
        for first in range(0, 1_000, 100):
            proxy.up.cut_after(chance.randrange(9_000))
            outcomes += await sink.put_many(records[first : first + 100])
    assert all(isinstance(outcome, RabbitMQReceipt) for outcome in outcomes)
    for number, queue in enumerate(queues):
        # At least once: a copy may come again, but none overtakes one before it for the first time.
        firsts = list(dict.fromkeys(await broker.bodies(queue)))
        assert firsts == bodies(0, 1_000)[number::5]


async def test_closing_in_the_middle_of_everything_leaves_nothing_behind(
    broker: Broker, make_sink: Any, proxy: FaultProxy
) -> None:
    queue = await broker.queue()
    before = asyncio.all_tasks()
    sink = make_sink(broker.server.through(proxy.host, proxy.port), "", queue)
    await sink.open()
    proxy.up.hold()
    deliveries = [sink.put_nowait(b"x" * 1_000) for _ in range(2_000)]
    await asyncio.sleep(0.1)
    started = asyncio.get_running_loop().time()
    await sink.close(timeout=0.2)
    assert asyncio.get_running_loop().time() - started < 3
    assert all(delivery.done() and delivery.exception() for delivery in deliveries)
    proxy.up.release()
    proxy.reset()
    await asyncio.sleep(0.05)
    ours = [task for task in asyncio.all_tasks() - before if "aiormq" in repr(task) or "sinkwell" in repr(task)]
    assert not ours
