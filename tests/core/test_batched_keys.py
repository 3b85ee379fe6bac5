"""`@batched(key=...)`: equal items that wait together are one. In virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import SinkFull, batched
from sinkwell.core._merging import Merger
from tests.core.doubler import Doubler, in_virtual_time, outcomes

if TYPE_CHECKING:
    from sinkwell.core import Batched


def merging(double: Any, **options: Any) -> Batched[int, int]:
    return batched(key=lambda item: item, **options)(double)


@in_virtual_time
async def test_equal_items_that_wait_together_are_one_item_for_the_function() -> None:
    double = Doubler()
    call = merging(double)

    assert await asyncio.gather(*map(call, [1, 2, 1, 1, 2])) == [2, 4, 2, 2, 4]
    assert [items for _, items in double.calls] == [[1, 2]]


@in_virtual_time
async def test_an_item_that_the_function_was_called_with_is_not_joined() -> None:
    double = Doubler()
    call = merging(double)
    first = call(1)
    await asyncio.sleep(0.5)
    await asyncio.gather(first, call(1), call(1))

    assert double.calls == [(0, [1]), (1, [1])]


@in_virtual_time
async def test_every_caller_of_a_merged_item_gets_its_error() -> None:
    missing = KeyError(1)

    async def look_up(items: list[int]) -> list[int | Exception]:
        return [missing for _ in items]

    call = merging(look_up)
    assert await outcomes(call(1), call(1)) == [missing, missing]


@in_virtual_time
async def test_a_cancelled_caller_does_not_cancel_those_who_share_its_item() -> None:
    double = Doubler()
    call = merging(double)
    calls = [call(1), call(1), call(1)]
    calls[0].cancel()
    await asyncio.sleep(0.5)
    calls[1].cancel()

    assert [type(result) for result in await outcomes(*calls)] == [
        asyncio.CancelledError,
        asyncio.CancelledError,
        int,
    ]
    assert len(double.calls) == 1


@in_virtual_time
async def test_an_item_whose_callers_have_all_gone_is_left_out_and_an_equal_one_starts_anew() -> None:
    double = Doubler()
    call = merging(double)
    busy = call(0)
    await asyncio.sleep(0.5)
    gone = [call(1), call(1)]
    for caller in gone:
        caller.cancel()
    await asyncio.sleep(0)
    assert await asyncio.gather(busy, call(1), call(2)) == [0, 2, 4]
    assert [items for _, items in double.calls] == [[0], [1, 2]]


@in_virtual_time
async def test_a_caller_who_joins_when_the_last_one_has_just_gone_gets_its_result() -> None:
    call = merging(Doubler())
    gone = call(1)
    gone.cancel()

    assert await call(1) == 2


@in_virtual_time
async def test_a_result_that_comes_after_its_callers_have_gone_is_nobodys() -> None:
    call = merging(Doubler())
    gone = call(1)
    await asyncio.sleep(0.5)
    gone.cancel()
    await asyncio.sleep(1)

    assert call.stats().orphaned == 1
    assert await call(1) == 2


@in_virtual_time
async def test_who_leaves_an_item_that_runs_does_not_part_those_who_wait_for_an_equal_one() -> None:
    double = Doubler()
    call = merging(double)
    running = call(1)
    await asyncio.sleep(0.25)
    waiting = call(1)
    running.cancel()
    await asyncio.sleep(0.25)
    await asyncio.gather(waiting, call(1))

    assert [items for _, items in double.calls] == [[1], [1]]


@in_virtual_time
async def test_an_item_whose_time_ran_out_before_it_was_called_is_not_joined() -> None:
    double = Doubler(seconds=60)
    call = merging(double, max_records=1, timeout=2)
    before = [call(0)]
    await asyncio.sleep(0.1)
    before.append(call(1))
    assert isinstance((await outcomes(call(2)))[0], TimeoutError)
    double.seconds = 0

    assert await call(2) == 4
    assert [items for _, items in double.calls] == [[0], [1], [2]]
    await outcomes(*before)


@in_virtual_time
async def test_an_answer_of_this_very_tick_is_not_for_a_call_that_comes_after_it() -> None:
    merger = Merger(lambda item: item)
    answers: list[asyncio.Future[int]] = [asyncio.get_running_loop().create_future() for _ in range(2)]
    before = merger.call(1, lambda _: answers[0])
    answers[0].set_result(10)
    after = merger.call(1, lambda _: answers[1])
    answers[1].set_result(20)

    assert await asyncio.gather(before, after) == [10, 20]


@in_virtual_time
async def test_an_item_in_line_for_room_is_joined_and_its_cancellation_leaves_no_trace() -> None:
    double = Doubler()
    call = merging(double, max_records=1, max_pending=1)
    first = call(0)
    shared = [call(1), call(1)]
    gone = call(2)
    await asyncio.sleep(0.5)
    gone.cancel()

    assert await asyncio.gather(first, *shared) == [0, 2, 2]
    await asyncio.sleep(5)
    assert [items for _, items in double.calls] == [[0], [1]]


@in_virtual_time
async def test_joining_needs_no_room_and_a_refused_item_is_not_joined() -> None:
    call = merging(Doubler(), max_records=1, max_pending=1, when_full="refuse")
    shared = [call(1), call(1)]

    for _ in range(2):
        with pytest.raises(SinkFull):
            call(2)
    assert await asyncio.gather(*shared) == [2, 2]
    assert await call(2) == 4


@in_virtual_time
async def test_the_time_of_a_merged_item_counts_from_its_first_call() -> None:
    call = merging(Doubler(seconds=3600), timeout=1)
    results = await outcomes(call(1), call(1))

    assert [type(result) for result in results] == [TimeoutError, TimeoutError]
    assert asyncio.get_running_loop().time() == 1


@in_virtual_time
async def test_a_key_function_that_raises_fails_its_own_call_only() -> None:
    call: Batched[Any, Any] = batched(key=lambda item: 1 // item)(Doubler())
    fine = call(1)

    with pytest.raises(ZeroDivisionError):
        call(0)
    assert await fine == 2


@in_virtual_time
async def test_nothing_of_a_merged_item_is_kept_after_its_result() -> None:
    call = merging(Doubler())
    await asyncio.gather(call(1), call(1), call(2))
    merger = next(iter(call._sinks.values())).merger

    assert merger is not None
    assert (merger._waiting, merger._shared) == ({}, {})
