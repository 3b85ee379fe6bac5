"""A FastAPI service that publishes a domain event to Kafka for each order; the answer says what is certain.

As a service: `uvicorn examples.fastapi_kafka:app`, with SINKWELL_KAFKA_BOOTSTRAP_SERVERS and SINKWELL_KAFKA_TOPIC set.
Run it: `python -m examples.fastapi_kafka` serves two hundred requests at once, to itself, and reads the topic back. It
takes the brokers that the environment names; without, it starts a Kafka of its own from this repository's test servers.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import httpx
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

from sinkwell.core import DeliveryError, Outcome
from sinkwell.sinks.kafka import KafkaRecord, KafkaSettings, KafkaSink


class Order(BaseModel):
    """What a customer wants."""

    customer: str
    euros: int


class OrderPlaced(BaseModel):
    """What other services are told."""

    customer: str
    euros: int
    # Consumers tell by it whether they have seen the event.
    id: str = Field(default_factory=lambda: str(uuid4()))
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One sink for the whole service; on shutdown it delivers what was accepted."""
    async with KafkaSink.from_env() as sink:
        app.state.sink = sink
        yield


def sink_of(request: Request) -> KafkaSink:
    """Give the service's sink."""
    sink: KafkaSink = request.app.state.sink
    return sink


app = FastAPI(lifespan=lifespan)


@app.post("/orders", status_code=201)
async def place_order(order: Order, sink: Annotated[KafkaSink, Depends(sink_of)]) -> dict[str, str | int]:
    """Return when the event is in the topic, on all in-sync replicas, and not before."""
    event = OrderPlaced(customer=order.customer, euros=order.euros)
    try:
        receipt = await sink.put(KafkaRecord(event, key=order.customer, headers={"type": "OrderPlaced"}))
    except DeliveryError as error:
        if error.outcome is Outcome.NOT_WRITTEN:
            raise HTTPException(503, "not placed, try again") from error
        raise HTTPException(504, f"it may have been placed, ask for {event.id}") from error
    return {"id": event.id, "partition": receipt.partition, "offset": receipt.offset}


async def main() -> None:
    """Serve two hundred requests at once, then read what the topic holds."""
    async with lifespan(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://orders") as client:
            orders = [{"customer": f"c{number % 20}", "euros": number} for number in range(200)]
            answers = await asyncio.gather(*(client.post("/orders", json=order) for order in orders))
        requests = app.state.sink.stats().requests
    placed = {answer.json()["id"]: answer.json() for answer in answers if answer.status_code == 201}
    settings = KafkaSettings.load()
    found = 0
    async with (
        AIOKafkaConsumer(
            settings.topic, bootstrap_servers=settings.bootstrap_servers, auto_offset_reset="earliest"
        ) as consumer,
        asyncio.timeout(30),
    ):
        while found < len(placed):
            message = await consumer.getone()
            event = OrderPlaced.model_validate_json(message.value)
            if event.id in placed:
                assert (message.partition, message.offset) == (
                    placed[event.id]["partition"],
                    placed[event.id]["offset"],
                )
                found += 1
    print(f"{len(placed)} orders placed, {found} events in the topic where the answers say, {requests} requests")


async def make_topic(bootstrap_servers: str, topic: str) -> None:
    """Make the topic: the sink writes only where there is one."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)])
    finally:
        await admin.close()


def run() -> None:
    """Use the brokers that the environment names, or our own."""
    if "SINKWELL_KAFKA_BOOTSTRAP_SERVERS" in os.environ:
        asyncio.run(main())
        return
    from tests.servers.kafka import KafkaServer

    with KafkaServer.start() as server:
        os.environ |= {"SINKWELL_KAFKA_BOOTSTRAP_SERVERS": server.bootstrap_servers, "SINKWELL_KAFKA_TOPIC": "orders"}
        asyncio.run(make_topic(server.bootstrap_servers, "orders"))
        asyncio.run(main())


if __name__ == "__main__":
    run()
