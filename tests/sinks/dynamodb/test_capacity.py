"""Write units: what a write costs, what was consumed, and a bulk load that stays under a provisioned table's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Policy, Rate, Sink
from sinkwell.core.testing import FakeDestination, VirtualLoop
from sinkwell.sinks._dynamodb_record import encode_delete, encode_put
from sinkwell.sinks.dynamodb import Delete, DynamoDBReceipt, DynamoDBSink, Put
from sinkwell.sinks.testing import FailEntries, Garbage
from tests.sinks.dynamodb.test_item import TABLE, item_of
from tests.sinks.dynamodb.test_sink import BATCH

if TYPE_CHECKING:
    from sinkwell.sinks.testing import AwsEndpoint


@pytest.mark.parametrize(
    ("size", "units"), [(3, 1), (1_023, 1), (1_024, 1), (1_025, 2), (2_048, 2), (2_049, 3), (409_600, 400)]
)
def test_an_item_costs_a_unit_for_each_kib_that_it_begins(size: int, units: int) -> None:
    assert encode_put(Put(item_of(size, "é") if size > 3 else {"id": "k"}), TABLE, "refuse").units == units


def test_a_delete_costs_one_unit() -> None:
    assert encode_delete(Delete({"id": "k" * 2_000}), TABLE, "refuse").units == 1


def test_a_bulk_load_never_asks_for_more_units_than_its_rate_in_any_second() -> None:
    # In virtual time: the destination is a fake, what is put are DynamoDB's own entries.
    sizes = [100, 1_500, 4_000, 700, 9_000] * 80
    sent: list[tuple[float, float]] = []

    async def load() -> None:
        provider = FakeDestination()
        wanted = DynamoDBSink("orders")._destination.limits
        provider.limits = wanted
        provider.encode = lambda record: encode_put(Put(item_of(record, "a") | {"id": f"{record}"}), TABLE, "refuse")
        write = provider.write

        async def noting(batch: Any) -> Any:
            sent.append((asyncio.get_running_loop().time(), sum(entry.units for entry in batch.entries)))
            return await write(batch)

        provider.write = noting
        async with Sink(provider, Policy(rate=Rate(units=100), max_records=10)) as sink:
            await sink.put_many(sizes)

    loop = VirtualLoop()
    loop.run(load())
    total = sum(units for _, units in sent)
    assert total == sum(-(-size // 1_024) for size in sizes)
    assert sent[-1][0] == pytest.approx((total - sent[-1][1]) / 100)
    for at, _ in sent:
        within = [units for time, units in sent if at <= time < at + 1]
        assert sum(within[:-1]) <= 100


async def test_a_load_at_a_rate_is_not_throttled_by_the_table_that_one_without_it_is(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    items = [{"id": f"{n:03}", "pad": "x" * (1_500 if n % 2 else 100)} for n in range(200)]
    aws.dynamodb.throttle("orders", 150)
    async with sink_for(policy=Policy(rate=Rate(units=100))) as sink:
        receipts = await sink.put_many(items)
        assert sink.stats().retries == 0
    assert all(receipt.attempts == 1 for receipt in receipts)
    aws.dynamodb.throttle("orders", 150)
    async with sink_for(policy=Policy(delivery_timeout=10.0)) as sink:
        receipts = await sink.put_many(items)
        assert sink.stats().retries > 0
    assert all(isinstance(receipt, DynamoDBReceipt) for receipt in receipts)


async def test_consumed_capacity_is_summed_up_by_table_on_request(aws: AwsEndpoint, sink_for: Any) -> None:
    aws.dynamodb.create_table("events")
    async with sink_for(table_names=["events"], consumed_capacity=True) as sink:
        aws.plan.next(BATCH, FailEntries(positions=[0]))
        await sink.put_many([{"id": f"{n}", "pad": "x" * 1_500} for n in range(30)])
        await sink.put(Put({"id": "e"}, table_name="events"))
        assert sink.stats().consumed_capacity == {"orders": 60.0, "events": 1.0}
    assert sink.stats().consumed_capacity == {"orders": 60.0, "events": 1.0}


async def test_capacity_is_not_asked_for_unless_it_is_wanted(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for() as sink:
        await sink.put({"id": "a"})
        assert sink.stats().consumed_capacity == {}
    assert "ReturnConsumedCapacity" not in aws.requests(BATCH)[0].document


@pytest.mark.parametrize("told", [b"null", b"[null]", b"[{}]", b'[{"TableName": "orders", "CapacityUnits": true}]'])
async def test_capacity_that_is_told_wrongly_is_not_counted_and_harms_nothing(
    aws: AwsEndpoint, sink_for: Any, told: bytes
) -> None:
    async with sink_for(consumed_capacity=True) as sink:
        aws.plan.next(BATCH, Garbage(b'{"UnprocessedItems": {}, "ConsumedCapacity": ' + told + b"}"))
        assert (await sink.put({"id": "a"})).attempts == 1
        assert sink.stats().consumed_capacity == {}
