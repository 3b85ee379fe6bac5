"""What the tests of the AWS sinks share; the `service` of a folder or a test says whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aioboto3
import pytest

from sinkwell.sinks.testing import AwsEndpoint
from tests.sinks.aws.service import KEYS, QUICK, session_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.sinks.aws.service import Service


@pytest.fixture
async def aws() -> AsyncIterator[AwsEndpoint]:
    async with AwsEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def session() -> aioboto3.Session:
    """One of the test's own, which it may change."""
    return aioboto3.Session(**KEYS, region_name="us-east-1")


@pytest.fixture
async def opened(aws: AwsEndpoint, service: Service) -> AsyncIterator[Callable[..., object]]:
    """Open destinations that are closed when the test ends."""
    made: list[Any] = []

    async def open_one(place: str = "orders", **options: Any) -> object:
        made.append(service.make_destination(place, session=session_of(service), endpoint_url=aws.url, **options))
        await made[-1].open()
        return made[-1]

    yield open_one
    for destination in made:
        await destination.aclose()


@pytest.fixture
def sink_for(aws: AwsEndpoint, service: Service) -> Callable[..., Any]:
    def make(place: str = "orders", **options: Any) -> Any:
        given = {"session": session_of(service), "endpoint_url": aws.url, "policy": QUICK} | options
        return service.sink(place, **given)

    return make
