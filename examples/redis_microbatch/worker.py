"""A model worker: takes requests in batches, calls the model, adds the answers. Start as many as there are models.

Run it: `python -m examples.redis_microbatch.worker`; SIGTERM ends it when it has answered what it has.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from examples.redis_microbatch.taking import RequestQueue, Taken
from examples.redis_microbatch.wire import ANSWER, GROUP, REQUESTS, Settings, connect
from sinkwell.core import Batch, Delivered, Encoded, Limits, Policy, Sink, Unknown, Verdict, batched

if TYPE_CHECKING:
    from redis.asyncio import Redis

SETTINGS = Settings()


@batched(max_records=SETTINGS.batch_size)
def predict(images: list[bytes]) -> list[str | Exception]:
    """Label the images, in a thread, so that the heart goes on beating. An empty one fails alone."""
    time.sleep(SETTINGS.inference)
    return [f"a picture of {image.decode()}" if image else ValueError("an empty picture") for image in images]


@dataclass(frozen=True)
class Answer:
    """What a caller is told: a label, or why there is none."""

    to: Taken
    outcome: str
    text: str


class AnswerStreams:
    """The API workers' streams as a destination; a receipt says whether the caller still waited for this answer."""

    name = f"redis:{REQUESTS} answers"
    limits = Limits(default_records=500, default_bytes=4 * 1024 * 1024, retry_unknown=True)

    def __init__(self, redis: Redis, kept: float) -> None:
        self._redis = redis
        self._kept_ms = int(kept * 1_000)

    async def open(self) -> None:
        """The client connects when it is used."""

    def encode(self, record: Answer) -> Encoded:
        """Make the script's keys and arguments."""
        request = record.to.request
        keys = [REQUESTS, request.answers]
        arguments = [GROUP, record.to.entry_id, request.number, record.outcome, record.text, self._kept_ms]
        return Encoded((keys, arguments), len(record.text))

    async def write(self, batch: Batch) -> list[Verdict[bool]]:
        """Answer each of them in one round trip; that an answer is given twice the script excludes."""
        pipeline = self._redis.pipeline(transaction=False)
        for keys, arguments in batch.payloads:
            pipeline.eval(ANSWER, len(keys), *keys, *arguments)
        replies = await pipeline.execute(raise_on_error=False)
        return [Unknown(reply) if isinstance(reply, Exception) else Delivered(bool(reply)) for reply in replies]

    async def aclose(self) -> None:
        """The client's owner closes it."""


async def answer(one: Taken) -> Answer:
    """Ask the model, unless the request is refused."""
    if one.refusal is not None:
        return Answer(one, *one.refusal)
    try:
        return Answer(one, "label", await predict(one.request.image))
    except Exception as error:  # noqa: BLE001 - whatever the model raises is its caller's answer
        return Answer(one, "failed", f"{type(error).__name__}: {error}")


async def serve(queue: RequestQueue, answers: Sink[Answer, bool], taken: list[Taken]) -> None:
    """Predict and answer. What can't be answered, because Redis is away, is claimed again later."""
    async with queue.holding(taken):
        await answers.put_many(await asyncio.gather(*map(answer, taken)))


async def work_off(queue: RequestQueue, answers: Sink[Answer, bool], stopping: asyncio.Event) -> None:
    """Serve a batch, and while the model runs take the next, which waits in `predict`; until too few are left."""
    taken = await queue.take()
    async with asyncio.TaskGroup() as batches:
        running = batches.create_task(serve(queue, answers, taken))
        while taken and not stopping.is_set() and (ahead := await queue.take_ahead()):
            following = batches.create_task(serve(queue, answers, ahead))
            await running
            running = following


async def work(queue: RequestQueue, answers: Sink[Answer, bool], stopping: asyncio.Event) -> None:
    """Take, predict, answer."""
    while not stopping.is_set():
        try:
            await work_off(queue, answers, stopping)
        except* RedisError as errors:
            print(f"Redis: {errors.exceptions[0]!r}; trying again", flush=True)
            await asyncio.sleep(0.2)
            await reopen(queue)


async def reopen(queue: RequestQueue) -> None:
    """Make stream and group again, if Redis came back empty."""
    try:
        await queue.open()
    except RedisError:
        return  # the next round says so


async def main() -> None:
    """Work until SIGTERM."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    redis = connect(SETTINGS.redis_url, SETTINGS.claim_after)
    queue = RequestQueue(redis, name, SETTINGS)
    await queue.open()
    print(f"{name} takes requests, {SETTINGS.batch_size} at once", flush=True)
    policy = Policy(attempt_timeout=2.0, delivery_timeout=10.0)
    async with Sink(AnswerStreams(redis, SETTINGS.answers_kept), policy) as answers, predict:
        await work(queue, answers, stopping)
    await queue.leave()
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(main())
