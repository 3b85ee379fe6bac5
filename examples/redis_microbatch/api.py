"""An API worker: decodes images in threads, ahead of the models, and asks whichever model is free.

Run it: `uvicorn examples.redis_microbatch.api:app`; `--workers 4` if one is too few.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, HTTPException, Request, Response

from examples.redis_microbatch.client import Expired, ModelClient, ModelFailed
from examples.redis_microbatch.wire import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SETTINGS = Settings()
# Enough to stay ahead of the models: in the time of one inference each takes a batch.
decoders = ThreadPoolExecutor(32, thread_name_prefix="decode")


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


async def predict(request: Request) -> Response:
    """Label the image that is posted."""
    try:
        image = await asyncio.get_running_loop().run_in_executor(decoders, decode, await request.body())
        return Response(await request.app.state.model.ask(image), media_type="text/plain")
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
