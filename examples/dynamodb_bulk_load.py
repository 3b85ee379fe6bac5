"""A bulk load into a provisioned DynamoDB table, at a rate in write units that stays under the table's capacity.

Run it: `python -m examples.dynamodb_bulk_load`.
2,000 items of different sizes go into a local table of 800 units a second, of which the load takes nine tenths;
so whoever else writes to the table is not throttled, and the load isn't either.
"""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from time import monotonic

import aioboto3

from sinkwell.core import Policy, Rate, SinkwellError
from sinkwell.sinks.dynamodb import DynamoDBSink
from sinkwell.sinks.testing import AwsEndpoint

CAPACITY = 800  # write units a second: what the table was provisioned with


def readings() -> Iterator[dict[str, object]]:
    """Give two thousand items; every tenth has a trace of 3 KB, which costs four units instead of one."""
    for number in range(2_000):
        item: dict[str, object] = {"sensor": f"s-{number % 50}", "at": number, "celsius": Decimal("20.5")}
        yield item | {"trace": "x" * 3_000} if number % 10 == 0 else item


async def main() -> None:
    """Load the items, then look into the table."""
    async with AwsEndpoint() as aws:
        aws.dynamodb.create_table("readings", {"sensor": "S", "at": "N"})
        aws.dynamodb.throttle("readings", CAPACITY)
        session = aioboto3.Session("testing", "testing", region_name="us-east-1")  # a real load has real credentials
        policy = Policy(rate=Rate(units=0.9 * CAPACITY))
        began = monotonic()
        async with DynamoDBSink(
            "readings", session=session, endpoint_url=aws.url, policy=policy, consumed_capacity=True
        ) as sink:
            failures = [outcome async for outcome in sink.stream(readings()) if isinstance(outcome, SinkwellError)]
            stats = sink.stats()
        seconds = monotonic() - began
        there = len(aws.dynamodb.items("readings"))
    units = stats.consumed_capacity["readings"]
    print(
        f"{there:,} items are there, {len(failures)} are not; {units:,.0f} write units in {seconds:.1f} s, "
        f"{stats.requests} requests, {stats.retries} retries"
    )
    assert there == 2_000
    assert units / seconds < CAPACITY


if __name__ == "__main__":
    asyncio.run(main())
