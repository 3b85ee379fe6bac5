"""The same sink against DynamoDB Local: Amazon's own reading of its rules, and items read back."""

from __future__ import annotations

import asyncio
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from localstack.init import REGION, TABLES
from sinkwell.core import Backoff, ConfigError, InvalidRecord, Policy, RecordTooLarge
from sinkwell.sinks.dynamodb import Delete, DynamoDBReceipt, DynamoDBSink, Put
from sinkwell.sinks.testing import _dynamodb_rules as rules
from tests.faults import FaultProxy
from tests.sinks.dynamodb.test_item import MEASURED, item_of, nested, typed, wire_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import aioboto3

    from tests.servers import DynamoDBLocalServer

USERS, EVENTS = TABLES
ODD_KEYS = "sinkwell-test-odd-keys"


@pytest.fixture(scope="module")
def client(dynamodb_server: DynamoDBLocalServer) -> Iterator[Any]:
    made = boto3.client(
        "dynamodb",
        endpoint_url=dynamodb_server.url,
        region_name=REGION,
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    schema = [{"AttributeName": "n", "KeyType": "HASH"}, {"AttributeName": "b", "KeyType": "RANGE"}]
    types = [{"AttributeName": "n", "AttributeType": "N"}, {"AttributeName": "b", "AttributeType": "B"}]
    made.create_table(TableName=ODD_KEYS, KeySchema=schema, AttributeDefinitions=types, BillingMode="PAY_PER_REQUEST")
    yield made
    made.delete_table(TableName=ODD_KEYS)
    made.close()


@pytest.fixture
def sink_for(client: Any, dynamodb_server: DynamoDBLocalServer, session: aioboto3.Session) -> Callable[..., Any]:
    def make(name: str = USERS, *, url: str = "", **options: Any) -> DynamoDBSink:
        endpoint = url or dynamodb_server.url
        return DynamoDBSink(
            name, session=session, endpoint_url=endpoint, region_name=REGION, transport="direct", **options
        )

    return make


def key() -> str:
    return uuid.uuid4().hex


def read(client: Any, table_name: str, **names: Any) -> Any:
    """An item as Python values; `None` if it is not there."""
    answer = client.get_item(TableName=table_name, Key={name: typed(value) for name, value in names.items()})
    item = answer.get("Item")
    return None if item is None else {name: plain(value) for name, value in item.items()}


def plain(value: dict[str, Any]) -> Any:
    """boto3's own deserializer fails on numbers that are written out with more than 38 digits, as 1E125 is."""
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return Decimal(content)
        case "NULL":
            return None
        case "M":
            return {name: plain(inner) for name, inner in content.items()}
        case "L":
            return [plain(inner) for inner in content]
        case "SS" | "NS" | "BS":
            return {plain({kind[0]: member}) for member in content}
        case _:
            return content


async def test_every_type_is_read_back_as_it_was_put(client: Any, sink_for: Any) -> None:
    user = key()
    item = {
        "user_id": user,
        "grüße😀": "\x00é€😀\uffff",
        "empty": "",
        "raw": b"\x00\xff" * 100,
        "none": None,
        "yes": True,
        "no": False,
        "list": [1, "a", None, [], {}],
        "map": {"a": {"b": {"c": Decimal("0.1")}}},
        "texts": {"a", "é"},
        "numbers": {1, Decimal("2.5"), -3},
        "bytes": {b"a", b"\x00"},
    }
    async with sink_for() as sink:
        await sink.put(item)
    assert read(client, USERS, user_id=user) == item


NUMBERS = [
    10**38 - 1, -(10**38) + 1, 10**125, 0, Decimal("-0.0"), Decimal("9.9999999999999999999999999999999999999E+125"),
    Decimal("1E-130"), Decimal("-1.2345678901234567890123456789012345678E-92"), Decimal("1.50"), Decimal("42E3"),
]  # fmt: skip


async def test_numbers_keep_all_of_their_38_digits(client: Any, sink_for: Any) -> None:
    users = [key() for _ in NUMBERS]
    async with sink_for() as sink:
        await sink.put_many({"user_id": user, "n": n} for user, n in zip(users, NUMBERS, strict=True))
    assert [read(client, USERS, user_id=user)["n"] for user in users] == NUMBERS


async def test_floats_come_back_as_they_were(client: Any, sink_for: Any) -> None:
    user, floats = key(), [0.1, 1 / 3, -2.5e-7, 1e100, 123456.789]
    async with sink_for(floats="decimal") as sink:
        await sink.put({"user_id": user, "floats": floats})
    assert [float(n) for n in read(client, USERS, user_id=user)["floats"]] == floats


@pytest.mark.parametrize("letter", ["a", "é", "\x00"])
async def test_items_are_taken_up_to_the_last_byte_of_400_kb(client: Any, sink_for: Any, letter: str) -> None:
    async with sink_for(policy=Policy(attempt_timeout=60.0)) as sink:
        for size in (409_599, 409_600):
            item = sized(size, letter)
            assert (await sink.put(item)).attempts == 1
            assert read(client, USERS, user_id=item["user_id"]) == item
        above = sized(409_601, letter)
        with pytest.raises(RecordTooLarge):
            sink.put(above)
        with pytest.raises(ClientError, match="Item size has exceeded"):
            put_directly(client, above)


def sized(size: int, letter: str, **more: object) -> dict[str, Any]:
    item = item_of(size + len("id") - len("user_id"), letter, **more)
    del item["id"]
    return {"user_id": "k", **item}


def put_directly(client: Any, item: dict[str, object]) -> None:
    attributes = {name: typed(value) for name, value in item.items()}
    client.batch_write_item(RequestItems={USERS: [{"PutRequest": {"Item": attributes}}]})


@pytest.mark.parametrize(("literal", "size"), MEASURED)
def test_a_number_counts_in_dynamodb_local_what_it_counts_here(client: Any, literal: str, size: int) -> None:
    assert rules.number_size(literal) == size
    put_directly(client, sized(409_600, "a", n=Decimal(literal)))
    fits = sized(409_600, "a", n=Decimal(literal))
    with pytest.raises(ClientError, match="Item size has exceeded"):
        put_directly(client, fits | {"p": fits["p"] + "a"})


MIXED = {"l": [[], {}, None, "x", {"a": [b"ab", True]}], "s": {"a", "bc"}, "n": {1, 15, Decimal("-1.5")}, "b": {b"abc"}}


def test_collections_count_in_dynamodb_local_what_they_count_here(client: Any) -> None:
    fits = sized(409_600, "a", **MIXED)
    put_directly(client, fits)
    with pytest.raises(ClientError, match="Item size has exceeded"):
        put_directly(client, fits | {"p": fits["p"] + "a"})


REFUSED = [
    {"user_id": ""},
    {"user_id": 7},
    {"user_id": "a" * 2049},
    {"other": "a"},
    {"user_id": "a", "v": {"": 1}},
    {"user_id": "a", "v": nested(32)},
]


@pytest.mark.parametrize("item", REFUSED, ids=lambda item: repr(item)[:40])
async def test_what_is_refused_at_put_would_have_been_refused_by_dynamodb(
    client: Any, sink_for: Any, item: dict[str, Any]
) -> None:
    async with sink_for() as sink:
        with pytest.raises(InvalidRecord):
            sink.put(item)
    with pytest.raises(ClientError, match="ValidationException"):
        client.put_item(TableName=USERS, Item={name: loosely(value) for name, value in item.items()})


def loosely(value: Any) -> dict[str, Any]:
    match value:
        case dict():
            return {"M": {name: loosely(inner) for name, inner in value.items()}}
        case list():
            return {"L": [loosely(inner) for inner in value]}
        case int():
            return {"N": str(value)}
        case _:
            return {"S": value}


async def test_the_deepest_value_that_is_taken_here_is_taken_there(client: Any, sink_for: Any) -> None:
    user = key()
    async with sink_for() as sink:
        await sink.put({"user_id": user, "v": nested(31)})
    assert read(client, USERS, user_id=user)["v"] == nested(31)


async def test_five_hundred_items_are_written_once_each_over_two_tables(client: Any, sink_for: Any) -> None:
    run = key()
    records: list[Any] = [{"user_id": f"{run}-{n}"} for n in range(250)]
    records += [Put({"device_id": run, "event_id": f"{n:04}"}, table_name=EVENTS) for n in range(250)]
    async with sink_for(table_names=[EVENTS], policy=Policy(attempt_timeout=60.0)) as sink:
        outcomes = await sink.put_many(records)
        assert sink.stats().requests <= 23
    assert all(isinstance(outcome, DynamoDBReceipt) for outcome in outcomes)
    found = client.query(
        TableName=EVENTS, KeyConditionExpression="device_id = :d", ExpressionAttributeValues={":d": {"S": run}}
    )
    assert found["Count"] == 250
    assert all(read(client, USERS, user_id=f"{run}-{n}") for n in range(0, 250, 50))


async def test_puts_and_deletes_of_one_key_end_as_the_last_one_says(client: Any, sink_for: Any) -> None:
    run = key()
    records: list[Any] = []
    for n in range(120):
        user = {"user_id": f"{run}-{n % 7}"}
        records.append(Delete(user) if n % 5 == 4 else {**user, "n": n})
    async with sink_for() as sink:
        assert all(isinstance(outcome, DynamoDBReceipt) for outcome in await sink.put_many(records))
    for last, n in enumerate(range(113, 120)):
        item = read(client, USERS, user_id=f"{run}-{n % 7}")
        assert (item is None) if n % 5 == 4 else (item["n"] == n), last


async def test_equal_numbers_are_one_key_in_dynamodb_too(client: Any, sink_for: Any) -> None:
    same = [1, Decimal("1.0"), Decimal("10E-1"), Decimal("0.1E1")]
    async with sink_for(ODD_KEYS) as sink:
        outcomes = await sink.put_many({"n": n, "b": b"\x00", "place": place} for place, n in enumerate(same))
    assert all(isinstance(outcome, DynamoDBReceipt) for outcome in outcomes)
    assert read(client, ODD_KEYS, n=1, b=b"\x00")["place"] == 3


async def test_a_missing_table_is_told_when_the_sink_opens(sink_for: Any) -> None:
    with pytest.raises(ConfigError, match=r"DynamoDB table 'none' can't be used \(ResourceNotFoundException\)"):
        async with sink_for("none"):
            pass


async def test_what_the_endpoint_takes_dynamodb_local_takes(client: Any) -> None:
    for value in ("", "\x00", b"", [], {}, {"a"}, {b""}, {""}, {0}, [None] * 50, Decimal("1E125"), nested(31)):
        sent = typed(value)
        rules.read_item(wire_form({"user_id": {"S": "a"}, "v": sent}))
        client.put_item(TableName=USERS, Item={"user_id": {"S": "a"}, "v": sent})


async def test_a_write_whose_answer_was_lost_on_the_wire_is_there_once(
    client: Any, sink_for: Any, dynamodb_server: DynamoDBLocalServer
) -> None:
    policy = Policy(attempt_timeout=5.0, backoff=Backoff(base=0.05, cap=0.1))
    user = key()
    async with (
        FaultProxy.to(dynamodb_server.host, dynamodb_server.port) as proxy,
        sink_for(url=f"http://{proxy.host}:{proxy.port}", policy=policy) as sink,
    ):
        proxy.down.swallow = True
        delivery = sink.put({"user_id": user, "n": 1})
        newer = sink.put({"user_id": user, "n": 2})
        while proxy.down.bytes_swallowed == 0:  # noqa: ASYNC110 - the proxy counts, it does not call
            await asyncio.sleep(0.01)
        proxy.reset()
        proxy.heal()
        assert (await delivery).attempts >= 2
        await newer
    assert read(client, USERS, user_id=user)["n"] == 2


async def test_a_connection_cut_and_refused_for_a_while_loses_nothing(
    client: Any, sink_for: Any, dynamodb_server: DynamoDBLocalServer
) -> None:
    # DynamoDB Local takes its time: 13 ms an item were seen.
    policy = Policy(attempt_timeout=10.0, concurrency=2, backoff=Backoff(base=0.05, cap=0.2))
    run = key()
    async with (
        FaultProxy.to(dynamodb_server.host, dynamodb_server.port) as proxy,
        sink_for(EVENTS, url=f"http://{proxy.host}:{proxy.port}", policy=policy) as sink,
    ):
        deliveries = [sink.put({"device_id": run, "event_id": f"{n:04}"}) for n in range(100)]
        await deliveries[0]
        proxy.refuse()
        proxy.reset()
        await asyncio.sleep(0.3)
        await proxy.accept()
        for delivery in deliveries:
            assert isinstance(await delivery, DynamoDBReceipt)
    found = client.query(
        TableName=EVENTS, KeyConditionExpression="device_id = :d", ExpressionAttributeValues={":d": {"S": run}}
    )
    assert found["Count"] == 100


async def test_only_the_newest_of_a_keys_waiting_values_is_written(client: Any, sink_for: Any) -> None:
    user = key()
    async with sink_for(coalesce=True, consumed_capacity=True) as sink:
        receipts = await sink.put_many({"user_id": user, "n": n} for n in range(50))
        assert sink.stats().consumed_capacity == {USERS: 1.0}
    assert [receipt.superseded for receipt in receipts] == [True] * 49 + [False]
    assert read(client, USERS, user_id=user)["n"] == 49


async def test_dynamodb_local_consumes_the_units_that_were_counted(client: Any, sink_for: Any) -> None:
    items = [{"user_id": key(), "p": "x" * size} for size in (1, 900, 1_100, 2_000, 2_100, 9_000)]
    async with sink_for(consumed_capacity=True) as sink:
        counted = sum(sink._destination.encode(item).units for item in items)
        await sink.put_many(items)
        assert sink.stats().consumed_capacity == {USERS: counted}
