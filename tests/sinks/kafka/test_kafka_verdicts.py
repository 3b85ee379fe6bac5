"""What each answer of a broker, and each way to lose one, does to the records: reliability's matrix, column Kafka."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from typing import Any

import pytest

from sinkwell.core import Backoff, ConfigError, DeliveryError, DeliveryRejected, Outcome, Policy
from sinkwell.sinks.kafka import KafkaError, KafkaReceipt, KafkaRecord, KafkaSink
from tests.sinks.kafka.fake_broker import FakeBroker, Fault

QUICK = Policy(attempt_timeout=2.0, delivery_timeout=10.0, backoff=Backoff(base=0.002, cap=0.01))
HASTY = Policy(attempt_timeout=0.3, delivery_timeout=10.0, backoff=Backoff(base=0.002, cap=0.01))
BRIEF = Policy(attempt_timeout=0.1, delivery_timeout=0.4, backoff=Backoff(base=0.002, cap=0.01))
ONCE = Policy(attempt_timeout=2.0, max_attempts=1)
VALUES = [b"%d" % number for number in range(10)]


async def put_all(broker: FakeBroker, policy: Policy = QUICK, **options: Any) -> list[Any]:
    async with KafkaSink(broker.place, "events", policy=policy, **options) as sink:
        return await sink.put_many(VALUES)


LATER = [2, 5, 8, 9, 14, 19, 74, 75, 89]
UNCLEAR = [-1, 3, 6, 7, 20, 56, 1234]
SETUP = [17, 21, 29, 31, 35, 42, 43, 44, 50, 53, 76]


@pytest.mark.parametrize("code", LATER)
async def test_what_the_broker_did_not_take_now_goes_again(broker: FakeBroker, code: int) -> None:
    broker.faults += [Fault(code, is_applied=False)] * 2
    outcomes = await put_all(broker)
    assert [outcome.attempts for outcome in outcomes] == [3] * 10
    assert broker.values == VALUES


@pytest.mark.parametrize("code", LATER)
async def test_what_the_broker_never_took_is_not_written(broker: FakeBroker, code: int) -> None:
    broker.faults += [Fault(code, is_applied=False)]
    outcomes = await put_all(broker, ONCE)
    assert {outcome.outcome for outcome in outcomes} == {Outcome.NOT_WRITTEN}


@pytest.mark.parametrize("is_applied", [True, False])
@pytest.mark.parametrize("code", UNCLEAR)
async def test_what_may_be_there_is_asked_for_again_and_written_once(
    broker: FakeBroker, code: int, is_applied: bool
) -> None:
    broker.faults += [Fault(code, is_applied=is_applied)] * 2
    outcomes = await put_all(broker)
    assert [(outcome.attempts, outcome.offset) for outcome in outcomes] == [(3, number) for number in range(10)]
    assert broker.values == VALUES


@pytest.mark.parametrize("code", UNCLEAR)
async def test_what_may_be_there_is_unknown_when_nobody_asks_again(broker: FakeBroker, code: int) -> None:
    broker.faults += [Fault(code)]
    outcomes = await put_all(broker, ONCE)
    assert {outcome.outcome for outcome in outcomes} == {Outcome.UNKNOWN}


@pytest.mark.parametrize("code", SETUP)
async def test_what_is_not_allowed_is_rejected_at_once(broker: FakeBroker, code: int) -> None:
    broker.faults += [Fault(code, is_applied=False)]
    outcomes = await put_all(broker)
    assert {type(outcome) for outcome in outcomes} == {DeliveryRejected}
    assert {outcome.outcome for outcome in outcomes} == {Outcome.NOT_WRITTEN}
    assert outcomes[0].__cause__.code == code


@pytest.mark.parametrize("code", [45, 47, 48, 49, 59, 90])
async def test_a_producer_that_the_broker_no_longer_knows_is_replaced(broker: FakeBroker, code: int) -> None:
    async with KafkaSink(broker.place, "events", policy=QUICK) as sink:
        await sink.put("before")
        broker.faults += [Fault(code, is_applied=False)]
        outcomes = await sink.put_many(VALUES)
        assert isinstance(await sink.put("after"), KafkaReceipt)
    assert [outcome.attempts for outcome in outcomes] == [2] * 10
    assert broker.values == [b"before", *VALUES, b"after"]
    assert len(broker.logs[0].producers) == 2


async def test_a_failed_batch_leaves_no_gap_in_the_sequence(broker: FakeBroker) -> None:
    async with KafkaSink(broker.place, "events", policy=QUICK) as sink:
        broker.faults += [Fault(44, is_applied=False)]
        with pytest.raises(DeliveryRejected):
            await sink.put("refused")
        assert (await sink.put("good")).attempts == 1
    assert len(broker.logs[0].producers) == 1


@pytest.mark.parametrize("does", ["drop", "hang", "omit", "double", "garble"])
@pytest.mark.parametrize("is_applied", [True, False])
async def test_a_batch_whose_answer_is_lost_or_odd_is_written_once(
    broker: FakeBroker, does: str, is_applied: bool
) -> None:
    broker.faults += [Fault(is_applied=is_applied, does=does)] * 2
    outcomes = await put_all(broker, HASTY if does == "hang" else QUICK)
    assert [(outcome.attempts, outcome.offset) for outcome in outcomes] == [(3, number) for number in range(10)]
    assert broker.values == VALUES


@pytest.mark.parametrize("does", ["drop", "hang", "omit", "double", "garble"])
async def test_a_batch_whose_answer_never_comes_is_unknown(broker: FakeBroker, does: str) -> None:
    broker.chance = lambda: Fault(does=does)
    outcomes = await put_all(broker, BRIEF)
    assert {outcome.outcome for outcome in outcomes} == {Outcome.UNKNOWN}
    assert broker.values == VALUES


@pytest.mark.parametrize("is_applied", [True, False])
@pytest.mark.parametrize("code", [10, 17, 29, 32, 44, 47, 48, 49, 59, 87, 90])
async def test_a_refusal_that_says_nothing_of_the_first_sending_leaves_it_unknown_and_unrepeated(
    broker: FakeBroker, code: int, is_applied: bool
) -> None:
    async with KafkaSink(broker.place, "events", policy=QUICK) as sink:
        broker.faults += [Fault(is_applied=is_applied, does="drop"), Fault(code, is_applied=False)]
        outcomes = await sink.put_many(VALUES)
        assert (await sink.put(b"next")).attempts == 1
    assert {outcome.outcome for outcome in outcomes} == {Outcome.UNKNOWN}
    assert {outcome.__cause__.code for outcome in outcomes} == {code}
    assert broker.values == [*(VALUES if is_applied else []), b"next"]
    assert broker.produced == 3


@pytest.mark.parametrize("is_applied", [True, False])
async def test_what_ended_as_unknown_is_not_sent_again_and_what_follows_is_not_taken_for_it(
    broker: FakeBroker, is_applied: bool
) -> None:
    # Under the same sequence number the broker would take the next batch for the lost one, and nobody would notice.
    async with KafkaSink(broker.place, "events", policy=BRIEF) as sink:
        broker.chance = lambda: Fault(is_applied=is_applied, does="hang")
        lost = await sink.put_many([b"lost"])
        broker.chance = lambda: None
        receipt = await sink.put(b"next")
    assert lost[0].outcome is Outcome.UNKNOWN
    assert broker.values == [b"lost", b"next"][not is_applied :]
    assert broker.values[receipt.offset] == b"next"


async def test_what_was_put_meanwhile_does_not_join_a_batch_that_is_sent_again(broker: FakeBroker) -> None:
    policy = Policy(attempt_timeout=0.3, backoff=Backoff(base=0.05, jitter="none"))
    async with KafkaSink(broker.place, "events", policy=policy) as sink:
        broker.faults += [Fault(does="drop")]
        first = await sink.submit(b"first")
        await asyncio.sleep(0.03)
        second = await sink.submit(b"second")
        assert [((await each).offset, (await each).attempts) for each in (first, second)] == [(0, 2), (1, 1)]
    assert broker.values == [b"first", b"second"]


async def test_a_batch_that_was_there_already_but_no_longer_listed_is_delivered_without_its_offset(
    broker: FakeBroker,
) -> None:
    broker.faults += [Fault(46, is_applied=True)]
    outcomes = await put_all(broker)
    assert {outcome.offset for outcome in outcomes} == {-1}


async def test_a_record_that_the_answer_names_fails_alone_in_one_more_request(broker: FakeBroker) -> None:
    broker.faults += [Fault(87, is_applied=False, culprits=(3, 7))]
    outcomes = await put_all(broker)
    assert [number for number in range(10) if isinstance(outcomes[number], DeliveryRejected)] == [3, 7]
    assert broker.values == [value for number, value in enumerate(VALUES) if number not in (3, 7)]
    assert broker.produced == 2
    assert {outcomes[number].attempts for number in (0, 3)} == {1}


async def test_a_record_that_the_answer_does_not_name_is_found_by_halving(broker: FakeBroker) -> None:
    class Picky(FakeBroker):
        async def _produce(self, request: Any) -> bytes | None:
            if b"\x026" in request.topics[0][1][0][1]:  # the value "6", after its length
                self.faults.append(Fault(87, is_applied=False))
            return await super()._produce(request)

    async with Picky() as picky:
        outcomes = await put_all(picky)
        assert [number for number in range(10) if isinstance(outcomes[number], DeliveryRejected)] == [6]
        assert picky.values == [value for value in VALUES if value != b"6"]
        assert picky.produced < 10


async def test_a_record_refused_beside_a_commit_in_doubt_leaves_what_was_committed_alone(broker: FakeBroker) -> None:
    policy = Policy(attempt_timeout=2.0, backoff=Backoff(base=0.1, jitter="none"))
    broker.ends_dropped = 1
    async with KafkaSink(broker.place, "events", policy=policy, transactional_id="one") as sink:
        first = await sink.submit(b"first")
        await asyncio.sleep(0.05)
        others = [await sink.submit(b"second"), await sink.submit(b"third")]
        broker.faults += [Fault(87, is_applied=False)]
        assert ((await first).offset, (await first).attempts) == (0, 2)
        assert [(await other).offset for other in others] == [1, 2]
    assert broker.values == [b"first", b"second", b"third"]


@pytest.mark.parametrize("limit", [100, 140])
async def test_a_batch_above_a_limit_that_was_lowered_is_sent_in_parts_and_blames_no_record(
    broker: FakeBroker, limit: int
) -> None:
    async with KafkaSink(broker.place, "events", policy=QUICK) as sink:
        broker.limit = limit
        outcomes = await sink.put_many(VALUES)
    assert {type(outcome) for outcome in outcomes} == {KafkaReceipt}
    assert broker.values == VALUES


async def test_a_leader_that_does_not_answer_is_left_when_another_one_leads(broker: FakeBroker) -> None:
    # As a machine without power: connecting to it is never refused, it takes all the time there is.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with KafkaSink(broker.place, "events", policy=HASTY) as sink:
            await sink.put("before")
            broker.others[2], broker.leaders[0] = silent.getsockname()[1], 2
            broker.faults += [Fault(6, is_applied=False)]
            delivery = await sink.submit("x")
            await asyncio.sleep(0.2)
            broker.leaders[0] = 1
            receipt = await delivery
    assert receipt.attempts > 2
    assert broker.values == [b"before", b"x"]


@pytest.mark.parametrize("code", [31, 53])
async def test_no_right_to_write_at_all_is_told_when_the_sink_opens(broker: FakeBroker, code: int) -> None:
    broker.producer_code = code
    with pytest.raises(ConfigError, match="AUTHORIZATION_FAILED"):
        async with KafkaSink(broker.place, "events", policy=QUICK):
            pass


async def test_without_idempotence_a_lost_answer_may_leave_a_duplicate_and_it_is_counted(broker: FakeBroker) -> None:
    broker.faults += [Fault(does="drop")]
    outcomes = await put_all(broker, idempotent=False, acks=1)
    assert {outcome.attempts for outcome in outcomes} == {2}
    assert broker.values == VALUES * 2
    assert broker.requests[22] == 0


FAULTS = [
    *[Fault(code, is_applied=False) for code in (2, 19, 5, 45, 59, 89)],
    *[Fault(code, is_applied=applied) for code in (6, 7, 20, -1) for applied in (True, False)],
    *[Fault(is_applied=applied, does=does) for does in ("drop", "omit", "garble") for applied in (True, False)],
    Fault(44, is_applied=False),
    Fault(87, is_applied=False, culprits=(0,)),
    Fault(87, is_applied=False),
]


@pytest.mark.parametrize("seed", range(12))
async def test_in_a_storm_of_faults_every_outcome_is_true(seed: int) -> None:
    rng = random.Random(seed)
    values = [b"%d" % number for number in range(600)]
    policy = Policy(attempt_timeout=0.2, delivery_timeout=1.5, backoff=Backoff(base=0.001, cap=0.005), max_records=20)
    async with FakeBroker(partitions=3) as broker:
        broker.chance = lambda: rng.choice(FAULTS) if rng.random() < 0.4 else None
        async with KafkaSink(broker.place, "events", policy=policy) as sink:
            outcomes = await sink.put_many(KafkaRecord(value, key=str(int(value) % 7)) for value in values)
    held = Counter(broker.values)
    for value, outcome in zip(values, outcomes, strict=True):
        if isinstance(outcome, KafkaReceipt):
            assert broker.logs[outcome.partition].values[outcome.offset] == value
            assert held[value] == 1
        else:
            assert isinstance(outcome, DeliveryError)
            assert held[value] <= (outcome.outcome is Outcome.UNKNOWN)
    for key in range(7):
        for log in broker.logs:
            mine = [int(value) for value in log.values if int(value) % 7 == key]
            assert mine == sorted(mine)


def test_an_error_names_the_code_and_holds_no_more_than_a_bit_of_the_brokers_words() -> None:
    from sinkwell.sinks._kafka_errors import refusal

    error = refusal("events[0]", 87, "w" * 10_000)
    assert isinstance(error, KafkaError)
    assert str(error).startswith("events[0]: INVALID_RECORD (www")
    assert len(str(error)) < 300
