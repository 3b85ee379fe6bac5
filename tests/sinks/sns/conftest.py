from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aioboto3
import pytest

from sinkwell.core import Backoff, Batch, Encoded, Policy
from sinkwell.sinks._aws import AwsSettings
from sinkwell.sinks._json import json_text
from sinkwell.sinks._sns_destination import SnsDestination
from sinkwell.sinks.sns import SnsSink
from sinkwell.sinks.testing import AwsEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

QUICK = Policy(attempt_timeout=0.5, delivery_timeout=8.0, backoff=Backoff(base=0.005, cap=0.02), concurrency=4)
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


@pytest.fixture
async def aws() -> AsyncIterator[AwsEndpoint]:
    async with AwsEndpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def session() -> aioboto3.Session:
    return aioboto3.Session(**KEYS)


def make_destination(
    arn: str,
    *,
    session: object = None,
    endpoint_url: str | None = None,
    policy: Policy | None = None,
    transport: Any = "direct",
    **options: object,
) -> SnsDestination:
    settings = AwsSettings(session=session, endpoint_url=endpoint_url, region_name="us-east-1", transport=transport)
    given = {"encode": json_text, "strict_order": True} | options
    return SnsDestination(arn, settings=settings, policy=policy or Policy(), **given)


@pytest.fixture
async def opened(aws: AwsEndpoint, session: aioboto3.Session) -> AsyncIterator[Callable[..., object]]:
    """Open destinations that are closed when the test ends."""
    made: list[SnsDestination] = []

    async def open_one(arn: str, **options: object) -> SnsDestination:
        made.append(make_destination(arn, session=session, endpoint_url=aws.url, **options))
        await made[-1].open()
        return made[-1]

    yield open_one
    for destination in made:
        await destination.aclose()


def batch_of(destination: SnsDestination, records: Sequence[object]) -> Batch:
    return batch_of_encoded([destination.encode(record) for record in records])


def batch_of_encoded(encoded: Sequence[Encoded]) -> Batch:
    for entry in encoded:
        entry.attempts += 1
    return Batch(encoded[0].target, encoded, "full")


@pytest.fixture
def sink_for(aws: AwsEndpoint, session: aioboto3.Session) -> Any:
    def make(topic_arn: str, **options: Any) -> SnsSink:
        return SnsSink(topic_arn, **({"session": session, "endpoint_url": aws.url, "policy": QUICK} | options))

    return make


def texts(aws: AwsEndpoint, topic_arn: str) -> list[str]:
    return [message.message for message in aws.sns.messages(topic_arn)]
