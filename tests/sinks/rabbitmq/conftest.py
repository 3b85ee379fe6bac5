"""What the tests of the RabbitMQ sink share: the broker seen from the consumer's side."""

from __future__ import annotations

import asyncio
import itertools
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiormq
import pytest

from sinkwell.core import Backoff, DeliveryError, Outcome, Policy
from sinkwell.sinks.rabbitmq import RabbitMQReceipt, RabbitMQSink
from tests.sinks.rabbitmq.fake_broker import FakeBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from aiormq.abc import AbstractChannel

    from tests.servers import RabbitMQServer

QUICK = Policy(attempt_timeout=10.0, delivery_timeout=60.0, backoff=Backoff(base=0.02, cap=0.2))
_numbers = itertools.count()


class Broker:
    """The broker's other side: what a consumer and an administrator do."""

    def __init__(self, server: RabbitMQServer) -> None:
        self.server = server
        self.url = server.url
        self._connection: aiormq.Connection | None = None
        self._channel: AbstractChannel | None = None

    async def channel(self) -> AbstractChannel:
        if self._connection is None or not self._connection.is_opened:
            self._connection = await aiormq.connect(self.url)
            self._channel = None
        if self._channel is None or self._channel.is_closed:
            self._channel = await self._connection.channel()
        return self._channel

    async def queue(self, **arguments: Any) -> str:
        name = f"q{next(_numbers)}"
        given = {key.replace("_", "-"): value for key, value in arguments.items()}
        await (await self.channel()).queue_declare(name, durable=True, arguments=given)
        return name

    async def exchange(self, kind: str = "direct") -> str:
        name = f"e{next(_numbers)}"
        await (await self.channel()).exchange_declare(name, exchange_type=kind, durable=True)
        return name

    async def bind(self, queue: str, exchange: str, routing_key: str = "") -> None:
        await (await self.channel()).queue_bind(queue, exchange, routing_key)

    async def messages(self, queue: str) -> list[Any]:
        """Everything in the queue, taken out of it, in order; not before the broker has counted it all as ready."""
        channel = await self.channel()
        found: list[Any] = []
        while wanted := (await channel.queue_declare(queue, passive=True)).message_count:
            taken = asyncio.Event()
            wanted += len(found)

            async def take(message: Any, wanted: int = wanted, taken: asyncio.Event = taken) -> None:
                found.append(message)
                if len(found) >= wanted:
                    taken.set()

            consumer = await channel.basic_consume(queue, take, no_ack=True)
            await taken.wait()
            await channel.basic_cancel(consumer.consumer_tag or "")
        return found

    async def bodies(self, queue: str) -> list[bytes]:
        return [message.body for message in await self.messages(queue)]

    async def aclose(self) -> None:
        if self._connection is not None:
            await self._connection.close()


@pytest.fixture
async def broker(rabbitmq_server: RabbitMQServer) -> AsyncIterator[Broker]:
    broker = Broker(rabbitmq_server)
    yield broker
    await broker.aclose()


@pytest.fixture
async def fake() -> AsyncIterator[FakeBroker]:
    fake = await FakeBroker().start()
    yield fake
    await fake.stop()


def sink_to(url: str, exchange: str = "", routing_key: str = "", **options: Any) -> RabbitMQSink:
    return RabbitMQSink(url, exchange, routing_key, **{"policy": QUICK, **options})


@pytest.fixture
def make_sink() -> Any:
    return sink_to


async def put_at_once(sink: RabbitMQSink, records: Iterable[Any]) -> list[Any]:
    """Put records in one tick: they share a batch, which `put_many` promises of none on a busy machine."""
    deliveries = [sink.put_nowait(record) for record in records]
    return await asyncio.gather(*deliveries, return_exceptions=True)


@pytest.fixture
def at_once() -> Any:
    return put_at_once


class Oracle:
    """Compares what callers were told with what is in the queue, by the messages' bodies.

    Attributes:
        duplicates: Copies beyond the first, each of them after an attempt without an answer.
    """

    def __init__(self) -> None:
        self.told: dict[bytes, RabbitMQReceipt | DeliveryError] = {}
        self.duplicates = 0

    def told_of(self, bodies: Iterable[bytes], outcomes: Iterable[Any]) -> None:
        self.told.update(zip(bodies, outcomes, strict=True))

    def ended(self, outcome: Outcome | None) -> list[bytes]:
        """The bodies that ended so; with None, those with a receipt."""
        return [
            body
            for body, told in self.told.items()
            if (told.outcome if isinstance(told, DeliveryError) else None) is outcome
        ]

    def check(self, found: Iterable[bytes]) -> None:
        copies = dict.fromkeys(self.told, 0)
        for body in found:
            copies[body] += 1
        for body, told in self.told.items():
            assert copies[body] <= told.attempts, f"{body!r}: {copies[body]} copies of {told.attempts} attempts"
            if isinstance(told, RabbitMQReceipt):
                assert copies[body], f"{body!r} has a receipt and is not there"
            else:
                assert told.outcome is Outcome.UNKNOWN or not copies[body], f"{body!r} is there: {told}"
        self.duplicates = sum(count - 1 for count in copies.values() if count)


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
def shown() -> Any:
    return everything


def everything(error: BaseException | None) -> str:
    """What a traceback with locals would show of the library and what it calls, through causes and contexts."""
    if error is None:
        return ""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = Path(__file__).parent
    told = [repr(frame.f_locals) for frame in frames if Path(frame.f_code.co_filename).parent != ours]
    return "".join([repr(error), *told, everything(error.__cause__), everything(error.__context__)])
