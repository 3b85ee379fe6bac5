"""The ranking service, against a real Redis: right for everybody at once, whatever one of them asks for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import numpy as np
import onnxruntime
import pytest
import redis

from examples.ranking.__main__ import compare
from examples.ranking.catalogue import features, fill, product_key, stored, user_key
from examples.ranking.model import build
from examples.ranking.shop import open_shop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.async_batcher.load import Service
    from tests.servers import RedisServer

Answer = tuple[int, Any]


@pytest.fixture(scope="module")
def shop(redis_server: RedisServer) -> Iterator[Service]:
    with open_shop(redis_server) as served:
        yield served


@pytest.fixture
def store(redis_server: RedisServer, shop: Service) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        yield client
    fill(redis_server.url)


def ask(number: int, *, user: str | None = None, products: list[str] | None = None) -> dict[str, Any]:
    """Products that overlap with the neighbours'."""
    wanted = [product_key(product) for product in range(number * 50, number * 50 + 100)]
    return {"userId": user or user_key(number), "productIds": products or wanted}


def answers(served: Service, asked: list[dict[str, Any]], endpoint: str = "/rank") -> list[Answer]:
    """All of them at once."""

    async def one(client: aiohttp.ClientSession, body: dict[str, Any]) -> Answer:
        async with client.post(endpoint, json=body) as answer:
            return answer.status, await answer.json()

    async def everybody() -> list[Answer]:
        async with aiohttp.ClientSession(served.url, connector=aiohttp.TCPConnector(limit=0)) as client:
            return await asyncio.gather(*(one(client, body) for body in asked))

    return asyncio.run(everybody())


class OneByOne:
    """Scores a product alone, from features that never were in Redis."""

    def __init__(self) -> None:
        self.features = features()
        self.session = onnxruntime.InferenceSession(build(), providers=["CPUExecutionProvider"])

    def score(self, user: str, product: str) -> float:
        row = np.array([self.features[user] + self.features[product]], dtype=np.float32)
        return float(self.session.run(None, {self.session.get_inputs()[0].name: row})[0][0, 0])

    def check(self, asked: dict[str, Any], answer: Answer) -> None:
        status, ranking = answer
        assert status == 200, ranking
        assert sorted(entry["productId"] for entry in ranking) == sorted(asked["productIds"])
        expected = [self.score(asked["userId"], entry["productId"]) for entry in ranking]
        assert [entry["score"] for entry in ranking] == pytest.approx(expected, abs=1e-4)
        assert sorted((entry["score"] for entry in ranking), reverse=True) == [entry["score"] for entry in ranking]


@pytest.fixture(scope="module")
def one_by_one() -> OneByOne:
    return OneByOne()


@pytest.mark.parametrize("endpoint", ["/rank", "/question"])
def test_everybody_gets_the_ranking_that_scoring_one_by_one_gives(
    shop: Service, one_by_one: OneByOne, endpoint: str
) -> None:
    asked = [ask(number) for number in range(20)]
    for body, answer in zip(asked, answers(shop, asked, endpoint), strict=True):
        one_by_one.check(body, answer)


def test_requests_that_wait_together_share_an_mget(shop: Service, store: redis.Redis) -> None:
    store.config_resetstat()
    assert {status for status, _ in answers(shop, [ask(number) for number in range(60)])} == {200}
    assert store.info("commandstats")["cmdstat_mget"]["calls"] < 60
    assert "cmdstat_get" not in store.info("commandstats")


def test_a_product_that_is_named_twice_is_ranked_twice(shop: Service, one_by_one: OneByOne) -> None:
    twice = ask(1, products=[product_key(1), product_key(2), product_key(1)])
    one_by_one.check(twice, answers(shop, [twice])[0])


def test_who_names_what_is_not_there_is_told_so_alone(shop: Service, store: redis.Redis, one_by_one: OneByOne) -> None:
    store.set("product:text", stored([1.0]) + "!")
    store.set("product:short", stored([1.0]))
    store.set("product:once", "[1.0]")
    asked = [ask(number) for number in range(30)]
    asked[3] = ask(3, user="user:nobody")
    asked[9] = ask(9, products=[product_key(1), "product:gone", "product:none"])
    asked[12] = ask(12, products=["product:text"])
    asked[15] = ask(15, products=["product:short"])
    asked[18] = ask(18, products=["product:once"])
    said = answers(shop, asked)
    assert said[3] == (404, {"detail": "no features of user:nobody"})
    assert said[9] == (422, {"detail": "no features of product:gone, product:none"})
    assert [said[number][0] for number in (12, 15, 18)] == [502] * 3
    for number in set(range(30)) - {3, 9, 12, 15, 18}:
        one_by_one.check(asked[number], said[number])


def test_a_request_without_products_or_with_too_many_is_refused(shop: Service) -> None:
    none, too_many = ask(1) | {"productIds": []}, ask(1, products=["product:1"] * 1_001)
    assert [status for status, _ in answers(shop, [none, too_many])] == [422, 422]


def test_features_that_change_count_from_the_next_request_on(shop: Service, store: redis.Redis) -> None:
    asked = ask(1, products=[product_key(1), product_key(2)])
    ((_, before),) = answers(shop, [asked])
    store.mset({product_key(1): store.get(product_key(2)), product_key(2): store.get(product_key(1))})
    ((_, after),) = answers(shop, [asked])
    assert [entry["productId"] for entry in after] == [entry["productId"] for entry in before][::-1]
    assert [entry["score"] for entry in after] == [entry["score"] for entry in before]


def test_without_redis_everybody_is_asked_to_come_again_and_can(shop: Service, redis_server: RedisServer) -> None:
    redis_server.kill()
    said = answers(shop, [ask(number) for number in range(10)])
    assert said == [(503, {"detail": "try again: ConnectionError"})] * 10
    redis_server.restart()
    fill(redis_server.url)
    assert {status for status, _ in answers(shop, [ask(number) for number in range(10)])} == {200}


def test_a_redis_that_hangs_is_waited_for_a_moment_only(shop: Service, redis_server: RedisServer) -> None:
    redis_server.pause()
    said = answers(shop, [ask(number) for number in range(10)])
    redis_server.resume()
    assert said == [(503, {"detail": "try again: TimeoutError"})] * 10


def test_the_comparison_runs_without_a_failure(shop: Service, capsys: pytest.CaptureFixture[str]) -> None:
    compare(shop, 20, 1)
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == ["/question", "/rank"]
    assert all(" 0 failed" in line for line in said)
