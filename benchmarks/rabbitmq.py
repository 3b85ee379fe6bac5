"""Messages into a real RabbitMQ, persistent, mandatory and confirmed: through the sink, by aio-pika, and raw.

aio-pika publishes 500 at a time, gathered. Raw is what can't be beaten: every frame is made beforehand, 500 messages
are written at once, and nothing is done with the confirms but counting them; once with one window on its way, and once
with as many as the sink has. Client and broker share the machine's cores.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aio_pika
import aiormq
from _report import FLOOR, OURS, PEER, Report, bars, interleaved, is_quick, median, ratio
from aiormq.abc import ChannelFrame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from sinkwell.core import Policy
from sinkwell.sinks.rabbitmq import RabbitMQSink

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.servers import RabbitMQServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

QUEUE = "benchmark"
WINDOW = 500
IN_FLIGHT = 4
# Records put at once and then awaited, as a service does with a page of input.
PAGE = 5_000
BODY = b"x" * 200


class Raw:
    """Prepared frames, written a window at a time; confirms are counted and no more."""

    def __init__(self, connection: aiormq.Connection, number: int) -> None:
        self._connection = connection
        self._sent = 0
        self._confirmed = 0
        self._news = asyncio.Event()
        self._window = b"".join(self._frames(number) for _ in range(WINDOW))

    @staticmethod
    def _frames(number: int) -> bytes:
        properties = Basic.Properties(delivery_mode=2, message_id=os.urandom(16).hex())
        publish = Basic.Publish(exchange="", routing_key=QUEUE, mandatory=True)
        header = ContentHeader(body_size=len(BODY), properties=properties)
        return b"".join(marshal(frame, number) for frame in (publish, header, ContentBody(BODY)))

    async def put(self, item: tuple[int, Any]) -> None:
        assert isinstance(item[1], Basic.Ack), f"not an ack: {item[1]}"
        # Singly or with `multiple`, the broker confirms in order here: one queue, one channel.
        self._confirmed = max(self._confirmed, item[1].delivery_tag)
        self._news.set()

    async def publish(self, messages: int, in_flight: int) -> None:
        target = self._sent + messages
        while self._confirmed < target:
            while self._sent < target and self._sent - self._confirmed <= (in_flight - 1) * WINDOW:
                await self._connection.write_queue.put(ChannelFrame(payload=self._window, should_close=False))
                self._sent += WINDOW
            self._news.clear()
            await self._news.wait()


@dataclass(slots=True, frozen=True)
class Bench:
    """What the contenders share."""

    sink: RabbitMQSink
    exchange: aio_pika.abc.AbstractExchange
    control: aiormq.abc.AbstractChannel
    raw: Raw
    messages: int

    async def timed(self, work: Coroutine[Any, Any, None]) -> float:
        """Do the work and see that all messages are in the queue; seconds for one message."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        await work
        seconds = loop.time() - started
        purged = await self.control.queue_purge(QUEUE)
        assert purged.message_count == self.messages, f"{purged.message_count:,} of {self.messages:,} arrived"
        return seconds / self.messages

    async def put_awaited(self) -> None:
        for _ in range(0, self.messages, PAGE):
            for receipt in [self.sink.put(BODY) for _ in range(PAGE)]:
                await receipt

    async def put_gathered(self) -> None:
        for _ in range(0, self.messages, PAGE):
            await asyncio.gather(*[self.sink.put(BODY) for _ in range(PAGE)])

    async def put_by_tasks(self, tasks: int) -> None:
        async def worker() -> None:
            for _ in range(self.messages // tasks):
                await self.sink.put(BODY)

        await asyncio.gather(*[worker() for _ in range(tasks)])

    async def stream(self) -> None:
        async for outcome in self.sink.stream(BODY for _ in range(self.messages)):
            if isinstance(outcome, Exception):
                raise outcome

    async def aio_pika(self) -> None:
        persistent = aio_pika.DeliveryMode.PERSISTENT
        for _ in range(0, self.messages, WINDOW):
            messages = [aio_pika.Message(BODY, delivery_mode=persistent) for _ in range(WINDOW)]
            await asyncio.gather(*[self.exchange.publish(message, QUEUE) for message in messages])

    def contenders(self) -> Iterator[tuple[str, Callable[[], Coroutine[Any, Any, None]]]]:
        yield "put, awaited", self.put_awaited
        yield "put, gathered", self.put_gathered
        yield "put by 1,000 tasks", lambda: self.put_by_tasks(1_000)
        yield "stream", self.stream
        yield "aio-pika, gathered by 500", self.aio_pika
        yield "raw, 1 window", lambda: self.raw.publish(self.messages, 1)
        yield f"raw, {IN_FLIGHT} windows", lambda: self.raw.publish(self.messages, IN_FLIGHT)


async def prepared(stack: AsyncExitStack, url: str, messages: int) -> Bench:
    policy = Policy(max_records=WINDOW, concurrency=IN_FLIGHT, linger=0.1)
    sink = await stack.enter_async_context(RabbitMQSink(url, "", QUEUE, policy=policy))
    connection = await aiormq.connect(url)
    stack.push_async_callback(connection.close)
    control = await connection.channel()
    await control.queue_declare(QUEUE, durable=True)
    channel: Any = await connection.channel()
    channel.frames = raw = Raw(connection, channel.number)
    peer = await stack.enter_async_context(await aio_pika.connect(url))
    exchange = (await peer.channel(publisher_confirms=True, on_return_raises=True)).default_exchange
    return Bench(sink, exchange, control, raw, messages)


@dataclass(slots=True)
class Figures:
    """By contender: seconds and CPU seconds of this process for a message, by round."""

    seconds: dict[str, list[float]]
    cpu: dict[str, list[float]]


def measure(runner: asyncio.Runner, url: str, messages: int, rounds: int) -> Figures:
    stack = AsyncExitStack()
    cpu: dict[str, list[float]] = {}
    try:
        bench = runner.run(prepared(stack, url, messages))

        def timed(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], float]:
            def run() -> float:
                before = time.process_time()
                seconds = runner.run(bench.timed(work()))
                cpu.setdefault(name, []).append((time.process_time() - before) / messages)
                return seconds

            return run

        return Figures(interleaved(rounds, {name: timed(name, work) for name, work in bench.contenders()}), cpu)
    finally:
        runner.run(stack.aclose())


