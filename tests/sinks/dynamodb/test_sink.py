"""The whole sink against an endpoint that keeps DynamoDB's rules: what callers are told, and what is there."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.session import get_session

from sinkwell.core import (
    Adaptive,
    Backoff,
    ConfigError,
    DeliveryError,
    DeliveryExpired,
    DeliveryRejected,
    InvalidRecord,
    Outcome,
    Policy,
)
from sinkwell.sinks.dynamodb import AwsError, Delete, DynamoDBReceipt, Put
from sinkwell.sinks.testing import (
    AwsEndpoint,
    CutAnswer,
    Drop,
    EmptyAnswer,
    ExpiredToken,
    FailEntries,
    Hang,
    Late,
    QueueGone,
    Refuse,
    ServerError,
    ThrottleWrites,
)
from tests.sinks.dynamodb.conftest import ids

BATCH = "BatchWriteItem"
QUICK = Policy(attempt_timeout=0.2, delivery_timeout=5.0, backoff=Backoff(base=0.005, cap=0.02), concurrency=4)
# Nothing in it is applied after its answer: then DynamoDB itself would let an old write land on a newer one.
STORM = [
    (ThrottleWrites(), 0.10),
    (FailEntries(0.3), 0.20),
    (ServerError(500, applied=True), 0.05),
    (ServerError(503, applied=False), 0.05),
    (Drop(applied=True), 0.05),
    (Drop(applied=False, resets=True), 0.05),
    (EmptyAnswer(applied=True), 0.05),
    (EmptyAnswer(applied=False), 0.05),
    (CutAnswer(), 0.05),
    (Hang(applied=True), 0.01),
    (Late(0.01), 0.2),
]

if TYPE_CHECKING:
    from collections.abc import Iterable


def storm(aws: AwsEndpoint, seed: int) -> None:
    for number, (fault, probability) in enumerate(STORM):
        aws.plan.always(BATCH, fault, probability=probability, seed=seed * 100 + number)


def keys_in(request: Any) -> list[str]:
    return [str(next(iter(entry.values()))) for entry in map(key_of, request.entries)]


def key_of(entry: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = entry.get("PutRequest", {}).get("Item") or entry["DeleteRequest"]["Key"]
    return {"id": fields["id"]}


async def test_a_record_is_there_when_its_receipt_is(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(policy=QUICK) as sink:
        receipt = await sink.put({"id": "a", "total": Decimal("9.90"), "tags": {"x"}})
        assert receipt == DynamoDBReceipt(table_name="orders", attempts=1)
        assert aws.dynamodb.items("orders") == [{"id": {"S": "a"}, "total": {"N": "9.9"}, "tags": {"SS": ["x"]}}]
        await sink.put(Delete({"id": "a"}))
        assert aws.dynamodb.items("orders") == []


async def test_a_flood_leaves_in_full_batches(aws: AwsEndpoint, sink_for: Any) -> None:
    # Patient: an attempt that a busy machine holds up for QUICK's 0.2 s goes again, and is one request more.
    async with sink_for(policy=Policy(concurrency=4)) as sink:
        await sink.put_many({"id": f"{n:04}"} for n in range(1000))
    assert len(aws.requests(BATCH)) <= 42
    assert ids(aws) == [f"{n:04}" for n in range(1000)]


async def test_any_session_will_do(aws: AwsEndpoint, sink_for: Any) -> None:
    plain = get_session()
    plain.set_credentials("testing", "testing")
    async with sink_for(session=plain, region_name="us-east-1") as sink:
        await sink.put({"id": "a"})
    assert ids(aws) == ["a"]


async def test_one_request_carries_several_tables(aws: AwsEndpoint, sink_for: Any) -> None:
    aws.dynamodb.create_table("events", {"device": "S", "at": "N"})
    async with sink_for(table_names=["events"], policy=QUICK) as sink:
        records: list[object] = [{"id": str(n)} for n in range(10)]
        records += [Put({"device": "d", "at": n}, table_name="events") for n in range(10)]
        records += [Delete({"device": "e", "at": n}, table_name="events") for n in range(5)]
        outcomes = await asyncio.gather(*[sink.put(record) for record in records])
    assert [outcome.table_name for outcome in outcomes] == ["orders"] * 10 + ["events"] * 15
    (request,) = aws.requests(BATCH)
    assert {name: len(writes) for name, writes in request.document["RequestItems"].items()} == {
        "orders": 10,
        "events": 15,
    }
    assert (len(aws.dynamodb.writes("orders")), len(aws.dynamodb.writes("events"))) == (10, 15)


async def test_equal_keys_of_two_tables_are_two_items(aws: AwsEndpoint, sink_for: Any) -> None:
    aws.dynamodb.create_table("other")
    async with sink_for(table_names=["other"]) as sink:
        await asyncio.gather(sink.put({"id": "a"}), sink.put(Put({"id": "a"}, table_name="other")))
    assert len(aws.requests(BATCH)) == 1
    assert ids(aws) == ids(aws, "other") == ["a"]


async def test_a_table_can_be_named_by_its_arn(aws: AwsEndpoint, sink_for: Any) -> None:
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/orders"
    async with sink_for(arn, policy=QUICK) as sink:
        aws.plan.next(BATCH, FailEntries(positions=[0]))
        outcomes = await sink.put_many([{"id": "a"}, {"id": "b"}])
        assert sink._destination.name == "dynamodb:orders"
    assert [outcome.attempts for outcome in outcomes] == [2, 1]
    assert ids(aws) == ["a", "b"]


@dataclass
class Order:
    number: int


async def test_other_objects_go_through_encode_and_are_refused_without(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(encode=lambda order: {"id": str(order.number)}) as sink, sink_for() as plain:
        await sink.put(Order(7))
        for record in (Order(7), "text", b"x", None, [("id", "a")]):
            with pytest.raises(InvalidRecord, match="takes a dict, Put or Delete"):
                plain.put(record)
    assert ids(aws) == ["7"]


@pytest.mark.parametrize("answer", [7, None, RuntimeError("canary")])
async def test_an_encode_that_fails_refuses_its_record_only(sink_for: Any, answer: object) -> None:
    def encode(_: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with sink_for(encode=encode) as sink:
        with pytest.raises(InvalidRecord, match="encode=") as refused:
            sink.put(Order(1))
        assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"id": ""},
        {"id": "x", "price": 0.5},
        {"id": "x", "s": set()},
        {"id": "x" * 2049},
        {"id": "x", "p": "a" * 409_600},
        Put("text"),  # type: ignore[arg-type]
        Delete(["id"]),  # type: ignore[arg-type]
        Delete({"id": "x", "more": 1}),
        Put({"id": "x"}, table_name="unknown"),
        Put({"id": "x"}, table_name=7),  # type: ignore[arg-type]
    ],
)
async def test_a_record_that_can_not_be_sent_is_refused_and_hurts_nobody(
    aws: AwsEndpoint, sink_for: Any, record: object
) -> None:
    async with sink_for() as sink:
        good = [sink.put({"id": "a"}), sink.put({"id": "b"})]
        with pytest.raises(InvalidRecord):
            sink.put(record)
        await asyncio.gather(*good)
    assert ids(aws) == ["a", "b"]


async def test_an_unprocessed_item_is_sent_again_alone(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(policy=QUICK) as sink:
        aws.plan.next(BATCH, FailEntries(positions=[3]))
        receipts = await asyncio.gather(*[sink.put({"id": str(n)}) for n in range(10)])
    assert [key_of(entry) for entry in aws.requests(BATCH)[-1].entries] == [{"id": {"S": "3"}}]
    assert [receipt.attempts for receipt in receipts] == [1, 1, 1, 2, *[1] * 6]
    assert ids(aws) == [str(n) for n in range(10)]


async def test_the_one_record_that_dynamodb_refuses_is_found_and_the_others_arrive(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    async with sink_for(policy=QUICK) as sink:
        # An index made while the sink runs: its rule is not known here.
        aws.dynamodb._tables["orders"].indexes["new"] = {"customer": "S"}
        outcomes = await sink.put_many([{"id": str(n), "customer": 7 if n == 13 else "c"} for n in range(25)])
    (bad,) = [outcome for outcome in outcomes if not isinstance(outcome, DynamoDBReceipt)]
    assert bad is outcomes[13]
    assert isinstance(bad, DeliveryRejected)
    assert bad.outcome is Outcome.NOT_WRITTEN
    assert isinstance(bad.__cause__, AwsError)
    assert "Type mismatch for Index Key customer" in str(bad.__cause__)
    assert all(outcome.attempts == 1 for outcome in outcomes if outcome is not bad)
    assert len(ids(aws)) == 24


async def test_a_table_deleted_while_the_sink_runs_rejects_loudly(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for() as sink:
        aws.plan.next(BATCH, QueueGone())
        with pytest.raises(DeliveryRejected) as rejected:
            await sink.put({"id": "a"})
    assert rejected.value.outcome is Outcome.NOT_WRITTEN
    assert rejected.value.__cause__.code == "ResourceNotFoundException"


async def test_credentials_that_expire_are_given_time_to_be_renewed(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(policy=Policy(max_attempts=3, backoff=QUICK.backoff)) as sink:
        aws.plan.next(BATCH, ExpiredToken(), ExpiredToken())
        assert (await sink.put({"id": "a"})).attempts == 3
        aws.plan.always(BATCH, ExpiredToken())
        with pytest.raises(DeliveryExpired) as expired:
            await sink.put({"id": "b"})
    assert expired.value.outcome is Outcome.NOT_WRITTEN
    assert ids(aws) == ["a"]


@pytest.mark.parametrize("order", ["key", "none"])
async def test_a_key_is_never_twice_in_a_request_nor_in_two_at_once(
    aws: AwsEndpoint, sink_for: Any, order: Any
) -> None:
    aws.dynamodb.create_table("events", {"device": "N"})
    same = [1, Decimal("1.0"), Decimal("10E-1"), 2, 1, Decimal(2)]
    policy = Policy(concurrency=8, order=order, backoff=QUICK.backoff)
    async with sink_for("events", policy=policy) as sink:
        aws.plan.always(BATCH, Late(0.02))
        outcomes = await sink.put_many({"device": device, "n": n} for n, device in enumerate(same * 3))
    assert all(isinstance(outcome, DynamoDBReceipt) for outcome in outcomes)
    assert all(request.status == 200 for request in aws.requests(BATCH))
    written = [(write.key["device"]["N"], int(write.item["n"]["N"])) for write in aws.dynamodb.writes("events")]
    for device in "12":
        assert [n for key, n in written if key == device] == sorted(n for key, n in written if key == device)


async def test_a_put_and_a_delete_of_one_key_go_one_after_the_other(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(policy=QUICK) as sink:
        aws.plan.next(BATCH, FailEntries(), FailEntries())
        await asyncio.gather(
            *[sink.put(record) for record in ({"id": "a"}, Delete({"id": "a"}), {"id": "b"}, Delete({"id": "b"}))]
        )
    assert ids(aws) == []
    assert [write.kind for write in aws.dynamodb.writes("orders") if write.key["id"] == {"S": "a"}] == ["put", "delete"]


async def test_an_old_value_in_backoff_never_overwrites_a_newer_one(aws: AwsEndpoint, sink_for: Any) -> None:
    policy = Policy(backoff=Backoff(base=0.2, cap=0.2), concurrency=8)
    async with sink_for(policy=policy) as sink:
        aws.plan.next(BATCH, FailEntries(only=lambda entry: key_of(entry) == {"id": {"S": "k"}}))
        old, other = sink.put({"id": "k", "v": "old"}), sink.put({"id": "other"})
        await other
        new = sink.put({"id": "k", "v": "new"})
        await sink.put({"id": "third"})
        assert not new.done()
        assert [receipt.attempts for receipt in await asyncio.gather(old, new)] == [2, 1]
    values = [write.item["v"]["S"] for write in aws.dynamodb.writes("orders") if "v" in write.item]
    assert values == ["old", "new"]


async def test_a_hot_key_slows_its_own_lane_and_not_the_table(aws: AwsEndpoint, sink_for: Any) -> None:
    policy = Policy(concurrency=Adaptive(1, 16), backoff=Backoff(base=0.05, cap=0.1), delivery_timeout=20.0)
    async with sink_for(policy=policy) as sink:
        aws.dynamodb.throttle_key("orders", {"S": "hot"}, 10)
        hot = [sink.put({"id": "hot", "n": n}) for n in range(30)]
        receipts = await asyncio.gather(*[sink.put({"id": f"{n:04}"}) for n in range(1500)])
        assert not hot[-1].done()
        assert max(receipt.attempts for receipt in receipts) == 1
        assert sink.stats().concurrency > 4
        assert all(receipt.attempts >= 1 for receipt in await asyncio.gather(*hot))
    values = [int(write.item["n"]["N"]) for write in aws.dynamodb.writes("orders") if "n" in write.item]
    assert values == list(range(30))


async def test_a_table_without_throughput_lowers_the_concurrency(aws: AwsEndpoint, sink_for: Any) -> None:
    policy = Policy(concurrency=Adaptive(1, 16), backoff=QUICK.backoff, delivery_timeout=20.0)
    async with sink_for(policy=policy) as sink:
        await sink.put_many({"id": f"{n:04}"} for n in range(1500))
        before = sink.stats().concurrency
        aws.dynamodb.throttle("orders", 500)
        outcomes = await sink.put_many({"id": f"{n:04}", "again": True} for n in range(1500))
        assert sink.stats().concurrency < before
    assert all(isinstance(outcome, DynamoDBReceipt) for outcome in outcomes)
    assert all("again" in item for item in aws.dynamodb.items("orders"))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("on_unknown", ["retry", "fail"])
async def test_in_a_storm_nothing_is_lost_and_nothing_is_told_wrong(
    aws: AwsEndpoint, sink_for: Any, seed: int, on_unknown: Any
) -> None:
    storm(aws, seed)
    policy = Policy(
        attempt_timeout=0.2, delivery_timeout=5.0, backoff=QUICK.backoff, on_unknown=on_unknown, max_attempts=6
    )
    records = [{"id": f"{n:04}"} for n in range(600)]
    async with sink_for(policy=policy) as sink:
        outcomes = await sink.put_many(records)
    there: defaultdict[str, int] = defaultdict(int)
    for write in aws.dynamodb.writes("orders"):
        there[write.key["id"]["S"]] += 1
    for record, outcome in zip(records, outcomes, strict=True):
        times = there[record["id"]]
        if isinstance(outcome, DynamoDBReceipt):
            assert 1 <= times <= outcome.attempts
        else:
            assert isinstance(outcome, DeliveryError)
            assert outcome.outcome is Outcome.UNKNOWN or times == 0
    if on_unknown == "fail":
        assert max(there.values()) == 1


def last_of_each(records: Iterable[dict[str, Any]], outcomes: Iterable[Any]) -> dict[str, int]:
    last: dict[str, int] = {}
    for record, outcome in zip(records, outcomes, strict=True):
        if isinstance(outcome, DynamoDBReceipt):
            last[record["id"]] = record["n"]
    return last


@pytest.mark.parametrize("seed", range(6))
async def test_in_a_storm_an_old_value_never_overwrites_a_newer_one(aws: AwsEndpoint, sink_for: Any, seed: int) -> None:
    storm(aws, seed)
    records = [{"id": f"k{n * 7 % 40}", "n": n} for n in range(400)]
    async with sink_for(policy=QUICK) as sink:
        outcomes = await sink.put_many(records)
    written: defaultdict[str, list[int]] = defaultdict(list)
    for write in aws.dynamodb.writes("orders"):
        written[write.key["id"]["S"]].append(int(write.item["n"]["N"]))
    assert all(values == sorted(values) for values in written.values())
    assert {key: values[-1] for key, values in written.items()} == last_of_each(records, outcomes)
    for request in aws.requests(BATCH):
        assert len(set(keys_in(request))) == len(request.entries)
        assert request.status in (0, 200, 400, 500, 503)
        assert b"duplicates" not in request.answer


async def test_a_late_first_attempt_makes_no_second_outcome(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for(policy=QUICK) as sink:
        aws.plan.next(BATCH, Late(0.5, before=True))
        receipt = await sink.put({"id": "a"})
        await asyncio.sleep(0.5)
    assert receipt.attempts == 2
    assert len(aws.dynamodb.writes("orders")) == 2
    assert ids(aws) == ["a"]


async def test_a_blocked_key_is_resumed_by_its_table_and_values(aws: AwsEndpoint, sink_for: Any) -> None:
    aws.dynamodb.create_table("events", {"device": "N", "at": "S"})
    async with sink_for("events", policy=Policy(on_failure="block", backoff=QUICK.backoff)) as sink:
        aws.plan.next(BATCH, QueueGone())
        first = sink.put({"device": Decimal("7.0"), "at": "x"})
        second = sink.put({"device": 7, "at": "x", "n": 2})
        with pytest.raises(DeliveryRejected):
            await first
        await sink.put({"device": 8, "at": "x"})
        assert not second.done()
        assert sink.resume(("events", 7, "x"))
        await second
    assert len(aws.dynamodb.items("events")) == 2


async def test_a_request_never_exceeds_16_mb_on_the_wire(aws: AwsEndpoint, sink_for: Any) -> None:
    # 25 legal items whose JSON is thrice as long as what DynamoDB counts.
    items = [{"id": f"{n:02}", "p": "é" * 200_000} for n in range(25)]
    async with sink_for(policy=Policy(attempt_timeout=60.0, max_attempts=1)) as sink:
        outcomes = await sink.put_many(items)
    assert all(isinstance(outcome, DynamoDBReceipt) for outcome in outcomes)
    assert len(ids(aws)) == 25
    assert 2 <= len(aws.requests(BATCH)) <= 4


async def test_a_policy_above_what_dynamodb_takes_is_refused_by_name(sink_for: Any) -> None:
    for policy in (Policy(max_records=26), Policy(max_bytes=16 * 1024 * 1024)):
        with pytest.raises(ConfigError, match=r"max_(records|bytes) .* dynamodb:orders"):
            sink_for(policy=policy)


async def test_a_lone_record_that_is_refused_is_rejected(aws: AwsEndpoint, sink_for: Any) -> None:
    async with sink_for() as sink:
        aws.plan.next(BATCH, Refuse("ValidationException"))
        (outcome,) = await sink.put_many([{"id": "a"}])
    assert isinstance(outcome, DeliveryRejected)
    assert outcome.outcome is Outcome.NOT_WRITTEN
