"""The load: customers who each ask once for the ranking of a hundred products, any of ten thousand.

They come by chance, so many a second on average, whether those before them were answered or not; who has no answer
after five seconds leaves. So a service that can't keep up is seen to fail, and no customer waits for the load itself.
"""

import asyncio
import random
from collections import Counter
from time import perf_counter

import aiohttp
import uvloop

from examples.async_batcher.load import Load, Service
from examples.ranking.catalogue import PRODUCTS, USERS, product_key, user_key

PATIENCE = aiohttp.ClientTimeout(total=5)
Body = dict[str, str | list[str]]


def question() -> Body:
    """Somebody asks for the ranking of a hundred products; next to nothing is asked for twice at a time."""
    products = [product_key(number) for number in random.sample(range(PRODUCTS), 100)]
    return {"userId": user_key(random.randrange(USERS)), "productIds": products}


def rush(served: Service, endpoint: str, rate: int, seconds: float) -> Load:
    """Let so many customers come every second."""
    before = served.cpu_seconds()
    waited = uvloop.run(_rush(served.url, endpoint, rate, seconds))
    answered = [time for time in waited if time is not None]
    times = Counter(round(time * 1e3) for time in answered)
    # Who left counts as having waited so long.
    times[round((PATIENCE.total or 0) * 1e3)] += len(waited) - len(answered)
    cpu_ms = (served.cpu_seconds() - before) * 1e3 / len(waited)
    return Load(rate, len(answered), len(waited) - len(answered), len(answered) / seconds, times, cpu_ms)


def at_once(served: Service, endpoint: str, count: int, times: int = 20) -> list[float]:
    """Let so many customers come in the same moment, time and again; how long each waited, in milliseconds."""
    waited = uvloop.run(_at_once(served.url, endpoint, count, times))
    return [time * 1e3 for time in waited if time is not None]


async def _rush(url: str, endpoint: str, rate: int, seconds: float) -> list[float | None]:
    customers: list[asyncio.Future[float | None]] = []
    async with _client(url) as client:
        comes = perf_counter()
        ends = comes + seconds
        while comes < ends:
            await asyncio.sleep(comes - perf_counter())
            customers.append(asyncio.ensure_future(_ask(client, endpoint)))
            comes += random.expovariate(rate)
        return await asyncio.gather(*customers)


async def _at_once(url: str, endpoint: str, count: int, times: int) -> list[float | None]:
    async with _client(url) as client:
        # The first ones open the connections.
        rounds = [await asyncio.gather(*(_ask(client, endpoint) for _ in range(count))) for _ in range(times + 1)]
    return [time for each in rounds[1:] for time in each]


def _client(url: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0), timeout=PATIENCE)


async def _ask(client: aiohttp.ClientSession, endpoint: str) -> float | None:
    """Seconds until the answer; None if there was none, or not of a hundred products."""
    body = question()
    started = perf_counter()
    try:
        async with client.post(endpoint, json=body) as answer:
            ranking = await answer.json()
            waited = perf_counter() - started
            return waited if answer.status == 200 and len(ranking) == len(body["productIds"]) else None
    except (aiohttp.ClientError, TimeoutError):
        return None
