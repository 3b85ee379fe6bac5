"""How many requests may be in flight: fixed, or found out from single attempts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sinkwell.core import Adaptive, Policy
from sinkwell.core._concurrency import AdaptiveConcurrency, FixedConcurrency
from tests.core.scripted import THROTTLED, Scripted, tick

if TYPE_CHECKING:
    from tests.core.conftest import OpenSink


def answer(
    level: AdaptiveConcurrency, now: float, *, seconds: float = 1, throttled: bool = False, was_full: bool = True
) -> int:
    """One attempt that ended now, with all slots in use unless `was_full` says otherwise."""
    level.answered(sent_at=now - seconds, now=now, throttled=throttled, was_full=was_full)
    return level.limit


def grown(to: int, maximum: int = 64) -> AdaptiveConcurrency:
    level = AdaptiveConcurrency(Adaptive(1, maximum))
    while level.limit < to:
        answer(level, 1)
    return level


def test_a_fixed_number_learns_nothing() -> None:
    level = FixedConcurrency(8)
    level.answered(sent_at=0, now=100, throttled=True, was_full=True)
    assert level.limit == 8


def test_it_starts_at_its_minimum_and_grows_by_one_for_each_answer() -> None:
    level = AdaptiveConcurrency(Adaptive(2, 64))
    assert level.limit == 2
    assert [answer(level, 1) for _ in range(4)] == [3, 4, 5, 6]


def test_it_never_passes_its_maximum() -> None:
    level = AdaptiveConcurrency(Adaptive(1, 3))
    assert [answer(level, 1) for _ in range(5)] == [2, 3, 3, 3, 3]


def test_it_does_not_grow_while_slots_are_free() -> None:
    level = grown(4)
    assert answer(level, 1, was_full=False) == 4


def test_a_throttle_takes_it_to_seven_tenths() -> None:
    assert answer(grown(10), 2, throttled=True) == 7


def test_it_never_falls_below_its_minimum() -> None:
    level = AdaptiveConcurrency(Adaptive(3, 9))
    assert [answer(level, now, throttled=True) for now in (1, 3, 5)] == [3, 3, 3]


def test_after_a_throttle_it_grows_by_one_for_each_round_of_requests() -> None:
    level = grown(10)
    answer(level, 2, throttled=True)
    rounds = [answer(level, 4) for _ in range(7)]
    assert (rounds[-2], rounds[-1]) == (7, 7)  # seven answers are just short of one more: each is a 7th or less
    assert answer(level, 4) == 8


def test_throttles_of_one_round_trip_count_once() -> None:
    level = grown(10)
    assert [answer(level, now, throttled=True) for now in (2, 2.1, 2.9)] == [7, 7, 7]
    assert answer(level, 3, throttled=True) == 4


def test_an_attempt_far_slower_than_the_average_takes_it_down_as_a_throttle_does() -> None:
    level = grown(10)
    for _ in range(50):
        answer(level, 1, was_full=False)
    assert answer(level, 5, seconds=1.9) == 11
    assert answer(level, 10, seconds=4) == 7


def test_a_slow_attempt_among_scattered_ones_is_no_sign() -> None:
    level = grown(10)
    for number in range(100):
        answer(level, 10, seconds=0.2 if number % 2 else 1.8, was_full=False)
    assert answer(level, 20, seconds=2.5, was_full=False) == 10


def test_how_long_a_throttled_answer_took_is_not_remembered() -> None:
    level = grown(10)
    for _ in range(100):
        answer(level, 50, seconds=0.001, throttled=True)
    assert level.limit == 7
    assert answer(level, 100, seconds=1.5, was_full=False) == 7  # beside the throttles' average it would be slow


def test_an_attempt_of_no_time_at_all_does_not_make_the_next_one_slow() -> None:
    level = AdaptiveConcurrency(Adaptive(1, 9))
    assert answer(level, 1, seconds=0) == 2
    assert answer(level, 9, seconds=8) == 3


async def test_a_sink_sends_as_many_at_once_as_it_has_learned(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(concurrency=Adaptive(1, 4), max_records=1))
    for number in range(40):
        sink.put(str(number))
    seen = []
    for _ in range(4):
        await tick()
        on_the_wire = [request for request in provider.requests if request.is_open]
        seen.append(len(on_the_wire))
        for request in on_the_wire:
            request.deliver()
            await tick()
    assert seen == [1, 2, 4, 4]


async def test_a_throttled_sink_sends_fewer_at_once(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(concurrency=Adaptive(1, 8), max_records=1))
    for number in range(90):
        sink.put(str(number))
    for _ in range(7):
        await tick()
        provider.answer_all()
    await tick()
    assert sink.stats().concurrency == 8
    provider.requests[-1].answer(THROTTLED)
    await tick()
    assert sink.stats().concurrency == 5


@pytest.mark.parametrize("throttles", [1, 8])
async def test_one_round_of_throttles_is_one_step_down(open_sink: OpenSink, provider: Scripted, throttles: int) -> None:
    sink = await open_sink(provider, Policy(concurrency=Adaptive(8, 16), max_records=1))
    for number in range(90):
        sink.put(str(number))
    await tick()
    for request in provider.requests[:throttles]:
        request.answer(THROTTLED)
    await tick()
    assert sink.stats().concurrency == 8


async def test_slow_start_doubles_although_all_answers_come_in_one_tick(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(max_records=1, concurrency=Adaptive(2, 64)))
    for number in range(20):
        sink.put(str(number))
    limits = []
    for _ in range(3):
        await tick()
        provider.answer_all()
        await tick()
        limits.append(sink.stats().concurrency)
    provider.answers_at_once = True
    provider.answer_all()
    assert limits == [4, 8, 16]
