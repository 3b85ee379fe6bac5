"""A service that publishes an event for each order, one `put` at a time; Sinkwell makes the batches.

Run it: `python -m examples.orders_service`.
A hundred requests come at once, to a local SQS that throttles one call in five and loses entries.
"""

import asyncio
from dataclasses import dataclass

import aioboto3

from sinkwell.core import Backoff, DeliveryError, Outcome, Policy
from sinkwell.sinks.sqs import SqsSink
from sinkwell.sinks.testing import AwsEndpoint, FailEntries, Throttle


@dataclass(frozen=True)
class Order:
    """What a customer wants."""

    number: int
    euros: int


async def place_order(sink: SqsSink, order: Order) -> str:
    """Handle one request: it returns when the event is safely in the queue, and not before."""
    try:
        receipt = await sink.put({"event": "order placed", "order": order.number, "euros": order.euros})
    except DeliveryError as error:
        if error.outcome is Outcome.UNKNOWN:  # it may be there: don't charge twice
            raise
        return "try again"  # it is certain that nothing was written
    return receipt.message_id


async def main() -> None:
    """Serve a hundred requests, then look into the queue."""
    async with AwsEndpoint() as aws:
        queue_url = aws.sqs.create_queue("orders")
        aws.plan.always("SendMessageBatch", FailEntries(probability=0.1), seed=1)
        aws.plan.next("SendMessageBatch", None, Throttle(), None, None, None, Throttle())
        session = aioboto3.Session("testing", "testing", region_name="us-east-1")  # a real service has real credentials
        policy = Policy(backoff=Backoff(base=0.02))
        async with SqsSink(queue_url, session=session, endpoint_url=aws.url, policy=policy) as sink:
            answers = await asyncio.gather(*(place_order(sink, Order(number, 10)) for number in range(100)))
            stats = sink.stats()
        in_queue = aws.sqs.messages(queue_url)
        assert sorted(answers) == sorted(message.message_id for message in in_queue)
        print(
            f"{len(answers)} orders, {len(in_queue)} messages in the queue, {stats.requests} requests, "
            f"{stats.retries} retries, {stats.throttles} throttles"
        )


if __name__ == "__main__":
    asyncio.run(main())
