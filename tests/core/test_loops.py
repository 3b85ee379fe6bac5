"""The same promises on every kind of event loop: in debug mode, with eager tasks, and on uvloop in real time."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest

from sinkwell.core import Backoff, DeadLetter, DeliveryRejected, Policy, Sink
from sinkwell.core.testing import FakeDestination, FaultPlan
from tests.core.scripted import REJECTED, Scripted, other_tasks, tick

if TYPE_CHECKING:
    from collections.abc import Sequence

QUICK = Policy(max_pending_records=40, linger=0.001, attempt_timeout=0.05, backoff=Backoff(base=0.001, cap=0.002))


@pytest.mark.every_loop
async def test_every_record_is_delivered_in_order_through_faults() -> None:
    plan = FaultPlan(latency=0.0005, throttle=0.1, raise_before=0.05, raise_after=0.05, short_answer=0.05)
    provider = FakeDestination(plan=plan, key_of=lambda record: record % 5, is_bad=lambda record: record == 77)
    async with Sink(provider, QUICK) as sink:
        outcomes = await sink.put_many(range(200))
    assert [index for index, outcome in enumerate(outcomes) if isinstance(outcome, DeliveryRejected)] == [77]
    for key in range(5):
        first_written = list(dict.fromkeys(line.record for line in provider.log if line.key == key))
        assert first_written == [record for record in range(200) if record % 5 == key and record != 77]
    assert other_tasks() == set()


@pytest.mark.every_loop
async def test_dead_letters_are_handed_on_once_and_in_order() -> None:
    class Refusing:
        """Answers without ever waiting: with eager tasks it is done before it is begun."""

        name = "refusing"
        limits = Scripted().limits
        open = aclose = Scripted.open

        def __init__(self) -> None:
            self.times_opened = 0

        encode = Scripted.encode

        async def write(self, batch: object) -> Sequence[object]:
            return [REJECTED] * len(batch)  # type: ignore[arg-type]

    taken: list[str] = []

    def hand_on(letter: DeadLetter) -> None:
        taken.append(letter.record)

    async with Sink(Refusing(), QUICK, dead_letter=hand_on) as sink:  # type: ignore[arg-type]
        outcomes = await sink.put_many(str(number) for number in range(100))
    assert {type(outcome) for outcome in outcomes} == {DeliveryRejected}
    assert taken == [str(number) for number in range(100)]


@pytest.mark.every_loop
async def test_a_sink_that_was_never_opened_closes() -> None:
    assert (await Sink(FakeDestination()).close()).delivered == 0


@pytest.mark.every_loop
async def test_a_cancelled_close_is_quick_and_truthful() -> None:
    sink = Sink(FakeDestination(plan=FaultPlan(hang=1)), QUICK)
    await sink.open()
    delivery = sink.put("a")
    closing = asyncio.ensure_future(sink.close())
    await tick()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert delivery.exception() is not None


def test_a_loop_that_ends_without_close_warns_of_the_records_that_have_no_outcome() -> None:
    async def forget_to_close() -> None:
        sink = Sink(FakeDestination(plan=FaultPlan(hang=1.0)))
        await sink.open()
        sink.put_nowait("lost")

    asyncio.run(forget_to_close())
    with pytest.warns(ResourceWarning, match=r"never closed, 1 records have no outcome; use `async with`"):
        gc.collect()
