"""DynamoDB writes: a request handler puts one item; Sinkwell sends BatchWriteItem with up to 25 and sees each one home.

Run it: a hundred handlers at once, against a local DynamoDB that throttles and leaves one write in ten unprocessed.
"""

import asyncio

import aioboto3

from sinkwell.core import Backoff, Policy
from sinkwell.sinks.dynamodb import DynamoDBSink
from sinkwell.sinks.testing import AwsEndpoint, FailEntries, Throttle

SESSION = aioboto3.Session("testing", "testing", region_name="us-east-1")  # a real service has real credentials
TABLE = "examples-scores"


async def save_score(sink: DynamoDBSink, player: str, points: int) -> int:
    """Handle one request: it returns when the item is in the table."""
    receipt = await sink.put({"player": player, "points": points})
    return receipt.attempts


async def make_table(url: str) -> None:
    """Create the table; a real one is there already."""
    async with SESSION.client("dynamodb", endpoint_url=url) as client:
        await client.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "player", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "player", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )


async def count(url: str) -> int:
    """Count what is there."""
    async with SESSION.client("dynamodb", endpoint_url=url) as client:
        return (await client.scan(TableName=TABLE, Select="COUNT"))["Count"]


async def main() -> None:
    """Serve a hundred requests, then count the items."""
    async with AwsEndpoint() as aws:
        aws.plan.always("BatchWriteItem", FailEntries(probability=0.1), seed=1)
        aws.plan.next("BatchWriteItem", None, Throttle())
        await make_table(aws.url)
        policy = Policy(backoff=Backoff(base=0.02))
        async with DynamoDBSink(TABLE, session=SESSION, endpoint_url=aws.url, policy=policy) as sink:
            attempts = await asyncio.gather(*(save_score(sink, f"player {n}", n) for n in range(100)))
            stats = sink.stats()
        found = await count(aws.url)
    assert found == len(attempts) == 100
    print(f"{found} items are there, {stats.requests} requests, {stats.retries} writes went again")


if __name__ == "__main__":
    asyncio.run(main())
