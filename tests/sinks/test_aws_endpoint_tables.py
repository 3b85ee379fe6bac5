"""The rules of DynamoDB as a real client meets them at `AwsEndpoint`; expected words are those recorded from AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from sinkwell.sinks.testing import AwsEndpoint, AwsError, FailEntries, ThrottleWrites

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")

_SESSION = get_session()
_NO_SCHEMA = "The provided key element does not match the schema"
_EMPTY_KEY = (
    "One or more parameter values are not valid. "
    "The AttributeValue for a key attribute cannot contain an empty {} value. Key: {}"
)
_TWO_TYPES = (
    "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
)
_INVALID = "One or more parameter values were invalid: "
_BAD_INDEX = (
    "One or more parameter values are not valid. A value specified for a secondary index key is not supported. "
    "The AttributeValue for a key attribute cannot contain an empty string value. IndexName: by-c, IndexKey: c"
)
_TOO_DEEP = (
    "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit"
)
_TOO_MANY = (
    "1 validation error detected: Value at 'RequestItems.orders.member' failed to satisfy constraint: "
    "Member must have length less than or equal to 25"
)


@pytest.fixture
def aws(aws: AwsEndpoint) -> AwsEndpoint:
    aws.dynamodb.create_table("orders", indexes={"by-c": {"c": "S"}})
    aws.dynamodb.create_table("events", {"n": "N", "b": "B"})
    return aws


@pytest.fixture
async def client(aws: AwsEndpoint) -> AsyncIterator[Any]:
    config = AioConfig(retries={"total_max_attempts": 1}, read_timeout=5, parameter_validation=False)
    async with _SESSION.create_client("dynamodb", config=config, **aws.client_options()) as dynamodb:
        yield dynamodb


def put(key: str = "a", **more: Any) -> dict[str, Any]:
    return {"PutRequest": {"Item": {"id": {"S": key}, **more}}}


def event(n: str, b: bytes = b"x", **more: Any) -> dict[str, Any]:
    return {"PutRequest": {"Item": {"n": {"N": n}, "b": {"B": b}, **more}}}


def delete(**key: Any) -> dict[str, Any]:
    return {"DeleteRequest": {"Key": key}}


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "leaf"}
    for _ in range(levels):
        value = {"M": {"n": value}}
    return value


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        await call
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


async def test_writes_of_several_tables_are_done_and_read_back(aws: AwsEndpoint, client: Any) -> None:
    items = {"orders": [put("a", v={"L": [{"N": "1.50"}]}), put("b")], "events": [event("1E2", b"\x00")]}
    answer = await client.batch_write_item(RequestItems=items, ReturnConsumedCapacity="TOTAL")
    assert answer["UnprocessedItems"] == {}
    assert {one["TableName"]: one["CapacityUnits"] for one in answer["ConsumedCapacity"]} == {"orders": 2, "events": 1}
    got = await client.get_item(TableName="orders", Key={"id": {"S": "a"}})
    assert got["Item"] == {"id": {"S": "a"}, "v": {"L": [{"N": "1.5"}]}}
    got = await client.get_item(TableName="events", Key={"n": {"N": "100"}, "b": {"B": b"\x00"}})
    assert got["Item"] == {"n": {"N": "100"}, "b": {"B": b"\x00"}}
    await client.batch_write_item(RequestItems={"orders": [delete(id={"S": "a"}), delete(id={"S": "never there"})]})
    assert (await client.scan(TableName="orders"))["Items"] == [{"id": {"S": "b"}}]
    keys = {"orders": {"Keys": [{"id": {"S": "a"}}, {"id": {"S": "b"}}]}}
    assert (await client.batch_get_item(RequestItems=keys))["Responses"] == {"orders": [{"id": {"S": "b"}}]}
    assert [write.kind for write in aws.dynamodb.writes("orders")] == ["put", "put", "delete", "delete"]
    assert aws.dynamodb.count("orders") == 4


RULES = [
    ([put(), delete(id={"S": "a"})], "Provided list of item keys contains duplicates"),
    ([put("a"), put("a", v={"S": "other"})], "Provided list of item keys contains duplicates"),
    ([{"PutRequest": {"Item": {"x": {"S": "a"}}}}], _NO_SCHEMA),
    ([{"PutRequest": {"Item": {"id": {"N": "5"}}}}], _NO_SCHEMA),
    ([{"PutRequest": {"Item": {"id": {"L": [{"S": "x"}]}}}}], _NO_SCHEMA),
    ([delete()], _NO_SCHEMA),
    ([delete(id={"S": "a"}, x={"S": "b"})], _NO_SCHEMA),
    ([put("")], _EMPTY_KEY.format("string", "id")),
    ([put("a" * 2049)], _INVALID + "Size of hashkey has exceeded the maximum size limit of2048 bytes"),
    ([put(c={"N": "5"})], _INVALID + "Type mismatch for Index Key c Expected: S Actual: N IndexName: by-c"),
    ([put(c={"L": []})], _INVALID + "Type mismatch for Index Key c Expected: S Actual: L IndexName: by-c"),
    ([put(c={"S": ""})], _BAD_INDEX),
    ([put(v={"SS": []})], _INVALID + "An string set  may not be empty"),
    ([put(v={"NS": []})], _INVALID + "An number set  may not be empty"),
    ([put(v={"BS": []})], _INVALID + "Binary sets should not be empty"),
    ([put(v={"M": {"inner": {"SS": []}}})], _INVALID + "An string set  may not be empty"),
    ([put(v={"SS": ["a", "a"]})], _INVALID + "Input collection [a, a] contains duplicates"),
    ([put(v={"NS": ["1", "1.0"]})], "Input collection contains duplicates"),
    ([put(v={"N": "1" * 39})], "Attempting to store more than 38 significant digits in a Number"),
    (
        [put(v={"N": "1E126"})],
        "Number overflow. Attempting to store a number with magnitude larger than supported range",
    ),
    (
        [put(v={"N": "1E-131"})],
        "Number underflow. Attempting to store a number with magnitude smaller than supported range",
    ),
    ([put(v={"N": "b"})], "The parameter cannot be converted to a numeric value: b"),
    ([put(v={"N": ""})], "The parameter cannot be converted to a numeric value"),
    ([put(v={"S": "a", "N": "1"})], _TWO_TYPES),
    ([put(v={})], "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"),
    ([{}], _TWO_TYPES),
    ([put() | delete(id={"S": "a"})], _TWO_TYPES),
    ([put(**{"": {"S": "a"}})], "Empty attribute name"),
    ([put(v=nested(32))], _TOO_DEEP),
    ([put(v={"S": "x" * 409_600})], "Item size has exceeded the maximum allowed size"),
    ([put(str(n)) for n in range(26)], _TOO_MANY),
]


@pytest.mark.parametrize(("writes", "message"), RULES, ids=[message[:60] for _, message in RULES])
async def test_a_batch_that_breaks_a_rule_is_refused_whole(
    aws: AwsEndpoint, client: Any, writes: list[dict[str, Any]], message: str
) -> None:
    call = client.batch_write_item(RequestItems={"events": [event("1")], "orders": writes})
    assert await refusal(call) == ("ValidationException", message)
    assert aws.dynamodb.items("orders") == aws.dynamodb.items("events") == []
    assert aws.log[-1].applied == {}


async def test_rules_of_the_whole_request(aws: AwsEndpoint, client: Any) -> None:
    words = (
        "1 validation error detected: Value at 'RequestItems' failed to satisfy constraint: "
        "Member must have length greater than or equal to 1"
    )
    assert await refusal(client.batch_write_item(RequestItems={})) == ("ValidationException", words)
    both = {"orders": [put(str(n)) for n in range(13)], "events": [event(str(n)) for n in range(13)]}
    words = "Too many items requested for the BatchWriteItem call"
    assert await refusal(client.batch_write_item(RequestItems=both)) == ("ValidationException", words)
    missing = client.batch_write_item(RequestItems={"orders": [put()], "none": [put()]})
    assert await refusal(missing) == ("ResourceNotFoundException", "Requested resource not found")
    assert aws.dynamodb.items("orders") == []


async def test_the_keys_of_a_table_with_a_sort_key(client: Any) -> None:
    for n, b, message in (
        ("1", b"", _EMPTY_KEY.format("binary", "b")),
        ("1", b"x" * 1025, _INVALID + "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"),
    ):
        call = client.batch_write_item(RequestItems={"events": [event(n, b)]})
        assert await refusal(call) == ("ValidationException", message)
    twice = client.batch_write_item(RequestItems={"events": [event("1"), event("1.0")]})
    assert (await refusal(twice))[1] == "Provided list of item keys contains duplicates"


async def test_the_size_of_an_item_is_kept_to_the_byte(client: Any) -> None:
    await client.batch_write_item(RequestItems={"orders": [put(v={"S": "é" * 204_798})]})
    assert (await refusal(client.batch_write_item(RequestItems={"orders": [put(v={"S": "é" * 204_799})]})))[0]


async def test_a_request_above_16_mib_is_not_read(client: Any) -> None:
    writes = [put(str(n), v={"S": "é" * 204_000}) for n in range(14)]
    with pytest.raises(Exception, match=r"413|close|reset|connect"):
        await client.batch_write_item(RequestItems={"orders": writes})


async def test_what_is_left_unprocessed_is_really_not_there(aws: AwsEndpoint, client: Any) -> None:
    aws.plan.next("BatchWriteItem", FailEntries(positions=[0, 2]))
    items = {"events": [event("1E1", v={"N": "2.50"})], "orders": [put("a"), delete(id={"S": "b"})]}
    answer = await client.batch_write_item(RequestItems=items)
    assert answer["UnprocessedItems"] == {
        "events": [event("10", v={"N": "2.5"})],
        "orders": [delete(id={"S": "b"})],
    }
    assert aws.dynamodb.items("events") == []
    assert aws.log[-1].applied == {"1": "orders/a"}
    aws.dynamodb.echoes_plain_numbers = False
    aws.plan.next("BatchWriteItem", FailEntries(positions=[0]))
    answer = await client.batch_write_item(RequestItems=items)
    assert answer["UnprocessedItems"] == {"events": items["events"]}


async def test_writes_beyond_a_tables_units_are_left_and_a_request_without_any_is_throttled(
    aws: AwsEndpoint, client: Any
) -> None:
    aws.dynamodb.throttle("orders", 3)
    big = put("a", v={"S": "x" * 2000})
    answer = await client.batch_write_item(RequestItems={"orders": [big, put("b"), put("c"), put("d")]})
    assert answer["UnprocessedItems"] == {"orders": [put("c"), put("d")]}
    with pytest.raises(ClientError) as caught:
        await client.batch_write_item(RequestItems={"orders": [put("c")]})
    assert caught.value.response["Error"]["Code"] == "ProvisionedThroughputExceededException"
    assert b'"reason":"TableWriteProvisionedThroughputExceeded"' in aws.log[-1].answer
    aws.dynamodb.throttle("orders", None)
    await client.batch_write_item(RequestItems={"orders": [put("c")]})


async def test_a_hot_key_is_throttled_for_itself(aws: AwsEndpoint, client: Any) -> None:
    aws.dynamodb.throttle_key("events", {"N": "1.0"}, 1)
    writes = [event("1", b"a"), event("1", b"b"), event("2", b"a")]
    answer = await client.batch_write_item(RequestItems={"events": writes})
    assert answer["UnprocessedItems"] == {"events": [event("1", b"b")]}
    with pytest.raises(ClientError):
        await client.batch_write_item(RequestItems={"events": [event("1", b"b")]})
    assert b"TableWriteKeyRangeThroughputExceeded" in aws.log[-1].answer


@pytest.mark.parametrize("code", ["ProvisionedThroughputExceededException", "ThrottlingException"])
async def test_throttling_says_why_in_the_way_the_client_reads(aws: AwsEndpoint, client: Any, code: str) -> None:
    aws.plan.next("BatchWriteItem", ThrottleWrites("IndexWriteAccountLimitExceeded", code=code))
    with pytest.raises(ClientError) as caught:
        await client.batch_write_item(RequestItems={"orders": [put()]})
    response = caught.value.response
    assert response["Error"]["Code"] == code
    (reason,) = response.get("ThrottlingReasons") or response["throttlingReasons"]
    assert reason["reason"] == "IndexWriteAccountLimitExceeded"


async def test_tables_are_made_described_and_deleted(aws: AwsEndpoint, client: Any) -> None:
    types = [{"AttributeName": name, "AttributeType": kind} for name, kind in (("a", "S"), ("b", "N"), ("c", "B"))]
    schema = [{"AttributeName": "a", "KeyType": "HASH"}, {"AttributeName": "b", "KeyType": "RANGE"}]
    index = {"IndexName": "by-c", "KeySchema": [{"AttributeName": "c", "KeyType": "HASH"}]}
    wanted = {"TableName": "made", "AttributeDefinitions": types, "KeySchema": schema}
    await client.create_table(**wanted, GlobalSecondaryIndexes=[index], BillingMode="PAY_PER_REQUEST")
    table = (await client.describe_table(TableName="made"))["Table"]
    assert (table["KeySchema"], table["AttributeDefinitions"]) == (schema, types)
    assert table["GlobalSecondaryIndexes"][0]["IndexName"] == "by-c"
    assert (await refusal(client.create_table(**wanted)))[0] == "ResourceInUseException"
    await client.delete_table(TableName="made")
    assert (await refusal(client.describe_table(TableName="made")))[0] == "ResourceNotFoundException"
    with pytest.raises(AwsError):
        aws.dynamodb.items("made")


async def test_one_item_at_a_time_keeps_the_same_rules(aws: AwsEndpoint, client: Any) -> None:
    await client.put_item(TableName="orders", Item={"id": {"S": "a"}})
    assert (await refusal(client.put_item(TableName="orders", Item={"id": {"N": "1"}})))[1] == _NO_SCHEMA
    await client.delete_item(TableName="orders", Key={"id": {"S": "a"}})
    assert aws.dynamodb.items("orders") == []
    aws.dynamodb.set_status("orders", "CREATING")
    call = client.put_item(TableName="orders", Item={"id": {"S": "a"}})
    assert (await refusal(call))[0] == "ResourceNotFoundException"


async def test_the_endpoint_has_no_tables_before_it_is_entered() -> None:
    with pytest.raises(RuntimeError, match="no tables"):
        _ = AwsEndpoint().dynamodb


async def test_a_benchmark_keeps_counts_only() -> None:
    async with AwsEndpoint(remembers=False) as aws:
        aws.dynamodb.create_table("orders")
        async with _SESSION.create_client("dynamodb", **aws.client_options()) as client:
            await client.batch_write_item(RequestItems={"orders": [put("a"), put("b")]})
        assert (aws.log, aws.dynamodb.writes("orders"), aws.dynamodb.count("orders")) == ([], [], 2)
