"""A worker that moves a RabbitMQ queue into Postgres, and acknowledges only what has a receipt.

Run it: `python -m examples.rabbitmq_to_postgres` makes a queue and a table, fills the queue and moves it. It takes the
servers that SINKWELL_RABBITMQ_URL and SINKWELL_POSTGRES_DSN name; without, it starts its own from the test servers.
"""

import asyncio
import json

import aio_pika
import asyncpg

from examples._servers import address_of
from sinkwell.core import DeliveryError, InvalidRecord, Outcome, Policy
from sinkwell.sinks.postgres import PostgresSink
from sinkwell.sinks.rabbitmq import RabbitMQSink
from tests.servers import PostgresServer, RabbitMQServer

QUEUE, TABLE = "example.orders", "example_orders"
# As many may be on their way at once: the broker sends no more until some are acknowledged.
PREFETCH = 2_000


async def move(message: aio_pika.abc.AbstractIncomingMessage, sink: PostgresSink) -> None:
    """Copy one message into the table; the queue keeps it until that is certain."""
    try:
        order = json.loads(message.body)
        await sink.put((order["number"], order["euros"]))
    except (InvalidRecord, ValueError, KeyError, TypeError):
        await message.reject()  # no order, whenever it comes again: away with it, to the dead letters if there are any
    except DeliveryError as error:
        is_refused = error.reason == "rejected" and error.outcome is Outcome.NOT_WRITTEN
        # Refused for good, as a number that is there already; anything else comes again, when the database is well.
        await message.reject(requeue=not is_refused)
    else:
        await message.ack()


async def work(broker: str, sink: PostgresSink, expected: int) -> None:
    """Move messages until so many have come."""
    async with await aio_pika.connect(broker) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(QUEUE)
        async with asyncio.TaskGroup() as moves, queue.iterator() as messages:
            async for message in messages:
                moves.create_task(move(message, sink))
                expected -= 1
                if expected == 0:
                    break


async def main(broker: str, dsn: str) -> None:
    """Publish orders, two of them bad; move them; look at both sides."""
    database = await asyncpg.connect(dsn)
    await database.execute(f"DROP TABLE IF EXISTS {TABLE}; CREATE TABLE {TABLE} (number int PRIMARY KEY, euros int)")
    async with await aio_pika.connect(broker) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(QUEUE, durable=True)
        await queue.purge()
        orders: list[object] = [{"number": number, "euros": 10} for number in range(5_000)]
        orders[17], orders[4_711] = {"number": 16, "euros": 10}, {"euros": "no order"}
        async with RabbitMQSink(broker, routing_key=QUEUE) as publisher:
            failures = [outcome for outcome in await publisher.put_many(orders) if isinstance(outcome, DeliveryError)]
        async with PostgresSink(dsn, TABLE, ["number", "euros"], policy=Policy(linger=0.02)) as sink:
            await work(broker, sink, expected=len(orders))
            requests = sink.stats().requests
        rows = await database.fetchval(f"SELECT count(*) FROM {TABLE}")
        left = await queue.delete(if_unused=False, if_empty=False)
    await database.execute(f"DROP TABLE {TABLE}")
    await database.close()
    published = len(orders) - len(failures)
    print(f"{published} published, {rows} rows, {left.message_count} left in the queue, {requests} requests")


if __name__ == "__main__":
    with (
        address_of(RabbitMQServer, "SINKWELL_RABBITMQ_URL") as rabbitmq,
        address_of(PostgresServer, "SINKWELL_POSTGRES_DSN") as postgres,
    ):
        asyncio.run(main(rabbitmq, postgres))
