"""What DynamoDB leaves over or refuses, and what each must mean. The endpoint's log is the oracle."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.sinks.dynamodb import Delete, Put
from sinkwell.sinks.testing import AwsEndpoint, FailEntries, Refuse, ThrottleWrites
from tests.sinks.aws.service import batch_of
from tests.sinks.dynamodb.conftest import ids
from tests.sinks.oracle import D, R, T, U, X, word

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = "BatchWriteItem"


@pytest.mark.parametrize("code", ["ItemCollectionSizeLimitExceededException", "Brand.New"])
async def test_what_is_refused_of_one_write_is_found_out_write_by_write_since_others_may_be_there(
    aws: AwsEndpoint, opened: Callable[..., Any], code: str
) -> None:
    destination = await opened()
    aws.plan.next(BATCH, Refuse(code, status=400), Refuse(code, status=400))
    verdicts = await destination.write(batch_of(destination, [{"id": key} for key in "abc"]))
    assert sorted(word(verdict) for verdict in verdicts) == [D, D, X]
    assert sorted(ids(aws)) == sorted(key for key, verdict in zip("abc", verdicts, strict=True) if word(verdict) == D)


@pytest.mark.parametrize("fault", [ThrottleWrites(), Refuse("AccessDeniedException")])
async def test_what_a_refused_request_may_have_written_stays_in_doubt_until_it_is_written_alone(
    aws: AwsEndpoint, opened: Callable[..., Any], fault: Any
) -> None:
    destination = await opened()
    aws.plan.next(BATCH, Refuse("Brand.New", status=400), fault)
    verdicts = await destination.write(batch_of(destination, [{"id": key} for key in "abc"]))
    assert sorted(word(verdict) for verdict in verdicts) == [D, D, U]


@pytest.mark.parametrize("plain", [True, False])
async def test_what_is_left_over_is_found_again_by_its_normal_key(
    aws: AwsEndpoint, opened: Callable[..., Any], plain: bool
) -> None:
    aws.dynamodb.create_table("events", {"device": "N", "at": "B"})
    aws.dynamodb.echoes_plain_numbers = plain
    destination = await opened("events", table_names=["orders"])
    aws.plan.next(BATCH, FailEntries(positions=[0, 2, 3]))
    records = [
        {"device": 10**60, "at": b"\x00\xff"},
        {"device": 7, "at": b"x", "more": "é"},
        Delete({"device": Decimal("1.50"), "at": b"x"}),
        Put({"id": "7"}, table_name="orders"),
        Put({"id": "8"}, table_name="orders"),
    ]
    verdicts = await destination.write(batch_of(destination, records))
    assert [word(verdict) for verdict in verdicts] == [T, D, T, T, D]
    assert len(aws.dynamodb.writes("events")) == len(aws.dynamodb.writes("orders")) == 1


async def test_all_that_is_left_over_of_one_partition_key_slows_its_lane_and_not_the_sink(
    aws: AwsEndpoint, opened: Callable[..., Any]
) -> None:
    aws.dynamodb.create_table("events", {"device": "S", "at": "N"})
    destination = await opened("events")
    aws.dynamodb.throttle_key("events", {"S": "hot"}, 1)
    devices = ["hot", "cold", "hot", "hot", "warm"]
    batch = batch_of(destination, [{"device": device, "at": n} for n, device in enumerate(devices)])
    assert [word(verdict) for verdict in await destination.write(batch)] == [D, D, R, R, D]
    aws.dynamodb.throttle("events", 2)
    batch = batch_of(destination, [{"device": device, "at": 9} for device in "abcd"])
    assert [word(verdict) for verdict in await destination.write(batch)] == [D, D, T, T]


async def test_one_table_out_of_use_does_not_hurt_the_records_of_another(
    aws: AwsEndpoint, opened: Callable[..., Any]
) -> None:
    aws.dynamodb.create_table("gone")
    destination = await opened(table_names=["gone"])
    aws.dynamodb.set_status("gone", "DELETING")
    records = [Put({"id": key}, table_name=table) for key in "abc" for table in ("orders", "gone")]
    verdicts = await destination.write(batch_of(destination, records))
    assert [word(verdict) for verdict in verdicts] == [D, X] * 3
    assert ids(aws) == ["a", "b", "c"]
    assert len(aws.requests(BATCH)) == 3


async def test_a_bad_record_beside_a_table_out_of_use_is_rejected_alone(
    aws: AwsEndpoint, opened: Callable[..., Any]
) -> None:
    aws.dynamodb.create_table("gone")
    destination = await opened(table_names=["gone"])
    aws.dynamodb.set_status("gone", "DELETING")

    def refuse_bad(request: Any) -> Any:
        tables = {entry["Table"] for entry in request.entries}
        return Refuse("ValidationException") if tables == {"orders"} and "bad" in str(request.entries) else None

    aws.plan.script(refuse_bad)
    records = [Put({"id": "a"}, "orders"), Put({"id": "x"}, "gone"), Put({"id": "bad"}, "orders"), Put({"id": "c"})]
    verdicts = await destination.write(batch_of(destination, records))
    assert [word(verdict) for verdict in verdicts] == [D, X, X, D]
    assert ids(aws) == ["a", "c"]
