from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aioboto3
import pytest

from sinkwell.core import Batch, Policy
from sinkwell.sinks._aws import AwsSettings
from sinkwell.sinks._dynamodb_destination import DynamoDBDestination
from sinkwell.sinks.dynamodb import DynamoDBSink
from sinkwell.sinks.testing import AwsEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@pytest.fixture
async def aws() -> AsyncIterator[AwsEndpoint]:
    async with AwsEndpoint() as endpoint:
        endpoint.dynamodb.create_table("orders")
        yield endpoint


@pytest.fixture(scope="session")
def session() -> aioboto3.Session:
    return aioboto3.Session(**KEYS, region_name="us-east-1")


def make_destination(
    name: str = "orders",
    *,
    session: object = None,
    endpoint_url: str | None = None,
    policy: Policy | None = None,
    transport: Any = "direct",
    **options: Any,
) -> DynamoDBDestination:
    settings: Any = AwsSettings(
        session=session, endpoint_url=endpoint_url, region_name="us-east-1", transport=transport
    )
    given: dict[str, Any] = {"table_names": (), "encode": None, "floats": "refuse"} | options
    return DynamoDBDestination(name, settings=settings, policy=policy or Policy(), **given)


@pytest.fixture
async def opened(aws: AwsEndpoint, session: aioboto3.Session) -> AsyncIterator[Callable[..., object]]:
    """Open destinations that are closed when the test ends."""
    made: list[DynamoDBDestination] = []

    async def open_one(name: str = "orders", **options: Any) -> DynamoDBDestination:
        made.append(make_destination(name, session=session, endpoint_url=aws.url, **options))
        await made[-1].open()
        return made[-1]

    yield open_one
    for destination in made:
        await destination.aclose()


@pytest.fixture
def sink_for(aws: AwsEndpoint, session: aioboto3.Session) -> Callable[..., DynamoDBSink]:
    def make(name: str = "orders", **options: Any) -> DynamoDBSink:
        return DynamoDBSink(name, **({"session": session, "endpoint_url": aws.url} | options))

    return make


def batch_of(destination: DynamoDBDestination, records: Sequence[object]) -> Batch:
    entries = [destination.encode(record) for record in records]
    for entry in entries:
        entry.attempts += 1
    return Batch(None, entries, "full")


def ids(aws: AwsEndpoint, table_name: str = "orders") -> list[str]:
    """The keys of what is in a table, sorted."""
    return sorted(next(iter(item["id"].values())) for item in aws.dynamodb.items(table_name))
