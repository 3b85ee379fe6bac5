"""`coalesce=True`: the newest write of a key goes, and those that had not left share its receipt."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Backoff, DeliveryError, DeliveryRejected, Outcome, Policy
from sinkwell.sinks.dynamodb import Delete, DynamoDBReceipt
from sinkwell.sinks.testing import AwsEndpoint, FailEntries, Late, Refuse, ServerError
from tests.sinks.dynamodb.test_sink import BATCH, QUICK, storm

if TYPE_CHECKING:
    from sinkwell.sinks.testing import AwsRequest


async def test_of_the_writes_of_a_key_that_wait_only_the_newest_is_done(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(coalesce=True) as sink:
        puts = [sink.put({"id": "k", "n": n}) for n in range(100)]
        gone = [sink.put({"id": "gone"}), sink.put(Delete({"id": "gone"}))]
        receipts = await asyncio.gather(*puts)
        await asyncio.gather(*gone)
        assert sink.stats().superseded == 100
    assert [receipt.superseded for receipt in receipts] == [True] * 99 + [False]
    assert receipts[0] == DynamoDBReceipt(attempts=1, table_name="orders", superseded=True)
    assert aws.dynamodb.items("orders") == [{"id": {"S": "k"}, "n": {"N": "99"}}]
    assert [write.kind for write in aws.dynamodb.writes("orders")] == ["put", "delete"]
    assert len(aws.requests(BATCH)) == 1


async def test_without_it_every_write_is_done(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for() as sink:
        receipts = await sink.put_many({"id": "k", "n": n} for n in range(5))
    assert not any(receipt.superseded for receipt in receipts)
    assert len(aws.dynamodb.writes("orders")) == 5


@pytest.mark.parametrize("applied", [False, True])
async def test_a_write_whose_fate_is_unknown_is_sent_again_before_the_newer_one(
    aws: AwsEndpoint, sink_for: Any, applied: bool
) -> None:
    async with sink_for(coalesce=True, policy=Policy(backoff=Backoff(base=0.1, cap=0.1))) as sink:
        aws.plan.next(BATCH, ServerError(500, applied=applied))
        first = sink.put({"id": "k", "n": 0})
        while sink.stats().retrying == 0:  # noqa: ASYNC110 - stats have no event
            await asyncio.sleep(0.005)
        others = [sink.put({"id": "k", "n": n}) for n in (1, 2, 3)]
        receipts = await asyncio.gather(first, *others)
    assert [(receipt.attempts, receipt.superseded) for receipt in receipts] == [
        (2, False), (1, True), (1, True), (1, False)
    ]  # fmt: skip
    assert values(aws, "k") == [0, 3] if not applied else [0, 0, 3]


async def test_a_write_that_dynamodb_refuses_does_not_take_the_one_before_it_along(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    def refuse_bad(request: AwsRequest) -> Any:
        return Refuse("ValidationException") if any("bad" in str(entry) for entry in request.entries) else None

    async with sink_for(coalesce=True) as sink:
        aws.plan.script(refuse_bad)
        outcomes = await sink.put_many([{"id": "k", "n": 1}, {"id": "k", "n": 2}, {"id": "k", "v": "bad"}, {"id": "x"}])
    assert isinstance(outcomes[2], DeliveryRejected)
    assert [outcome.superseded for outcome in (outcomes[0], outcomes[1], outcomes[3])] == [True, False, False]
    assert values(aws, "k") == [2]


async def test_a_throttled_hot_key_needs_few_writes_for_many_values(aws: AwsEndpoint, sink_for: Any) -> None:
    policy = Policy(backoff=Backoff(base=0.02, cap=0.05), delivery_timeout=20.0)
    async with sink_for(coalesce=True, policy=policy) as sink:
        aws.dynamodb.throttle_key("orders", {"S": "hot"}, 10)
        puts: list[Any] = []
        for n in range(300):
            puts.append(sink.put({"id": "hot", "n": n}))
            await asyncio.sleep(0)
        await asyncio.gather(*puts)
    assert len(values(aws, "hot")) < 15
    assert values(aws, "hot")[-1] == 299


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("on_unknown", ["retry", "fail"])
async def test_in_a_storm_the_last_value_wins_and_every_caller_is_told_the_truth(
    aws: AwsEndpoint, sink_for: Any, seed: int, on_unknown: Any
) -> None:
    storm(aws, seed)
    aws.plan.always(BATCH, FailEntries(0.3), probability=0.3, seed=seed + 77)
    aws.plan.always(BATCH, Late(0.02), probability=0.5, seed=seed + 99)
    policy = Policy(attempt_timeout=0.2, delivery_timeout=8.0, backoff=QUICK.backoff, on_unknown=on_unknown)
    records = [{"id": f"k{n * 7 % 40}", "n": n} for n in range(600)]
    async with sink_for(coalesce=True, policy=policy) as sink:
        tasks: list[Any] = []
        for place, record in enumerate(records):
            tasks.append(sink.put(record))
            if place % 60 == 0:
                await asyncio.sleep(0.02)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    written: defaultdict[str, list[int]] = defaultdict(list)
    for write in aws.dynamodb.writes("orders"):
        written[write.key["id"]["S"]].append(int(write.item["n"]["N"]))
    assert all(there == sorted(there) for there in written.values())
    for record, outcome in zip(records, outcomes, strict=True):
        check(record["n"], outcome, written[record["id"]])


def check(value: int, outcome: Any, written: list[int]) -> None:
    """What one caller was told, against what the endpoint did."""
    if isinstance(outcome, DynamoDBReceipt) and outcome.superseded:
        assert value not in written
        assert written[-1] > value
    elif isinstance(outcome, DynamoDBReceipt):
        assert value in written
    else:
        assert isinstance(outcome, DeliveryError)
        assert outcome.outcome is Outcome.UNKNOWN or value not in written


def values(aws: AwsEndpoint, key: str) -> list[int]:
    return [int(write.item["n"]["N"]) for write in aws.dynamodb.writes("orders") if write.key["id"] == {"S": key}]
