"""What a broker does to a connection: it asks for silence, answers slowly, closes it, or leads fewer partitions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sinkwell.core import Backoff, InvalidRecord, Outcome, Policy
from sinkwell.sinks.kafka import KafkaRecord, KafkaSink
from tests.sinks.kafka.fake_broker import FakeBroker, Fault

BRIEF = Policy(attempt_timeout=0.1, delivery_timeout=0.4, backoff=Backoff(base=0.002, cap=0.01))
ONCE = Policy(attempt_timeout=2.0, max_attempts=1)
VALUES = [b"%d" % number for number in range(10)]
TOO_LARGE = 10


async def test_a_brokers_wish_for_silence_is_honoured_without_spending_an_attempt(broker: FakeBroker) -> None:
    broker.faults += [Fault(throttle_ms=150)]
    loop = asyncio.get_running_loop()
    async with KafkaSink(broker.place, "events", policy=ONCE) as sink:
        await sink.put("a")
        began = loop.time()
        assert (await sink.put("b")).attempts == 1
    assert loop.time() - began > 0.14


async def test_a_wish_for_silence_beyond_an_attempts_time_costs_no_attempt_and_no_doubt(broker: FakeBroker) -> None:
    policy = Policy(attempt_timeout=0.1, max_attempts=1, backoff=Backoff(base=0.002, cap=0.01))
    broker.faults += [Fault(throttle_ms=350)]
    loop = asyncio.get_running_loop()
    async with KafkaSink(broker.place, "events", policy=policy) as sink:
        await sink.put("a")
        began = loop.time()
        assert (await sink.put("b")).attempts == 1
        assert loop.time() - began > 0.34
    assert broker.produced == 2


@pytest.mark.parametrize("options", [{}, {"transactional_id": "writer"}])
async def test_a_wish_for_silence_in_the_middle_of_an_attempt_does_not_make_it_none(
    broker: FakeBroker, options: dict[str, Any]
) -> None:
    # Refused, or of a transaction that is aborted then: a part was sent all the same.
    broker.logs.append(type(broker.logs[0])())
    policy = Policy(attempt_timeout=0.1, max_attempts=2, backoff=Backoff(base=0.002, cap=0.01))
    broker.faults += [Fault(throttle_ms=150) if options else Fault(TOO_LARGE, is_applied=False, throttle_ms=150)]
    async with KafkaSink(broker.place, "events", policy=policy, **options) as sink:
        receipts = await sink.put_many(
            [KafkaRecord(value, partition=int(value) % 2 if options else 0) for value in VALUES]
        )
    assert {receipt.attempts for receipt in receipts} == {2}


@pytest.mark.parametrize("key", [0, 3, 18])
async def test_a_broker_that_answers_a_byte_at_a_time_is_given_up_in_time(broker: FakeBroker, key: int) -> None:
    loop = asyncio.get_running_loop()
    policy = Policy(attempt_timeout=0.1, max_attempts=2, backoff=Backoff(base=0.002, cap=0.01))
    async with KafkaSink(broker.place, "events", policy=policy) as sink:
        broker.drips.add(key)
        broker.faults += [Fault(6)]  # so that it asks for the leaders
        broker.cut()
        await asyncio.sleep(0.01)
        began = loop.time()
        outcomes = await sink.put_many(VALUES)
        assert loop.time() - began < 1.0
        broker.drips.clear()
        await sink.put("after")
    assert {outcome.outcome for outcome in outcomes} == {Outcome.NOT_WRITTEN if key == 18 else Outcome.UNKNOWN}
    assert broker.values == [*([] if key == 18 else VALUES), b"after"]


async def test_a_connection_that_the_broker_closed_while_it_was_idle_costs_no_attempt(broker: FakeBroker) -> None:
    async with KafkaSink(broker.place, "events", policy=ONCE) as sink:
        await sink.put("a")
        broker.cut()
        await asyncio.sleep(0.01)
        assert (await sink.put("b")).attempts == 1


async def test_a_connection_is_replaced_before_the_broker_finds_it_idle(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with KafkaSink(broker.place, "events", policy=ONCE) as sink:
        await sink.put("a")
        monkeypatch.setattr("sinkwell.sinks._kafka_client._MAX_IDLE_SECONDS", 0.0)
        before = len(broker.writers)
        assert (await sink.put("b")).attempts == 1
    assert len(broker.writers) == before + 1


async def test_a_connection_that_is_replaced_still_brings_the_answers_it_owes(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.logs.append(type(broker.logs[0])())
    async with KafkaSink(broker.place, "events", policy=ONCE) as sink:
        await sink.put_many([KafkaRecord("warm", partition=number) for number in (0, 1)])
        broker.faults += [Fault(does="late")]
        late = await sink.submit(KafkaRecord("late", partition=0))
        await asyncio.sleep(0.02)
        monkeypatch.setattr("sinkwell.sinks._kafka_client._MAX_IDLE_SECONDS", 0.0)
        assert (await sink.put(KafkaRecord("beside", partition=1))).attempts == 1
        old = sink._destination._cluster._retired[0]  # type: ignore[attr-defined]
        assert old.connected()
        assert (await late).attempts == 1
        assert not old.connected()


async def test_what_a_connection_that_was_replaced_takes_with_it_is_unknown_and_is_sent_again_as_it_was(
    broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.logs.append(type(broker.logs[0])())
    policy = Policy(attempt_timeout=2.0, max_attempts=2, backoff=Backoff(base=0.002, cap=0.01))
    async with KafkaSink(broker.place, "events", policy=policy) as sink:
        await sink.put_many([KafkaRecord("warm", partition=number) for number in (0, 1)])
        broker.faults += [Fault(does="late")]
        late = await sink.submit(KafkaRecord("late", partition=0))
        await asyncio.sleep(0.02)
        monkeypatch.setattr("sinkwell.sinks._kafka_client._MAX_IDLE_SECONDS", 0.0)
        await sink.put(KafkaRecord("beside", partition=1))
        broker.writers[-2].transport.abort()
        assert (await late).attempts == 2
    assert broker.logs[0].values == [b"warm", b"late"]


async def test_a_topic_made_anew_with_fewer_partitions_takes_what_it_can_and_no_outcome_is_wrong() -> None:
    async with FakeBroker(partitions=3) as broker, KafkaSink(broker.place, "events", policy=BRIEF) as sink:
        sink._destination._partitioners["events"].current = 2  # type: ignore[attr-defined]
        del broker.logs[1:]
        lost = await sink.put_many([b"lost"])
        keyed = await sink.put_many([KafkaRecord(value, key=value) for value in VALUES])
        plain = await sink.put_many(VALUES)
        with pytest.raises(InvalidRecord, match="partitions 0 to 0"):
            await sink.put(KafkaRecord(b"x", partition=2))
    assert lost[0].outcome is Outcome.UNKNOWN
    assert {outcome.partition for outcome in (*keyed, *plain)} == {0}
    assert broker.values == VALUES * 2
