"""Ranks products for users: features from Redis, many requests in one MGET; scores from a model, many in one call.

Before: `service.py`, one request. After: Redis and ONNX Runtime.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import cast

import numpy as np
import onnxruntime
from pydantic_core import from_json
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from examples.ranking.catalogue import PRODUCT_FEATURES, USER_FEATURES
from sinkwell.core import batched

Ranking = list[tuple[str, float]]


class MissingFeatures(Exception):
    """Redis has no features of what a request names."""

    def __init__(self, keys: list[str], *, is_user: bool) -> None:
        super().__init__(f"no features of {', '.join(keys[:10])}{' …' if len(keys) > 10 else ''}")
        self.is_user = is_user


class MalformedFeatures(Exception):
    """What Redis has are not the numbers that the model takes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: whose ranking of what."""

    user: str
    products: Sequence[str]

    def count_keys(self) -> int:
        """How many keys it needs of Redis."""
        return 1 + len(self.products)


@dataclass(frozen=True, slots=True)
class Found:
    """One request's features as Redis has them: text."""

    user: bytes
    products: list[bytes]


class Ranker:
    """A store of features and a model."""

    def __init__(self, redis_url: str, model: bytes) -> None:
        # A read may be repeated: once, for a connection that a restarted server has closed.
        self.redis = aioredis.from_url(
            redis_url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 1)
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the other core belongs to the event loop, and to whoever else is here
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    async def rank(self, asked: Asked) -> Ranking:
        """Best first. One request, as if it were alone."""
        scores = await self.score(await self.fetch(asked))
        best_first = np.argsort(-scores, kind="stable")
        return [
            (asked.products[place], score)
            for place, score in zip(best_first.tolist(), scores[best_first].tolist(), strict=True)
        ]

    # An item is a request and not a key: a hundred futures would cost more than what they wait for. `max_bytes` counts
    # keys here: Redis serves nobody else during an MGET, so none may be too long.
    @batched(concurrency=2, max_bytes=4_000, size_of=Asked.count_keys, max_pending=1_000, when_full="refuse", timeout=5)
    async def fetch(self, requests: list[Asked]) -> list[Found | Exception]:
        """Read the features for all that wait, each key once."""
        keys = list(dict.fromkeys(chain.from_iterable((asked.user, *asked.products) for asked in requests)))
        found: dict[str, bytes | None] = dict(zip(keys, await self.redis.mget(keys), strict=True))
        return [_found(asked, found) for asked in requests]

    # A plain function: it runs in a thread of its own, and the model lets the event loop go on meanwhile.
    @batched(max_records=32, timeout=5)
    def score(self, requests: list[Found]) -> list["np.ndarray | Exception"]:
        """Score the products of all that wait, in one call of the model."""
        rows = [_rows(found) for found in requests]
        good = [matrix for matrix in rows if not isinstance(matrix, Exception)]
        if not good:
            return rows
        (scores,) = self.session.run(None, {self.input: np.concatenate(good)})
        each = iter(np.split(scores[:, 0], np.cumsum([len(matrix) for matrix in good])[:-1]))
        return [matrix if isinstance(matrix, Exception) else next(each) for matrix in rows]

    async def aclose(self) -> None:
        """Answer who waits, then close."""
        await self.fetch.close(timeout=5)
        await self.score.close(timeout=5)
        await self.redis.aclose()


def _found(asked: Asked, found: dict[str, bytes | None]) -> Found | Exception:
    user = found[asked.user]
    if user is None:
        return MissingFeatures([asked.user], is_user=True)
    products = [found[key] for key in asked.products]
    if None in products:
        missing = [key for key in asked.products if found[key] is None]
        return MissingFeatures(missing, is_user=False)
    return Found(user, cast("list[bytes]", products))


def _rows(found: Found) -> "np.ndarray | Exception":
    """What the model takes: one row a product, the user's features before the product's."""
    try:
        user = _numbers(found.user, USER_FEATURES)
        packed = [_numbers(text, PRODUCT_FEATURES) for text in found.products]
    except MalformedFeatures as error:
        return error
    rows = np.empty((len(packed), USER_FEATURES + PRODUCT_FEATURES), dtype=np.float32)
    rows[:, :USER_FEATURES] = np.frombuffer(user, dtype=np.float32)
    rows[:, USER_FEATURES:] = np.frombuffer(b"".join(packed), dtype=np.float32).reshape(-1, PRODUCT_FEATURES)
    return rows


# Kept by the text itself, which is read for every request: features that change are other text, so this is never stale.
@lru_cache(maxsize=50_000)
def _numbers(text: bytes, count: int) -> bytes:
    """Decode one user's or product's features, JSON within JSON, into packed numbers."""
    try:
        packed = array("f", from_json(from_json(text)))
    except (TypeError, ValueError, OverflowError):
        raise MalformedFeatures("features are not a list of numbers, in JSON within JSON") from None
    if len(packed) != count:
        raise MalformedFeatures(f"there are {len(packed)} features and not {count}")
    return packed.tobytes()
