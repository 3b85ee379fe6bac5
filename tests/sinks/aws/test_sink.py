"""Each whole sink against an endpoint that keeps its service's rules: what callers are told, and what is there."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.session import get_session

from sinkwell.core import ConfigError, DeliveryRejected, InvalidRecord, Outcome, Policy
from sinkwell.sinks._aws_verdicts import AwsError
from sinkwell.sinks.dynamodb import Delete, Put
from sinkwell.sinks.sns import SnsMessage
from sinkwell.sinks.testing import AwsEndpoint, FailEntries, Refuse
from tests.sinks.aws.service import DYNAMODB, KEYS, MESSAGING, QUICK, SNS, SQS
from tests.sinks.oracle import assert_outcomes_are_true, unleash

if TYPE_CHECKING:
    from tests.sinks.aws.service import Messaging, Service


@pytest.mark.parametrize("service", MESSAGING)
async def test_a_record_comes_back_with_the_id_that_the_service_gave_it(
    aws: AwsEndpoint, service: Messaging, place: str, sink_for: Any
) -> None:
    async with sink_for(place) as sink:
        receipt = await sink.put("hello")
    (stored,) = service.stored(aws, place)
    assert receipt == service.receipt(message_id=stored.message_id, attempts=1)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(("service", "records", "requests"), [(SQS, 500, 52), (SNS, 500, 52), (DYNAMODB, 1000, 42)])
async def test_a_flood_leaves_in_full_batches(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, records: int, requests: int
) -> None:
    # Patient: an attempt that a busy machine holds up for longer than QUICK's goes again, and is one request more.
    async with sink_for(place, policy=Policy(concurrency=4)) as sink:
        await sink.put_many(service.record(f"{n:04}") for n in range(records))
    assert len(aws.requests(service.writes)) <= requests
    assert sorted(service.texts(aws, place)) == [f"{n:04}" for n in range(records)]


async def test_any_session_will_do(aws: AwsEndpoint, service: Service, place: str, sink_for: Any) -> None:
    plain = get_session()
    plain.set_credentials(*KEYS.values())
    async with sink_for(place, session=plain, **service.region) as sink:
        await sink.put(service.record("hello"))
    assert service.texts(aws, place) == ["hello"]


@dataclass
class Order:
    number: int
    customer: str


@pytest.mark.parametrize("service", MESSAGING)
async def test_other_objects_go_through_encode(aws: AwsEndpoint, service: Messaging, place: str, sink_for: Any) -> None:
    def encode(order: Any) -> Any:
        return service.message(f"order {order.number}", group_id=order.customer)

    groups = service.create(aws, "orders.fifo")
    async with sink_for(place) as sink, sink_for(groups, encode=encode) as fifo:
        await sink.put(Order(7, "é"))
        await fifo.put(Order(7, "c1"))
    assert json.loads(service.texts(aws, place)[0]) == {"number": 7, "customer": "é"}
    (stored,) = service.stored(aws, groups)
    assert (service.text_of(stored), stored.group_id) == ("order 7", "c1")


NO_MESSAGES = [b"bytes", bytearray(b"x"), object(), ""]
NO_WRITES: list[object] = [
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
]
UNSENDABLE = [
    *product([SQS], [*NO_MESSAGES, "\x00"]),
    *product([SNS], [*NO_MESSAGES, "\ud800", SnsMessage("x", structure="json")]),
    *product([DYNAMODB], NO_WRITES),
]


@pytest.mark.parametrize(("service", "record"), UNSENDABLE, ids=lambda value: ascii(value)[:40])
async def test_a_record_that_can_not_be_sent_is_refused_and_hurts_nobody(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, record: object
) -> None:
    async with sink_for(place) as sink:
        good = [sink.put(service.record("a")), sink.put(service.record("b"))]
        with pytest.raises(InvalidRecord):
            sink.put(record)
        await asyncio.gather(*good)
    assert sorted(service.texts(aws, place)) == ["a", "b"]


@pytest.mark.parametrize("answer", [7, None, RuntimeError("canary")])
async def test_an_encode_that_fails_refuses_its_record_only(place: str, sink_for: Any, answer: object) -> None:
    def encode(_: object) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with sink_for(place, encode=encode) as sink:
        with pytest.raises(InvalidRecord, match="encode=") as refused:
            sink.put(Order(1, "c1"))
        assert "canary" not in str(refused.value)


@pytest.mark.parametrize(("service", "code"), [(SQS, "InternalError"), (SNS, "Throttled"), (DYNAMODB, "none is told")])
async def test_a_throttled_entry_is_sent_again_alone(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, code: str
) -> None:
    async with sink_for(place) as sink:
        aws.plan.next(service.writes, FailEntries(positions=[3], code=code))
        receipts = await asyncio.gather(*[sink.put(service.record(str(n))) for n in range(10)])
    again = aws.requests(service.writes)[-1]
    assert [service.sent(entry) for entry in again.entries] == ["3"]
    assert [receipt.attempts for receipt in receipts] == [1, 1, 1, 2, *[1] * 6]
    assert sorted(service.texts(aws, place)) == [str(n) for n in range(10)]


@pytest.mark.parametrize(
    ("service", "code"), [(SQS, "InvalidParameterValue"), (SNS, "InvalidParameter"), (SNS, "ParameterValueInvalid")]
)
async def test_the_one_message_for_which_a_request_is_refused_is_found_and_the_others_arrive(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, code: str
) -> None:
    def refuse_bad(request: Any) -> Any:
        is_bad = request.action == service.writes and "bad" in map(service.sent, request.entries)
        return Refuse(code) if is_bad else None

    aws.plan.script(refuse_bad)
    async with sink_for(place) as sink:
        outcomes = await sink.put_many(["a", "b", "bad", "c", "d"])
    assert isinstance(outcomes[2], DeliveryRejected)
    assert outcomes[2].outcome is Outcome.NOT_WRITTEN
    assert isinstance(outcomes[2].__cause__, AwsError)
    assert sorted(service.texts(aws, place)) == ["a", "b", "c", "d"]


async def test_a_place_deleted_while_the_sink_runs_rejects_loudly(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any
) -> None:
    async with sink_for(place) as sink:
        aws.plan.next(service.writes, service.gone)
        with pytest.raises(DeliveryRejected) as rejected:
            await sink.put(service.record("a"))
    assert rejected.value.outcome is Outcome.NOT_WRITTEN
    assert isinstance(rejected.value.__cause__, AwsError)
    assert rejected.value.__cause__.code == service.gone_code


@pytest.mark.parametrize(("service", "seed"), [*product([SQS], range(6)), *product([SNS], range(4))])
@pytest.mark.parametrize("on_unknown", ["retry", "fail"])
async def test_in_a_storm_nothing_is_lost_and_nothing_is_told_wrong(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, seed: int, on_unknown: Any
) -> None:
    unleash(aws, service.writes, seed)
    policy = Policy(
        attempt_timeout=0.5, delivery_timeout=8.0, backoff=QUICK.backoff, on_unknown=on_unknown, max_attempts=6
    )
    records = [str(n) for n in range(400)]
    async with sink_for(place, policy=policy) as sink:
        outcomes = await sink.put_many(records)
    there = service.texts(aws, place)
    assert_outcomes_are_true(records, outcomes, there)
    if on_unknown == "fail":
        assert len(there) == len(set(there))


ABOVE = [*product(MESSAGING, [{"max_records": 11}, {"max_bytes": 1_048_577}])]
ABOVE += product([DYNAMODB], [{"max_records": 26}, {"max_bytes": 16 * 1024 * 1024}])


@pytest.mark.parametrize(("service", "above"), ABOVE)
def test_a_policy_above_what_the_service_takes_is_refused_by_name(service: Service, above: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=rf"{next(iter(above))} .* {service.name}:orders"):
        service.sink(service.faraway, policy=Policy(**above))