def add_figures(report: Report, figures: Figures) -> None:
    seconds = figures.seconds
    raws = [name for name in seconds if name.startswith("raw")]
    fastest_raw = min(raws, key=lambda name: median(seconds[name]))
    peer = "aio-pika, gathered by 500"
    report.table(
        f"200 bytes to one durable queue; batches of {WINDOW}, {IN_FLIGHT} of them on their way",
        ["", "messages/s", "client's CPU µs/message", "x aio-pika", f"of {fastest_raw}"],
        [
            [
                name,
                f"{1 / median(seconds[name]):,.0f}",
                f"{median(figures.cpu[name]) * 1e6:.1f}",
                f"{ratio(seconds[peer], seconds[name]):.2f}",
                f"{ratio(seconds[fastest_raw], seconds[name]):.2f}",
            ]
            for name in seconds
        ],
    )
    for name in [name for name in seconds if name not in raws and name != peer]:
        report.at_least(f"{name} / aio-pika", ratio(seconds[peer], seconds[name]), 2.5)
        report.at_least(f"{name} / {fastest_raw}", ratio(seconds[fastest_raw], seconds[name]), 0.7)
    colours = {name: PEER if name == peer else FLOOR if name in raws else OURS for name in seconds}
    drawn = {name: (1e-3 / median(seconds[name]), colours[name]) for name in seconds}
    report.plot(bars("200 bytes, persistent, mandatory, confirmed", "thousand messages/s", drawn))


def main() -> None:
    report = Report("rabbitmq", "Messages into RabbitMQ", is_quick=is_quick(__doc__))
    server = RabbitMQServer.start()
    try:
        with asyncio.Runner() as runner:
            add_figures(
                report,
                measure(runner, server.url, 5_000 if report.is_quick else 20_000, 2 if report.is_quick else 5),
            )
    finally:
        server.stop()
    report.finish()


if __name__ == "__main__":
    main()
