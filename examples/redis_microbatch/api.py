"""An API worker: decodes images in threads, ahead of the models, and asks whichever model is free.

Run it: `uvicorn examples.redis_microbatch.api:app`; `--workers 4` if one is too few.
"""

from __future__ import annotations

import time
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, HTTPException, Request, Response

from examples.redis_microbatch.client import Expired, ModelClient, ModelFailed
from examples.redis_microbatch.decoding import Decoders
from examples.redis_microbatch.wire import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SETTINGS = Settings()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client for all requests of this process."""
    async with ModelClient(SETTINGS) as app.state.model:
        yield


app = FastAPI(lifespan=lifespan)


def decode(data: bytes) -> bytes:
    """Stand in for the decoding of an image."""
    time.sleep(SETTINGS.decode)
    return zlib.decompress(data)


decoders = Decoders(decode, 32, SETTINGS.linger)


async def predict(request: Request) -> Response:
    """Label the image that is posted."""
    try:
        image, following = await decoders.decode(await request.body())
        return Response(await request.app.state.model.ask(image, following=following), media_type="text/plain")
    except zlib.error:
        raise HTTPException(400, "this is no image") from None
    except ModelFailed as error:
        raise HTTPException(422, str(error)) from None
    except Expired as error:
        raise HTTPException(503, str(error)) from None


async def ready(_: Request) -> Response:
    """Say that this worker is up."""
    return Response()


app.add_route("/ready", ready)
app.add_route("/predict", predict, methods=["POST"])
