"""`@batched`: each caller's time, room, cancellation and context. In virtual time."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

import pytest

from sinkwell.core import Observer, RecordFailed, SinkFull, SinkStats, batched
from tests.core.doubler import Doubler, in_virtual_time, outcomes

# --- time and room ---------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_call_without_a_result_in_time_raises_timeout_error_and_the_function_is_stopped() -> None:
    double = Doubler(seconds=3600)
    call = batched(timeout=2)(double)
    waiting = call(1)
    await asyncio.sleep(1)
    second = call(2)

    with pytest.raises(TimeoutError, match=r"gave no result within timeout \(2 s\)"):
        await waiting
    assert asyncio.get_running_loop().time() == 2
    await asyncio.sleep(0)
    assert isinstance((await outcomes(second))[0], TimeoutError)
    assert asyncio.get_running_loop().time() == 3
    assert await call.close(timeout=0)
    assert double.running == 0


@in_virtual_time
async def test_the_timeout_counts_from_the_call_also_while_it_waits_for_room() -> None:
    call = batched(max_records=1, max_pending=1, timeout=2)(Doubler(seconds=1.5))
    results = await outcomes(call(1), call(2), call(3))

    assert results[0] == 2
    assert [type(result) for result in results[1:]] == [TimeoutError, TimeoutError]
    assert asyncio.get_running_loop().time() == 2


@in_virtual_time
async def test_a_call_in_line_that_is_cancelled_at_the_very_end_of_its_time_is_cancelled() -> None:
    call = batched(max_records=1, max_pending=1, timeout=2)(Doubler(seconds=60))
    first, in_line = call(1), call(2)
    asyncio.get_running_loop().call_at(2, in_line.cancel)

    assert [type(result) for result in await outcomes(first, in_line)] == [TimeoutError, asyncio.CancelledError]


@in_virtual_time
async def test_above_max_pending_a_call_waits_for_room_in_turn() -> None:
    double = Doubler()
    call = batched(max_records=2, max_pending=2)(double)

    assert await asyncio.gather(*map(call, range(5))) == [0, 2, 4, 6, 8]
    assert [items for _, items in double.calls] == [[0, 1], [2, 3], [4]]


@in_virtual_time
async def test_above_max_pending_a_call_is_refused_if_that_was_chosen() -> None:
    call = batched(max_records=2, max_pending=2, when_full="refuse")(Doubler())
    waiting = [call(1), call(2)]

    with pytest.raises(SinkFull, match=r"max_pending \(2\) items have no result yet"):
        call(3)
    assert await asyncio.gather(*waiting) == [2, 4]
    assert await call(3) == 6


# --- cancellation ----------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_cancelled_caller_does_not_hold_up_the_others_of_its_batch() -> None:
    call = batched()(Doubler())
    tasks = [asyncio.ensure_future(call(item)) for item in range(5)]
    await asyncio.sleep(0.5)
    tasks[2].cancel()

    assert [type(result) for result in await outcomes(*tasks)] == [int, int, asyncio.CancelledError, int, int]


@in_virtual_time
async def test_an_item_that_nobody_waits_for_any_more_is_left_out() -> None:
    double = Doubler()
    call = batched()(double)
    calls = [call(item) for item in range(3)]
    calls[1].cancel()
    await outcomes(*calls)
    alone = call(3)
    alone.cancel()
    await outcomes(alone)
    await asyncio.sleep(1)

    assert [items for _, items in double.calls] == [[0, 2]]


@in_virtual_time
async def test_a_call_cancelled_while_it_waits_for_room_leaves_no_trace() -> None:
    double = Doubler()
    call = batched(max_records=1, max_pending=1)(double)
    calls = [call(item) for item in range(3)]
    await asyncio.sleep(0.5)
    calls[1].cancel()
    await outcomes(*calls)

    assert [items for _, items in double.calls] == [[0], [2]]


# --- around it -------------------------------------------------------------------------------------------------------

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@in_virtual_time
async def test_the_function_runs_in_the_context_of_its_decoration_not_in_a_callers() -> None:
    @batched()
    async def who(items: list[int]) -> list[str]:
        seen = tenant.get()
        tenant.set("left behind")
        return [seen for _ in items]

    tenant.set("first caller")

    assert await outcomes(who(1), who(2)) == ["nobody", "nobody"]
    assert await who(3) == "nobody"


@in_virtual_time
async def test_an_observer_sees_failures_and_stats_count_them() -> None:
    seen: list[RecordFailed] = []

    class Watch(Observer):
        def on_record_failed(self, event: RecordFailed) -> None:
            seen.append(event)

    @batched(observer=Watch())
    async def invert(numbers: list[float]) -> list[float | Exception]:
        return [1 / number if number else ZeroDivisionError() for number in numbers]

    assert invert.stats() == SinkStats()
    await outcomes(invert(0), invert(2))
    assert [event.error.record for event in seen] == [0]
    assert (invert.stats().delivered, invert.stats().not_written, invert.stats().requests) == (1, 1, 1)


@in_virtual_time
async def test_its_repr_says_what_it_is_doing() -> None:
    call = batched(max_records=1, max_pending=1)(Doubler())
    calls = [call(1), call(2)]
    await asyncio.sleep(0.5)

    assert repr(call) == "<Batched Doubler pending=1 waiting=1 in_flight=1>"
    await asyncio.gather(*calls)


def test_without_a_running_loop_a_call_says_so() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        batched()(Doubler())(1)


def test_it_looks_like_the_function_that_it_was_made_of() -> None:
    @batched()
    async def documented(items: list[int]) -> list[int]:
        """Say what it does."""
        return items

    assert documented.__name__ == "documented"
    assert documented.__doc__ == "Say what it does."
