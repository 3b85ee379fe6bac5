"""What a real broker does at its edges: the facts that the sink's verdicts and limits rest on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Backoff, InvalidRecord, Outcome, Policy, RecordTooLarge
from sinkwell.sinks.rabbitmq import RabbitMQMessage, RabbitMQReceipt
from tests.faults.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sinks.rabbitmq.conftest import Broker, Oracle

SMALL = 10_000
QUICK = Backoff(base=0.05, cap=0.1)


@pytest.fixture
async def small_limit(broker: Broker) -> AsyncIterator[int]:
    """The broker's own `max_message_size` for the channels that are opened now."""
    was = await asyncio.to_thread(broker.server.control, "eval", "application:get_env(rabbit, max_message_size).")
    bytes_before = was.strip().removeprefix("{ok,").removesuffix("}")

    async def limit(size: str) -> None:
        await asyncio.to_thread(broker.server.control, "eval", set_limit.format(size=size))

    # Where a broker keeps it: until 3.12 in the application's environment, since then in a term of the whole node.
    set_limit = "application:set_env(rabbit, max_message_size, {size}), persistent_term:put(max_message_size, {size})."
    await limit(f"{SMALL}")
    yield SMALL
    await limit(bytes_before)


async def test_a_body_above_the_brokers_own_limit_fails_alone_and_costs_no_connection(
    broker: Broker, make_sink: Any, oracle: Oracle, at_once: Any, small_limit: int
) -> None:
    queue = await broker.queue()
    records = [b"%d" % number for number in range(101)]
    records[50] = b"x" * (small_limit + 1)
    async with make_sink(broker.url, "", queue) as sink:
        await sink.put(b"x" * small_limit)
        connection = sink._destination.link._connection
        oracle.told_of(records, await at_once(sink, records))
        assert sink._destination.link._connection is connection
    assert oracle.ended(Outcome.NOT_WRITTEN) == [records[50]]
    assert not oracle.ended(Outcome.UNKNOWN)
    oracle.check((await broker.bodies(queue))[1:])


async def test_what_no_queue_takes_is_confirmed_and_gone_where_it_is_not_mandatory(
    broker: Broker, make_sink: Any
) -> None:
    exchange = await broker.exchange()
    async with make_sink(broker.url, exchange, "nowhere", mandatory=False) as sink:
        assert isinstance(await sink.put("x"), RabbitMQReceipt)


async def test_a_message_that_one_of_two_queues_refuses_is_unknown_for_the_other_has_it(
    broker: Broker, make_sink: Any, oracle: Oracle
) -> None:
    full, free = await broker.queue(x_max_length=0, x_overflow="reject-publish"), await broker.queue()
    exchange = await broker.exchange("fanout")
    for queue in (full, free):
        await broker.bind(queue, exchange)
    once = Policy(attempt_timeout=10.0, delivery_timeout=30.0, on_unknown="fail")
    async with make_sink(broker.url, exchange, policy=once) as sink:
        oracle.told_of([b"0", b"1"], await sink.put_many([b"0", b"1"]))
    assert oracle.ended(Outcome.UNKNOWN) == [b"0", b"1"]
    assert await broker.bodies(free) == [b"0", b"1"]
    assert not await broker.bodies(full)


async def test_a_full_quorum_queue_refuses_what_is_then_not_written(
    broker: Broker, make_sink: Any, oracle: Oracle
) -> None:
    queue = await broker.queue(x_queue_type="quorum", x_max_length=5, x_overflow="reject-publish")
    bodies = [b"%d" % number for number in range(100)]
    # Ended by its attempts: a deadline may fall into one, and that is a doubt.
    policy = Policy(max_attempts=3, backoff=QUICK)
    async with make_sink(broker.url, "", queue, policy=policy) as sink:
        for body in bodies:
            oracle.told_of([body], await sink.put_many([body]))
            if oracle.ended(Outcome.NOT_WRITTEN):
                break
    assert len(oracle.ended(Outcome.NOT_WRITTEN)) == 1
    assert not oracle.ended(Outcome.UNKNOWN)
    oracle.check(await broker.bodies(queue))


async def test_the_largest_properties_that_put_lets_through_fit_into_the_brokers_frame(
    broker: Broker, make_sink: Any
) -> None:
    queue = await broker.queue()

    def message(size: int) -> RabbitMQMessage:
        return RabbitMQMessage("x", headers={"a": "h" * size}, message_id="m")

    async with make_sink(broker.url, "", queue) as sink:
        largest = largest_taken(sink, message)
        connection = sink._destination.link._connection
        assert (await sink.put(message(largest))).attempts == 1
        with pytest.raises(RecordTooLarge):
            await sink.put(message(largest + 1))
        assert sink._destination.link._connection is connection
    (found,) = await broker.messages(queue)
    assert len(found.header.properties.headers["a"]) == largest > 130_000


def largest_taken(sink: Any, message: Any) -> int:
    low, high = 130_000, 132_000
    while high - low > 1:
        middle = (low + high) // 2
        try:
            sink._destination.encode(message(middle))
        except InvalidRecord:
            high = middle
        else:
            low = middle
    return low


async def test_a_routing_key_of_255_bytes_reaches_its_queue(broker: Broker, make_sink: Any) -> None:
    queue, exchange, key = await broker.queue(), await broker.exchange(), "ä" * 127 + "k"
    await broker.bind(queue, exchange, key)
    async with make_sink(broker.url, exchange, key) as sink:
        await sink.put("x")
    assert await broker.bodies(queue) == [b"x"]


async def test_a_copy_has_the_message_id_of_the_first_and_of_the_receipt(broker: Broker, make_sink: Any) -> None:
    queue = await broker.queue()
    server = broker.server
    policy = Policy(attempt_timeout=5.0, delivery_timeout=30.0, backoff=Backoff(base=0.001, cap=0.005))
    async with (
        FaultProxy.to(server.host, server.port) as proxy,
        make_sink(server.through(proxy.host, proxy.port), "", queue, policy=policy) as sink,
    ):
        await sink.put("first")
        proxy.down.cut_after(0)  # the broker's word is lost, not the message
        receipt = await sink.put("x")
    copies = [message.header.properties.message_id for message in (await broker.messages(queue))[1:]]
    assert receipt.attempts == len(copies) == 2
    assert set(copies) == {receipt.message_id}
