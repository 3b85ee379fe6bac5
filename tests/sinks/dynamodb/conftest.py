from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.sinks.dynamodb import DynamoDBSink
from tests.sinks.aws.service import DYNAMODB, session_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import aioboto3

    from sinkwell.sinks.testing import AwsEndpoint
    from tests.sinks.aws.service import Service


@pytest.fixture
def service() -> Service:
    return DYNAMODB


@pytest.fixture
def session() -> aioboto3.Session:
    return session_of(DYNAMODB)


@pytest.fixture
def aws(aws: AwsEndpoint) -> AwsEndpoint:
    aws.dynamodb.create_table("orders")
    return aws


@pytest.fixture
def sink_for(aws: AwsEndpoint, session: aioboto3.Session) -> Callable[..., DynamoDBSink]:
    def make(name: str = "orders", **options: Any) -> DynamoDBSink:
        return DynamoDBSink(name, **({"session": session, "endpoint_url": aws.url} | options))

    return make


def ids(aws: AwsEndpoint, table_name: str = "orders") -> list[str]:
    """The keys of what is in a table, sorted."""
    return sorted(DYNAMODB.texts(aws, table_name))
