"""A FastAPI service that answers when an order's event is safely in SQS: each request puts one, Sinkwell makes batches.

Serve it with `SINKWELL_SQS_QUEUE_URL=https://... uvicorn examples.fastapi_sqs:app`.
Run it: `python -m examples.fastapi_sqs`.
Three hundred orders are posted to the app at once, with a local SQS behind it that loses entries.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, PositiveInt

from sinkwell.core import DeliveryError, InvalidRecord, Outcome
from sinkwell.sinks.sqs import SqsSink
from sinkwell.sinks.testing import AwsEndpoint, FailEntries, ServerError


class Order(BaseModel):
    """What a customer wants."""

    number: int
    euros: PositiveInt
    note: str = ""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open one sink for the whole service; closing it delivers what was accepted before the process ends."""
    async with SqsSink.from_env() as sink:
        app.state.sink = sink
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders", status_code=202)
async def place_order(order: Order, request: Request) -> dict[str, str]:
    """Answer 202 when the event is in the queue, and not before. Waiting for company costs an idle service nothing."""
    sink: SqsSink = request.app.state.sink
    try:
        receipt = await sink.put(order)
    except InvalidRecord as error:  # SQS would never take it: the sender must mend it
        raise HTTPException(422, str(error)) from error
    except DeliveryError as error:
        if error.outcome is Outcome.NOT_WRITTEN:  # it is certain that nothing was written: post it again
            raise HTTPException(503, "not accepted", {"Retry-After": "1"}) from error
        raise HTTPException(504, "it may be accepted: ask before you post it again") from error
    return {"message_id": receipt.message_id}


async def main() -> None:
    """Post three hundred orders over the app's ASGI interface, then look into the queue."""
    async with AwsEndpoint() as aws:
        queue_url = aws.sqs.create_queue("orders")
        aws.plan.always("SendMessageBatch", FailEntries(probability=0.1), seed=1)
        aws.plan.next("SendMessageBatch", None, ServerError(503, applied=False))
        os.environ |= {"SINKWELL_SQS_QUEUE_URL": queue_url, "SINKWELL_SQS_ENDPOINT_URL": aws.url}
        os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        os.environ |= {"SINKWELL_SQS_BACKOFF_BASE": "0.02", "SINKWELL_SQS_REGION_NAME": "us-east-1"}
        transport = httpx.ASGITransport(app)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://a") as web:
            orders = [{"number": number, "euros": 10} for number in range(300)]
            bad = [{"number": 300, "euros": 0}, {"number": 301, "euros": 1, "note": "x" * 1_048_576}]
            answers = await asyncio.gather(*(web.post("/orders", json=order) for order in orders + bad))
            stats = app.state.sink.stats()
        codes = Counter(answer.status_code for answer in answers)
        told = {answer.json()["message_id"] for answer in answers if answer.status_code == 202}
        assert told == {message.message_id for message in aws.sqs.messages(queue_url)}
    print(f"{codes[202]} orders accepted and in the queue, {codes[422]} refused, {stats.requests} requests to SQS")
    assert codes == {202: 300, 422: 2}


if __name__ == "__main__":
    asyncio.run(main())
