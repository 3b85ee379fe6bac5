"""The service of async-batcher's load test: FastAPI around a model that takes 11 ms for one and 13 ms for 200.

    uvicorn examples.async_batcher.predict_service:app

`/predict` calls the model for each request, where theirs does: on the event loop. `/optimized_predict` batches with
Sinkwell, `/async_batcher` with async-batcher, in the setup of its own benchmark (12 threads, 10 ms).
"""

import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from async_batcher.batcher import AsyncBatcher
from fastapi import FastAPI

from sinkwell.core import batched

MODELS = ThreadPoolExecutor(12)


def model(rows: list[list[float]]) -> list[float]:
    """Stand in for a model on an accelerator: the time passes elsewhere, and this thread waits for it."""
    time.sleep(0.011 + 0.002 * (len(rows) - 1) / 199)
    return [sum(row) for row in rows]


@batched(max_records=200, executor=MODELS)
def optimized(rows: list[list[float]]) -> list[float]:
    """Call the model with all that wait."""
    return model(rows)


class Peer(AsyncBatcher[list[float], float]):
    """The same, as its README has it."""

    def process_batch(self, batch: list[list[float]]) -> list[float]:  # type: ignore[override]
        """Call the model with all that wait."""
        return model(batch)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Let what waits be answered before the process ends."""
    app.state.peer = Peer(max_queue_time=0.01, concurrency=12, executor=MODELS)
    async with optimized:
        yield
    await app.state.peer.stop(timeout=5)


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(row: list[float]) -> float:
    """Predict without batches."""
    return model([row])[0]


@app.post("/optimized_predict")
async def optimized_predict(row: list[float]) -> float:
    """Predict in Sinkwell's batches."""
    return await optimized(row)


@app.post("/async_batcher")
async def async_batcher(row: list[float]) -> float:
    """Predict in async-batcher's batches."""
    return await app.state.peer.process(row)
