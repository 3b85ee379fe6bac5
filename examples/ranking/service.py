"""The ranking service: FastAPI in front of Redis and a model.

    REDIS_URL=redis://127.0.0.1:6379/0 RANKING_MODEL=.cache/ranking.onnx uvicorn examples.ranking.service:app

`/rank` reads and scores the requests that wait together; `/question` is the code that was asked about.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import redis
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from pydantic_core import to_json

from examples.ranking.question import Question
from examples.ranking.ranker import Asked, MalformedFeatures, MissingFeatures, Ranker
from sinkwell.core import SinkwellError

REDIS_URL = os.environ["REDIS_URL"]
MODEL = Path(os.environ["RANKING_MODEL"]).read_bytes()


class Ask(BaseModel):
    """Rank these products for this user; the names are those of the question."""

    userId: str  # noqa: N815 - the wire's name
    productIds: Annotated[list[str], Field(min_length=1, max_length=1_000)]  # noqa: N815 - the wire's name


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Let what waits be answered before the process ends."""
    app.state.ranker, app.state.question = Ranker(REDIS_URL, MODEL), Question(REDIS_URL, MODEL)
    yield
    await app.state.ranker.aclose()
    await app.state.question.r.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/rank")
async def rank(ask: Ask) -> Response:
    """Rank in batches."""
    ranking = await app.state.ranker.rank(Asked(ask.userId, ask.productIds))
    # Written as JSON by itself: FastAPI would look at each of the hundred entries first, in Python.
    ranked = [{"productId": product, "score": score} for product, score in ranking]
    return Response(to_json(ranked), media_type="application/json")


@app.post("/question")
async def question(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """Rank as in the question."""
    return await app.state.question.rank(inputs)


@app.exception_handler(MissingFeatures)
async def missing(_request: Request, error: MissingFeatures) -> JSONResponse:
    """404 for an unknown user, 422 for unknown products: the caller can help it."""
    return JSONResponse({"detail": str(error)}, 404 if error.is_user else 422)


@app.exception_handler(MalformedFeatures)
async def malformed(_request: Request, error: MalformedFeatures) -> JSONResponse:
    """502: who wrote the features has to mend them."""
    return JSONResponse({"detail": str(error)}, 502)


@app.exception_handler(redis.RedisError)
@app.exception_handler(TimeoutError)
@app.exception_handler(SinkwellError)
async def unavailable(_request: Request, error: Exception) -> JSONResponse:
    """503: the same request may succeed in a second."""
    return JSONResponse({"detail": f"try again: {type(error).__name__}"}, 503, {"Retry-After": "1"})
