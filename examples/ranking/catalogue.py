"""What the shop knows: features of users and products, in Redis as JSON strings whose content is JSON once more.

Before: whoever computes features. After: `ranker.py`, which reads them, and `question.py`, which did so before it.
"""

import json
import random

import redis

USERS, PRODUCTS = 10_000, 10_000
USER_FEATURES, PRODUCT_FEATURES = 10, 20


def user_key(number: int) -> str:
    """Where a user's features are."""
    return f"user:{number}"


def product_key(number: int) -> str:
    """Where a product's features are."""
    return f"product:{number}"


def features() -> dict[str, list[float]]:
    """Everybody's features, the same in every run."""
    chance = random.Random(1)

    def some(count: int) -> list[float]:
        return [round(chance.gauss(0, 1), 6) for _ in range(count)]

    found = {user_key(number): some(USER_FEATURES) for number in range(USERS)}
    return found | {product_key(number): some(PRODUCT_FEATURES) for number in range(PRODUCTS)}


def stored(values: list[float]) -> str:
    """As the question has it: a JSON string, and its content is JSON."""
    return json.dumps(json.dumps(values))


def fill(url: str) -> None:
    """Put everybody's features into Redis."""
    with redis.Redis.from_url(url) as client, client.pipeline(transaction=False) as pipeline:
        for key, values in features().items():
            pipeline.set(key, stored(values))
        pipeline.execute()
