"""Before the first record: what only DynamoDB has of tables and settings."""

from __future__ import annotations

from typing import Any

import pytest

from sinkwell.core import ConfigError
from sinkwell.sinks.dynamodb import DynamoDBSink
from sinkwell.sinks.testing import (
    AwsEndpoint,
    Drop,
    EmptyAnswer,
    Garbage,
    Hang,
    ServerError,
    Throttle,
)
from tests.sinks.aws.service import QUICK


async def opening_fails(table_name: str = "orders", **options: Any) -> pytest.ExceptionInfo[ConfigError]:
    with pytest.raises(ConfigError) as refused:
        async with DynamoDBSink(table_name, **({"region_name": "us-east-1", "policy": QUICK} | options)):
            pass
    return refused


FLEETING = [Throttle(), ServerError(500), ServerError(503), Drop(), Hang(), EmptyAnswer(), Garbage()]


@pytest.mark.parametrize("fault", FLEETING, ids=repr)
async def test_a_table_that_is_only_busy_at_the_start_is_asked_again(
    aws: AwsEndpoint, sink_for: Any, fault: Any
) -> None:
    aws.plan.next("DescribeTable", fault, fault)
    async with sink_for(policy=QUICK) as sink:
        await sink.put({"id": "a"})
    assert len(aws.dynamodb.items("orders")) == 1


async def test_a_table_that_never_tells_its_key_stops_the_sink(aws: AwsEndpoint, session: Any) -> None:
    aws.plan.always("DescribeTable", EmptyAnswer())
    error = await opening_fails(session=session, endpoint_url=aws.url)
    error.match(r"DynamoDB table 'orders': its key can't be read \(AwsError\)")
    assert len(aws.requests("DescribeTable")) == 5


async def test_every_table_is_read_at_the_start(aws: AwsEndpoint, session: Any) -> None:
    aws.dynamodb.create_table("other", {"a": "N", "b": "B"})
    async with DynamoDBSink("orders", table_names=["other", "orders"], session=session, endpoint_url=aws.url):
        assert [request.document["TableName"] for request in aws.requests("DescribeTable")] == ["orders", "other"]
    (await opening_fails(table_names=["missing"], session=session, endpoint_url=aws.url)).match("'missing'")


async def test_a_table_under_two_names_is_refused_since_its_items_would_have_two_orders(
    aws: AwsEndpoint, session: Any
) -> None:
    twice = "arn:aws:dynamodb:us-east-1:000000000000:table/orders"
    (await opening_fails(table_names=[twice], session=session, endpoint_url=aws.url)).match("are one table")


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "ARCHIVED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"])
async def test_a_table_that_takes_no_writes_is_told_when_the_sink_opens(
    aws: AwsEndpoint, session: Any, status: str
) -> None:
    aws.dynamodb.set_status("orders", status)
    (await opening_fails(session=session, endpoint_url=aws.url)).match(f"it is {status}")


@pytest.mark.parametrize("name", ["", "ab", "a" * 256, "or ders", "é" * 3, 7, None, "orders\n"])
def test_a_name_that_no_table_can_have_is_refused(name: Any) -> None:
    for names in ((name, ()), ("orders", [name])):
        with pytest.raises(ConfigError, match="3 to 255"):
            DynamoDBSink(names[0], table_names=names[1])


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="floats"):
        DynamoDBSink("orders", floats="round")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="list of names"):
        DynamoDBSink("orders", table_names="other")


def test_from_env_reads_the_tables_and_what_becomes_of_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TABLE_NAME": "orders", "TABLE_NAMES": "events, users", "FLOATS": "decimal"}.items():
        monkeypatch.setenv(f"SINKWELL_DYNAMODB_{name}", value)
    destination: Any = DynamoDBSink.from_env(env_file=None)._destination
    assert destination._names == ("orders", "events", "users")
    assert destination._floats == "decimal"
