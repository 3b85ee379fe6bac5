# ruff: noqa: D102, PERF401, RET504 - as it was asked
"""The code of the question, as it was asked: every request for itself, all of it on the event loop.

Its `get_features` is kept statement for statement, without its prints; scoring and sorting, which it imports from
elsewhere, are written as it calls them. aioredis has become `redis.asyncio` since.
"""

import json
from typing import Any

import numpy as np
import onnxruntime
from redis import asyncio as aioredis


class Question:
    """What the question keeps in globals."""

    def __init__(self, redis_url: str, model: bytes) -> None:
        self.r = aioredis.from_url(redis_url, decode_responses=True, max_connections=2**31)  # as it was in aioredis
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    async def get_user(self, user: str) -> Any:
        user_data = await self.r.get(user)
        return user_data

    async def get_products(self, product: list[str]) -> Any:
        product_data = await self.r.mget(product)
        return product_data

    async def get_features(self, inputs: dict[str, Any]) -> Any:
        user_data = await self.get_user(inputs["userId"])
        online_user_data = [json.loads(json.loads(user_data))]

        product_data = await self.get_products(inputs["productIds"])
        online_product_data = []
        for i in product_data:
            online_product_data.append(json.loads(json.loads(i)))

        user_outputs = np.asarray(online_user_data, dtype=object)
        product_outputs = np.asarray(online_product_data, dtype=object)
        output = np.concatenate([np.concatenate([user_outputs] * product_outputs.shape[0]), product_outputs], axis=1)
        return output.tolist()

    def score_features(self, features: list[list[float]]) -> list[float]:
        name = self.session.get_inputs()[0].name
        (scores,) = self.session.run(None, {name: np.asarray(features, dtype=np.float32)})
        return scores[:, 0].tolist()

    async def rank(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        features = await self.get_features(inputs)
        scores = self.score_features(features)
        ranked = sorted(zip(inputs["productIds"], scores, strict=True), key=lambda pair: -pair[1])
        return [{"productId": product, "score": score} for product, score in ranked]
