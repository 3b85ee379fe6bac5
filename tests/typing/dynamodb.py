"""How a user writes `DynamoDBSink`; type-checked, never run."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import assert_type

import aioboto3
from aiobotocore.session import get_session

from sinkwell.core import DeliveryError, Policy, Rate, SinkwellError
from sinkwell.sinks.dynamodb import AwsError, Delete, DynamoDBReceipt, DynamoDBSink, DynamoDBStats, Put


def to_item(order: object) -> dict[str, object]:
    return {"id": str(order), "total": Decimal("9.99")}


async def main() -> None:
    async with DynamoDBSink(
        "orders", table_names=["events"], session=aioboto3.Session(), policy=Policy(linger=0.01)
    ) as sink:
        assert_type(sink, DynamoDBSink)
        receipt = await sink.put({"id": "a", "tags": {"x"}})
        assert_type(receipt, DynamoDBReceipt)
        assert_type(receipt.table_name, str)
        await sink.put(Delete({"id": "a"}))
        assert_type(await sink.put_many([Put({"id": 1}, table_name="events")]), list[DynamoDBReceipt | SinkwellError])
    other = DynamoDBSink("orders", session=get_session(), encode=to_item, floats="decimal", dead_letter=sink)
    bulk = DynamoDBSink("orders", coalesce=True, consumed_capacity=True, policy=Policy(rate=Rate(units=900)))
    assert_type((await bulk.put({"id": "a"})).superseded, bool)
    assert_type(bulk.stats(), DynamoDBStats)
    assert_type(bulk.stats().consumed_capacity, Mapping[str, float])
    try:
        await other.put(7)
    except DeliveryError as error:
        if isinstance(error.__cause__, AwsError):
            assert_type(error.__cause__.code, str)
    assert_type(DynamoDBSink.from_env(), DynamoDBSink)
