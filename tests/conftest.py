"""The servers, for every test that asks for one: started at the first request, ended with the run."""

import gc
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest

from tests.servers import (
    CassandraServer,
    DynamoDBLocalServer,
    KafkaServer,
    LocalStackServer,
    PgBouncerServer,
    PostgresServer,
    RabbitMQServer,
    RedisServer,
    Server,
)

S = TypeVar("S", bound=Server)

_running: list[Server] = []


def _lend(kind: type[S], **options: Any) -> Iterator[S]:
    with kind.start(**options) as server:
        _running.append(server)
        yield server
        _running.remove(server)


@pytest.fixture(autouse=True, scope="module")
def _short_collections() -> None:
    """Keep a full collection short: with all that thousands of tests leave behind it would hold up a loop for longer
    than some tests let an attempt take."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    yield from _lend(PostgresServer)


@pytest.fixture(scope="session")
def pgbouncer_server(postgres_server: PostgresServer) -> Iterator[PgBouncerServer]:
    yield from _lend(PgBouncerServer, behind=postgres_server)


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitMQServer]:
    yield from _lend(RabbitMQServer)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    yield from _lend(RedisServer)


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaServer]:
    yield from _lend(KafkaServer)


@pytest.fixture(scope="session")
def dynamodb_server() -> Iterator[DynamoDBLocalServer]:
    yield from _lend(DynamoDBLocalServer)


@pytest.fixture(scope="session")
def cassandra_server() -> Iterator[CassandraServer]:
    yield from _lend(CassandraServer)


@pytest.fixture(scope="session")
def localstack_server() -> Iterator[LocalStackServer]:
    yield from _lend(LocalStackServer)


def pytest_runtest_setup() -> None:
    """A test that broke a server need not mend it: the next one finds it up."""
    for server in _running:
        server.mend()
