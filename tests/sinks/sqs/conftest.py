from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aioboto3
import pytest

from sinkwell.core import Backoff, Batch, Encoded, Policy
from sinkwell.sinks._aws import AwsSettings
from sinkwell.sinks._json import json_text
from sinkwell.sinks._sqs_destination import SqsDestination
from sinkwell.sinks.sqs import SqsSink
from sinkwell.sinks.testing import AwsEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

QUICK = Policy(attempt_timeout=0.2, delivery_timeout=5.0, backoff=Backoff(base=0.005, cap=0.02), concurrency=4)
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@pytest.fixture
async def aws() -> AsyncIterator[AwsEndpoint]:
    async with AwsEndpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def session() -> aioboto3.Session:
    return aioboto3.Session(**KEYS, region_name="us-east-1")


def make_destination(
    url: str,
    *,
    session: object = None,
    endpoint_url: str | None = None,
    policy: Policy | None = None,
    transport: Any = "direct",
    **options: object,
) -> SqsDestination:
    settings = AwsSettings(session=session, endpoint_url=endpoint_url, region_name="us-east-1", transport=transport)
    given = {"encode": json_text, "strict_order": True} | options
    return SqsDestination(url, settings=settings, policy=policy or Policy(), **given)


@pytest.fixture
async def opened(aws: AwsEndpoint, session: aioboto3.Session) -> AsyncIterator[Callable[..., object]]:
    """Open destinations that are closed when the test ends."""
    made: list[SqsDestination] = []

    async def open_one(url: str, **options: object) -> SqsDestination:
        made.append(make_destination(url, session=session, endpoint_url=aws.url, **options))
        await made[-1].open()
        return made[-1]

    yield open_one
    for destination in made:
        await destination.aclose()


def batch_of(destination: SqsDestination, records: Sequence[object]) -> Batch:
    return batch_of_encoded([destination.encode(record) for record in records])


def batch_of_encoded(encoded: Sequence[Encoded]) -> Batch:
    for entry in encoded:
        entry.attempts += 1
    return Batch(encoded[0].target, encoded, "full")


@pytest.fixture
def sink_for(aws: AwsEndpoint, session: aioboto3.Session) -> Any:
    def make(queue_url: str, **options: Any) -> SqsSink:
        return SqsSink(queue_url, **({"session": session, "endpoint_url": aws.url, "policy": QUICK} | options))

    return make


def bodies(aws: AwsEndpoint, queue_url: str) -> list[str]:
    return [message.body for message in aws.sqs.messages(queue_url)]
