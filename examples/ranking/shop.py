"""A shop to try: a Redis full of features, a model, and the service in front of them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.async_batcher.load import Service, service
from examples.ranking.catalogue import fill
from examples.ranking.model import build
from tests.servers import RedisServer


@contextmanager
def open_shop(server: RedisServer) -> Iterator[Service]:
    """Fill this Redis, build the model, run the service: one worker."""
    fill(server.url)
    with tempfile.NamedTemporaryFile(suffix=".onnx") as model:
        Path(model.name).write_bytes(build())
        app = "examples.ranking.service:app"
        with service(app, REDIS_URL=server.url, RANKING_MODEL=model.name) as served:
            yield served
