"""`@batched`: what is called when, and what comes back. In virtual time."""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from typing import Any

import pytest

from sinkwell.core import Adaptive, BatchRefused, InvalidRecord, RecordTooLarge, batched
from tests.core.doubler import Doubler, in_virtual_time, outcomes


def now() -> float:
    return asyncio.get_running_loop().time()


# --- batches ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_calls_of_one_moment_share_a_list_and_each_gets_its_own_result() -> None:
    double = Doubler()
    call = batched(max_records=3)(double)

    assert await asyncio.gather(*map(call, range(7))) == [0, 2, 4, 6, 8, 10, 12]
    assert [items for _, items in double.calls] == [[0, 1, 2], [3, 4, 5], [6]]


@in_virtual_time
async def test_a_lone_call_does_not_wait_for_company() -> None:
    call = batched(linger=60, timeout=100)(Doubler(seconds=0))

    assert await call(1) == 2
    assert now() == 0


@in_virtual_time
async def test_what_gathers_while_the_function_runs_goes_together_when_it_returns() -> None:
    double = Doubler()
    call = batched(linger=60)(double)
    first = call(1)
    await asyncio.sleep(0.25)
    second = call(2)
    await asyncio.sleep(0.25)
    await asyncio.gather(first, second, call(3))

    assert double.calls == [(0, [1]), (1, [2, 3])]


@in_virtual_time
async def test_with_a_free_slot_an_item_waits_no_longer_than_linger() -> None:
    double = Doubler()
    call = batched(linger=0.1, concurrency=2)(double)
    first = call(1)
    await asyncio.sleep(0.5)
    await asyncio.gather(first, call(2))

    assert double.calls == [(0, [1]), (0.6, [2])]


@pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (3, 3), (Adaptive(2, 4), 4)])
@in_virtual_time
async def test_the_function_never_runs_more_often_at_once_than_concurrency(
    concurrency: int | Adaptive, most: int
) -> None:
    double = Doubler()
    await asyncio.gather(*map(batched(max_records=1, concurrency=concurrency)(double), range(20)))

    assert double.most_running == most


@in_virtual_time
async def test_a_batch_holds_no_more_than_max_bytes_as_size_of_counts() -> None:
    double = Doubler()
    call = batched(max_bytes=10, size_of=lambda item: item)(double)
    await asyncio.gather(*map(call, [4, 6, 7, 3, 1]))

    assert [items for _, items in double.calls] == [[4, 6], [7, 3], [1]]
    with pytest.raises(RecordTooLarge, match="11 bytes is above the 10"):
        call(11)
    with pytest.raises(InvalidRecord, match="a size can't be negative"):
        call(-1)


@in_virtual_time
async def test_nothing_is_scheduled_while_nobody_waits() -> None:
    call = batched(max_records=1, max_pending=1)(Doubler())
    await asyncio.gather(call(1), call(2))
    await asyncio.sleep(0)
    timer = asyncio.get_running_loop().call_later(3600, lambda: None)

    assert asyncio.all_tasks() == {asyncio.current_task()}
    live = [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    assert live == [timer]


# --- results and errors ----------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_result_may_be_none() -> None:
    @batched()
    async def look_up(keys: list[str]) -> list[None]:
        return [None for _ in keys]

    assert await outcomes(look_up("a"), look_up("b")) == [None, None]


@in_virtual_time
async def test_an_exception_among_the_results_is_raised_for_its_item_only() -> None:
    missing = KeyError("b")

    @batched()
    async def look_up(keys: list[str]) -> list[str | Exception]:
        return [missing if key == "b" else key.upper() for key in keys]

    assert await outcomes(look_up("a"), look_up("b"), look_up("c")) == ["A", missing, "C"]


@in_virtual_time
async def test_what_the_function_raises_reaches_every_caller_as_itself_and_it_is_called_once() -> None:
    calls = []
    error = ConnectionError("no route")

    @batched()
    async def fail(items: list[int]) -> list[int]:
        calls.append(items)
        raise error

    assert await outcomes(fail(1), fail(2)) == [error, error]
    assert calls == [[1, 2]]


@pytest.mark.parametrize("results", [[1], [1, 2, 3], [], "ab", b"ab", {1: 1, 2: 2}, {1, 2}, None, 7, iter([1, 2])])
@in_virtual_time
async def test_results_that_cannot_be_paired_with_the_items_are_refused_to_each_caller(results: Any) -> None:
    @batched()
    async def odd(items: list[int]) -> Any:
        return results

    for error in await outcomes(odd(1), odd(2)):
        assert isinstance(error, TypeError)
        assert "for 2 items: it must return a list with one result for each, in order" in str(error)


@pytest.mark.parametrize("results", [[1, 2], (1, 2), deque([1, 2]), array("i", [1, 2]), {"a": 1, "b": 2}.values()])
@in_virtual_time
async def test_any_results_in_order_are_taken(results: Any) -> None:
    @batched()
    async def fine(items: list[int]) -> Any:
        return results

    assert await outcomes(fine(1), fine(2)) == [1, 2]


@in_virtual_time
async def test_a_stop_iteration_among_the_results_does_not_hang_its_caller() -> None:
    @batched()
    async def stop(items: list[int]) -> list[Any]:
        return [StopIteration(item) if item == 1 else item for item in items]

    error, result = await outcomes(stop(1), stop(2))
    assert isinstance(error, RuntimeError)
    assert isinstance(error.__cause__, StopIteration)
    assert result == 2


@in_virtual_time
async def test_a_function_that_cancels_itself_does_not_cancel_its_callers() -> None:
    @batched()
    async def give_up(items: list[int]) -> list[int]:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="give_up was cancelled from inside"):
        await give_up(1)


@pytest.mark.parametrize("suspect", [None, 2, -1, 99])
@in_virtual_time
async def test_a_function_of_all_or_nothing_may_have_its_bad_item_found(suspect: int | None) -> None:
    bad = ValueError("2 breaks a rule")

    @batched()
    async def insert(rows: list[int]) -> list[int]:
        if 2 in rows:
            raise BatchRefused(suspect) from bad
        return rows

    assert await outcomes(*map(insert, range(5))) == [0, 1, bad, 3, 4]


@in_virtual_time
async def test_the_search_for_a_bad_item_is_not_misled_when_its_caller_leaves_meanwhile() -> None:
    @batched()
    async def insert(rows: list[int]) -> list[int]:
        await asyncio.sleep(1)
        if 0 in rows:
            raise BatchRefused
        return rows

    calls = [insert(row) for row in range(4)]
    await asyncio.sleep(0.5)
    calls[0].cancel()

    assert (await outcomes(*calls))[1:] == [1, 2, 3]


@in_virtual_time
async def test_a_suspect_is_the_one_that_the_function_saw_though_another_was_left_out() -> None:
    tried: list[list[int]] = []

    @batched()
    async def insert(rows: list[int]) -> list[int]:
        tried.append(rows)
        if 2 in rows:
            raise BatchRefused(rows.index(2))
        return rows

    calls = [insert(row) for row in range(4)]
    calls[0].cancel()
    await outcomes(*calls)

    assert tried[:2] == [[1, 2, 3], [2]]
