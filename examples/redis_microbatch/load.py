"""Starts Redis, API and model workers, each a process of its own, and posts images: for the tests and the benchmark."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from redis import Redis

from examples.redis_microbatch.wire import GROUP, REQUESTS
from tests.servers import RedisServer, free_port

ROOT = Path(__file__).parents[2]


@dataclass
class Services:
    """What runs: one API worker, some model workers."""

    redis: Redis
    environment: dict[str, str]
    url: str = ""
    models: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_model(self) -> subprocess.Popen[bytes]:
        """Start one more model worker, and wait until it has joined the group."""
        words = [sys.executable, "-m", "examples.redis_microbatch.worker"]
        model = subprocess.Popen(words, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE)
        self.models.append(model)
        assert model.stdout is not None
        assert b"takes requests" in model.stdout.readline(), "the model worker has ended"
        return model

    def left_in_redis(self) -> dict[str, int]:
        """All keys, and how long each is; and what the group holds."""
        left = {key.decode(): self.redis.xlen(key) for key in self.redis.keys("*")}
        groups = self.redis.xinfo_groups(REQUESTS) if REQUESTS in left else []
        return left | {f"{GROUP}: {what}": group[what] for group in groups for what in ("pending", "consumers")}


@contextmanager
def services(redis_url: str, models: int, **environment: str) -> Iterator[Services]:
    """Run them; at the end each is asked politely."""
    with ExitStack() as stack:
        running = Services(stack.enter_context(Redis.from_url(redis_url)), os.environ | environment)
        running.environment["REDIS_URL"] = redis_url
        stack.callback(_end, running.models)
        for _ in range(models):
            running.start_model()
        port = free_port()
        words = [sys.executable, "-m", "uvicorn", "examples.redis_microbatch.api:app", "--port", str(port)]
        words += ["--no-access-log", "--log-level", "warning"]
        api = subprocess.Popen(words, cwd=ROOT, env=running.environment)
        stack.callback(_end, [api])
        running.url = f"http://127.0.0.1:{port}"
        _await_answer(port, api)
        yield running


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def _await_answer(port: int, api: subprocess.Popen[bytes]) -> None:
    import socket  # noqa: PLC0415

    ends = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert api.poll() is None, "the API worker has ended"
            assert time.monotonic() < ends, "the API worker does not answer"
            time.sleep(0.05)
        else:
            return


def picture(number: int) -> bytes:
    """Make an image; `label` is what the model has to say of it."""
    return zlib.compress(f"cat {number}".encode())


def label(number: int) -> str:
    """Say what the answer to `picture(number)` is."""
    return f"a picture of cat {number}"


@dataclass(frozen=True)
class Run:
    """Seconds from the first request to the last answer, and how many answers were wrong."""

    images: int
    seconds: float
    wrong: int


async def post(url: str, images: int) -> Run:
    """Post so many images at once."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(number: int) -> bool:
            async with session.post(f"{url}/predict", data=picture(number)) as answer:
                return answer.status == 200 and await answer.text() == label(number)

        began = time.perf_counter()
        right = await asyncio.gather(*map(ask, range(images)))
        return Run(images, time.perf_counter() - began, right.count(False))


def limit(images: int, models: int, decode: float, inference: float, batch_size: int) -> float:
    """Say what arithmetic allows: the first images are decoded; then each model takes one full batch after the other."""
    batches = -(-images // batch_size)
    return decode + -(-batches // models) * inference


def show() -> None:
    """Post a few rounds of images to two model workers."""
    with RedisServer.start() as redis, services(redis.url, models=2) as running:
        asyncio.run(post(running.url, 1))  # warms up
        for images in (1, 10, 50):
            run = asyncio.run(post(running.url, images))
            least = limit(images, 2, 0.5, 0.5, 5)
            print(f"{images} images, 2 models: {run.seconds:.2f} s, {run.wrong} wrong; arithmetic allows {least:.1f} s")
