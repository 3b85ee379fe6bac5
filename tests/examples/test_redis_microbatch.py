"""Micro-batching over a real Redis, in processes of their own, times scaled down: answers, crashes, expiry, leaks."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
import zlib
from typing import TYPE_CHECKING

import aiohttp
import pytest
from redis import Redis

from examples.redis_microbatch.client import Expired, ModelClient, ModelFailed
from examples.redis_microbatch.decoding import Decoders
from examples.redis_microbatch.load import api_worker, left_in_redis, limit, model_workers, post
from examples.redis_microbatch.wire import GROUP, REQUESTS, Request, Settings, entries_of

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.servers import RedisServer

TIMES = {"DECODE_SECONDS": "0.02", "INFERENCE_SECONDS": "0.1", "CLAIM_AFTER_SECONDS": "0.6"}
SLOW = TIMES | {"INFERENCE_SECONDS": "0.4"}
TEST_ANSWERS = "microbatch:answers:test"
NOTHING_LEFT = {REQUESTS: 0, "pending": 0, "consumers": 0}


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
async def model(redis_server: RedisServer, redis: Redis) -> AsyncIterator[ModelClient]:
    async with ModelClient(Settings(redis_url=redis_server.url)) as client:
        yield client


def held_by(redis: Redis, worker: subprocess.Popen[bytes]) -> int:
    """How many requests a model worker has in hand; its process id is in its name."""
    consumers = redis.xinfo_consumers(REQUESTS, GROUP)
    return sum(consumer["pending"] for consumer in consumers if f"-{worker.pid}-" in consumer["name"].decode())


async def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends, "it does not come true"
        await asyncio.sleep(0.01)


async def until_in_mid_batch(redis: Redis, *workers: subprocess.Popen[bytes]) -> None:
    await until(lambda: all(held_by(redis, worker) for worker in workers))


def images(count: int) -> list[bytes]:
    return [f"cat {number}".encode() for number in range(count)]


def labels(count: int) -> list[str]:
    return [f"a picture of cat {number}" for number in range(count)]


def test_the_limit_is_what_arithmetic_gives_for_the_published_test() -> None:
    assert [limit(images, 1, 0.5, 0.5, 5) for images in (1, 10, 50, 100, 200)] == [1.0, 1.5, 5.5, 10.5, 20.5]
    assert [limit(images, 2, 0.5, 0.5, 5) for images in (1, 10, 50, 100, 200)] == [1.0, 1.0, 3.0, 5.5, 10.5]


async def test_posted_images_get_their_own_labels_in_full_batches_and_a_bad_one_fails_alone(
    redis_server: RedisServer, redis: Redis
) -> None:
    with model_workers(redis_server.url, 2, **TIMES), api_worker(redis_server.url, **TIMES) as url:
        await post(url, 20)
        run = await post(url, 60)
        async with aiohttp.ClientSession() as session:
            answers = await asyncio.gather(
                *(
                    session.post(f"{url}/predict", data=data)
                    for data in (zlib.compress(b"cat"), b"x", zlib.compress(b""))
                )
            )
            texts = [await answer.text() for answer in answers]
    assert run.wrong == 0
    # Two batches more than arithmetic allows: this machine may be busy.
    assert run.seconds < limit(60 + 2 * 5 * 2, 2, 0.02, 0.1, 5)
    assert [answer.status for answer in answers] == [200, 400, 422]
    assert texts[0] == "a picture of cat"
    assert "an empty picture" in texts[2]
    assert left_in_redis(redis_server.url) == NOTHING_LEFT


async def test_a_model_worker_killed_in_mid_batch_loses_no_request(
    redis_server: RedisServer, redis: Redis, model: ModelClient
) -> None:
    with model_workers(redis_server.url, 2, **SLOW) as models:
        answers = [asyncio.ensure_future(model.ask(image)) for image in images(40)]
        victim = models.processes[0]
        await until_in_mid_batch(redis, victim)
        victim.kill()
        await asyncio.to_thread(victim.wait)
        assert held_by(redis, victim) > 0
        assert await asyncio.gather(*answers) == labels(40)
        assert held_by(redis, victim) == 0


async def test_requests_are_answered_when_every_worker_was_killed_and_another_starts(
    redis_server: RedisServer, redis: Redis, model: ModelClient
) -> None:
    with model_workers(redis_server.url, 2, **SLOW) as models:
        answers = [asyncio.ensure_future(model.ask(image)) for image in images(20)]
        await until_in_mid_batch(redis, *models.processes)
        for process in models.processes:
            process.kill()
        assert all(held_by(redis, process) for process in models.processes)
        await asyncio.to_thread(models.start)
        assert await asyncio.gather(*answers) == labels(20)


async def test_a_request_that_a_paused_worker_answers_late_is_answered_once(
    redis_server: RedisServer, redis: Redis
) -> None:
    with model_workers(redis_server.url, 2, **SLOW) as models:
        for number, image in enumerate(images(10)):
            redis.xadd(REQUESTS, Request(number, TEST_ANSWERS, 60_000, image).fields())
        await until_in_mid_batch(redis, *models.processes)
        models.processes[0].send_signal(signal.SIGSTOP)
        await until(lambda: redis.xlen(TEST_ANSWERS) == 10)
        models.processes[0].send_signal(signal.SIGCONT)
    entries = entries_of(redis.xread({TEST_ANSWERS: "0"}))
    assert sorted(int(fields[b"number"]) for _, fields in entries) == list(range(10))
    assert left_in_redis(redis_server.url) == NOTHING_LEFT | {TEST_ANSWERS: 10}
    assert 0 < redis.pttl(TEST_ANSWERS) <= 60_000  # of an API worker that never comes for them


async def test_a_caller_without_an_answer_in_time_is_told_so_and_its_request_is_taken_out(
    redis_server: RedisServer, redis: Redis
) -> None:
    async with ModelClient(Settings(redis_url=redis_server.url)) as model:
        answers = await asyncio.gather(*(model.ask(image, 0.3) for image in images(7)), return_exceptions=True)
        cancelled = asyncio.ensure_future(model.ask(b"cat"))
        await until(lambda: redis.xlen(REQUESTS) == 1)
        cancelled.cancel()
    assert [type(answer) for answer in answers] == [Expired] * 7
    assert left_in_redis(redis_server.url) == {REQUESTS: 0}


async def test_an_expired_request_is_dropped_with_an_error_and_never_reaches_the_model(
    redis_server: RedisServer, redis: Redis
) -> None:
    redis.xadd(REQUESTS, Request(1, TEST_ANSWERS, 1, b"cat").fields())
    redis.xadd(REQUESTS, Request(2, TEST_ANSWERS, 60_000, b"dog").fields())
    await asyncio.sleep(0.01)
    with model_workers(redis_server.url, 1, **TIMES):
        await until(lambda: redis.xlen(TEST_ANSWERS) == 2)
    outcomes = {fields[b"number"]: fields[b"outcome"] for _, fields in entries_of(redis.xread({TEST_ANSWERS: "0"}))}
    assert outcomes == {b"1": b"expired", b"2": b"label"}
    assert left_in_redis(redis_server.url) == NOTHING_LEFT | {TEST_ANSWERS: 2}


async def test_a_request_that_every_worker_died_of_is_given_up_and_its_neighbours_are_answered(
    redis_server: RedisServer, redis: Redis, model: ModelClient
) -> None:
    redis.xgroup_create(REQUESTS, GROUP, id="0", mkstream=True)
    answers = [asyncio.ensure_future(model.ask(image)) for image in images(3)]
    await until(lambda: redis.xlen(REQUESTS) == 3)
    entries = entries_of(redis.xreadgroup(GROUP, "dead", {REQUESTS: ">"}))
    deadly = next(entry_id for entry_id, fields in entries if fields[b"image"] == b"cat 1")
    redis.xclaim(REQUESTS, GROUP, "dead", 0, [deadly], retrycount=3)
    with model_workers(redis_server.url, 1, **TIMES):
        told = await asyncio.gather(*answers, return_exceptions=True)
    assert (told[0], told[2]) == ("a picture of cat 0", "a picture of cat 2")
    assert isinstance(told[1], ModelFailed)


async def test_workers_go_on_after_redis_came_back_empty(redis_server: RedisServer, redis: Redis) -> None:
    async with ModelClient(Settings(redis_url=redis_server.url)) as model:
        with model_workers(redis_server.url, 2, **TIMES):
            assert await model.ask(b"cat") == "a picture of cat"
            await asyncio.to_thread(redis_server.restart)
            assert await asyncio.gather(*map(model.ask, images(10))) == labels(10)
    assert left_in_redis(redis_server.url) == NOTHING_LEFT


async def test_several_api_workers_share_the_models_and_each_hears_its_own_answers(
    redis_server: RedisServer, redis: Redis
) -> None:
    settings = Settings(redis_url=redis_server.url)
    async with ModelClient(settings) as one, ModelClient(settings) as other:
        with model_workers(redis_server.url, 2, **TIMES):
            asked = [model.ask(image) for image in images(20) for model in (one, other)]
            assert await asyncio.gather(*asked) == [label for label in labels(20) for _ in range(2)]
    assert left_in_redis(redis_server.url) == NOTHING_LEFT


async def test_a_batch_waits_for_what_is_known_to_follow_and_no_longer(redis_server: RedisServer, redis: Redis) -> None:
    with model_workers(redis_server.url, 1, **SLOW, LINGER_SECONDS="20"):
        redis.xadd(REQUESTS, Request(1, TEST_ANSWERS, 60_000, b"cat", following=1).fields())
        await until(lambda: redis.xpending(REQUESTS, GROUP)["pending"] == 1)
        redis.xadd(REQUESTS, Request(2, TEST_ANSWERS, 60_000, b"dog").fields())
        await until(lambda: redis.xlen(TEST_ANSWERS) == 2)
    first, second = (int(entry_id.partition(b"-")[0]) for entry_id, _ in entries_of(redis.xread({TEST_ANSWERS: "0"})))
    assert second - first < 400  # milliseconds: less than two inferences would be apart


async def test_what_is_being_decoded_follows_and_what_waits_for_a_thread_does_not() -> None:
    ends = {data: threading.Event() for data in (b"a", b"b", b"c")}

    def decode(data: bytes) -> bytes:
        ends[data].wait()
        return data

    decoders = Decoders(decode, threads=2, window=1.0)
    decoding = [asyncio.ensure_future(decoders.decode(data)) for data in ends]
    followed = []
    for end, task in zip(ends.values(), decoding, strict=True):
        await asyncio.sleep(0)
        end.set()
        followed.append(await task)
    assert followed == [(b"a", 1), (b"b", 1), (b"c", 0)]
