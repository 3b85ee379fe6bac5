from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.sinks.testing import AwsEndpoint, FailEntries, ThrottleWrites

if TYPE_CHECKING:
    from tests.cli.conftest import Command

BATCH = "BatchWriteItem"


@pytest.fixture
def table(aws: AwsEndpoint) -> tuple[str, ...]:
    """The options that name a table of the endpoint."""
    aws.dynamodb.create_table("events", {"device": "S", "at": "N"})
    return "--sink", "dynamodb", "--table-name", "events", "--endpoint-url", aws.url, "--region", "us-east-1"


def items(aws: AwsEndpoint) -> list[dict[str, Any]]:
    return sorted(aws.dynamodb.items("events"), key=lambda item: int(item["at"]["N"]))


async def test_a_json_object_is_an_item_and_its_numbers_keep_every_digit(
    command: Command, aws: AwsEndpoint, table: tuple[str, ...]
) -> None:
    line = '{"device": "é", "at": 7, "v": 0.1234567890123456789012345678901234567, "tags": ["a", null, {"b": true}]}'
    ended = await command.run("pipe", "-", *table, stdin=line)
    assert ended.code == 0, ended.errors
    tags = {"L": [{"S": "a"}, {"NULL": True}, {"M": {"b": {"BOOL": True}}}]}
    number = {"N": "0.1234567890123456789012345678901234567"}
    assert items(aws) == [{"device": {"S": "é"}, "at": {"N": "7"}, "v": number, "tags": tags}]


async def test_a_csv_row_is_an_item_of_texts_with_the_tables_key(
    command: Command, aws: AwsEndpoint, table: tuple[str, ...]
) -> None:
    command.write("t.csv", "device,at,note,size\nd,1,NA,5\nd,2.0,é,\nd,three,x,1\n")
    ended = await command.run("pipe", "t.csv", *table, "--null", "NA", "--dead-letters", "dead.ndjson")
    assert ended.code == 1, ended.errors
    assert items(aws) == [
        {"device": {"S": "d"}, "at": {"N": "1"}, "size": {"S": "5"}},
        {"device": {"S": "d"}, "at": {"N": "2"}, "note": {"S": "é"}},
    ]
    (letter,) = command.letters()
    assert (letter["line"], letter["reason"]) == (4, "invalid")
    assert "its key 'at' is a number in the table" in letter["error"]


async def test_all_arrive_though_dynamodb_throttles_and_leaves_items(
    command: Command, aws: AwsEndpoint, table: tuple[str, ...]
) -> None:
    aws.plan.always(BATCH, ThrottleWrites(), probability=0.1, seed=1)
    aws.plan.always(BATCH, FailEntries(0.1), seed=2)
    lines = [json.dumps({"device": "d", "at": number}) for number in range(500)]
    ended = await command.run("pipe", "-", *table, stdin="\n".join(lines))
    assert ended.code == 0, ended.errors
    assert [int(item["at"]["N"]) for item in items(aws)] == list(range(500))
    assert int(ended.figure("requests")) == len(aws.requests(BATCH))
    assert int(ended.figure("retries")) > 0


@pytest.mark.parametrize("line", ["7", '["a"]', '{"device": "d"}', '{"device": "d", "at": "1"}'])
async def test_what_is_no_item_of_the_table_is_a_dead_letter(
    command: Command, aws: AwsEndpoint, table: tuple[str, ...], line: str
) -> None:
    ended = await command.run("pipe", "-", *table, "--dead-letters", "dead.ndjson", stdin=line)
    (letter,) = command.letters()
    assert (ended.code, letter["reason"], letter["attempts"]) == (1, "invalid", 0)
    assert items(aws) == []


async def test_a_missing_table_and_anothers_option_are_told_in_one_sentence(
    command: Command, aws: AwsEndpoint, table: tuple[str, ...]
) -> None:
    aws.dynamodb._tables.clear()
    ended = await command.run("pipe", "-", *table, stdin="{}")
    assert ended.code == 2
    assert "DynamoDB table 'events' can't be used (ResourceNotFoundException)" in ended.errors
    ended = await command.run("pipe", "-", *table, "--queue-url", "x", stdin="{}")
    assert ended.code == 2
    assert "--queue-url is for --sink sqs, and not for dynamodb" in ended.errors
    ended = await command.run("pipe", "-", "--sink", "dynamodb", stdin="{}")
    assert "--table-name (or SINKWELL_DYNAMODB_TABLE_NAME) is not set" in ended.errors


async def test_what_only_the_environment_can_set_reaches_the_sink_too(
    command: Command, aws: AwsEndpoint, table: tuple[str, ...]
) -> None:
    command.env |= {"SINKWELL_DYNAMODB_COALESCE": "true", "SINKWELL_DYNAMODB_CONSUMED_CAPACITY": "true"}
    lines = "\n".join(f'{{"device": "d", "at": 1, "n": {n}}}' for n in range(200))
    ended = await command.run("pipe", "-", *table, stdin=lines)
    assert ended.code == 0, ended.errors
    assert len(aws.dynamodb.writes("events")) < 20
    assert items(aws)[0]["n"] == {"N": "199"}
    assert aws.requests(BATCH)[0].document["ReturnConsumedCapacity"] == "TOTAL"


async def test_a_rate_in_write_units_holds_a_bulk_load_back(
    command: Command, aws: AwsEndpoint, table: tuple[str, ...]
) -> None:
    lines = "\n".join(f'{{"device": "d", "at": {n}, "pad": "{"x" * 1_500}"}}' for n in range(75))
    ended = await command.run("pipe", "-", *table, "--rate-units", "100", stdin=lines)
    assert ended.code == 0, ended.errors
    assert float(ended.figure("seconds")) >= 1.0
    assert len(items(aws)) == 75
