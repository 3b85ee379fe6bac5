"""Starts Redis, API and model workers, each a process of its own, and posts images: for the tests and the benchmark."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from redis import Redis

from examples.redis_microbatch.wire import REQUESTS
from tests.servers import RedisServer, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@dataclass
class Models:
    """Model workers, each a process."""

    redis_url: str
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        """Start one, and wait until it has joined the group."""
        words = [sys.executable, "-m", "examples.redis_microbatch.worker"]
        model = subprocess.Popen(words, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE)
        self.processes.append(model)
        assert model.stdout is not None
        assert b"takes requests" in model.stdout.readline(), "the model worker has ended"
        return model


@contextmanager
def model_workers(redis_url: str, count: int, **environment: str) -> Iterator[Models]:
    """Run model workers; at the end each is asked politely."""
    models = Models(redis_url, os.environ | environment | {"REDIS_URL": redis_url})
    try:
        for _ in range(count):
            models.start()
        yield models
    finally:
        _end(models.processes)


@contextmanager
def api_worker(redis_url: str, **environment: str) -> Iterator[str]:
    """Run an API worker, and give its URL."""
    port = free_port()
    words = [sys.executable, "-m", "uvicorn", "examples.redis_microbatch.api:app", "--port", str(port)]
    words += ["--no-access-log", "--log-level", "warning"]
    api = subprocess.Popen(words, cwd=ROOT, env=os.environ | environment | {"REDIS_URL": redis_url})
    try:
        _await_answer(port, api)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end([api])


def left_in_redis(redis_url: str) -> dict[str, int]:
    """Give all keys, and how long each stream is; and what the group holds."""
    with Redis.from_url(redis_url) as redis:
        left = {key.decode(): redis.xlen(key) for key in redis.keys("*")}
        groups = redis.xinfo_groups(REQUESTS) if REQUESTS in left else []
        return left | {what: group[what] for group in groups for what in ("pending", "consumers")}


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def _await_answer(port: int, api: subprocess.Popen[bytes]) -> None:
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
    """Post so many images at once, over connections that are open."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def connect() -> None:
            async with session.get(f"{url}/ready") as answer:
                answer.raise_for_status()

        async def ask(number: int) -> bool:
            async with session.post(f"{url}/predict", data=picture(number)) as answer:
                return answer.status == 200 and await answer.text() == label(number)

        await asyncio.gather(*(connect() for _ in range(images)))
        began = time.perf_counter()
        right = await asyncio.gather(*map(ask, range(images)))
        return Run(images, time.perf_counter() - began, right.count(False))


def limit(images: int, models: int, decode: float, inference: float, batch_size: int) -> float:
    """Say what arithmetic allows: the first images are decoded, then each model takes full batches without a pause."""
    batches = -(-images // batch_size)
    return decode + -(-batches // models) * inference


def show() -> None:
    """Post a few rounds of images to two model workers."""
    with RedisServer.start() as redis:
        with model_workers(redis.url, 2), api_worker(redis.url) as url:
            asyncio.run(post(url, 50))  # warms up
            for images in (1, 10, 50):
                run = asyncio.run(post(url, images))
                least = limit(images, 2, 0.5, 0.5, 5)
                print(f"{images} images: {run.seconds:.2f} s, {run.wrong} wrong; arithmetic allows {least:.1f} s")
        print("left in Redis:", left_in_redis(redis.url))
