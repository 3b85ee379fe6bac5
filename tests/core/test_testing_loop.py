"""`VirtualLoop`: asyncio's own order of things, in a time that jumps."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import pytest

from sinkwell.core.testing import Deadlock, VirtualLoop


def test_waiting_takes_no_time_and_the_clock_is_exact() -> None:
    async def wait() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    began = time.perf_counter()
    assert VirtualLoop().run(wait()) == 3600
    assert time.perf_counter() - began < 5


def test_timers_fire_in_the_order_of_their_times() -> None:
    async def race() -> list[tuple[float, int]]:
        seen: list[tuple[float, int]] = []
        loop = asyncio.get_running_loop()
        for seconds in (3, 1, 2):
            loop.call_later(seconds, lambda seconds=seconds: seen.append((loop.time(), seconds)))
        await asyncio.sleep(4)
        return seen

    assert VirtualLoop().run(race()) == [(1, 1), (2, 2), (3, 3)]


def test_a_lost_wake_up_is_an_error_at_once() -> None:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock, match="a wake-up was lost"):
        VirtualLoop().run(wait())


def test_a_stall_moves_the_clock_and_runs_nothing() -> None:
    async def stalled() -> tuple[list[int], list[int]]:
        loop = asyncio.get_running_loop()
        seen: list[int] = []
        loop.call_later(1, seen.append, 1)
        loop.stall(5)  # type: ignore[attr-defined]
        before = list(seen)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return before, seen

    assert VirtualLoop().run(stalled()) == ([], [1])


def test_what_main_raises_comes_out_and_the_loop_is_closed() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    loop = VirtualLoop()
    with pytest.raises(ZeroDivisionError):
        loop.run(fail())
    assert loop.is_closed()


def test_what_is_no_coroutine_is_refused_and_the_loop_is_closed() -> None:
    loop = VirtualLoop()
    with pytest.raises(ValueError, match="coroutine"):
        loop.run(7)  # type: ignore[arg-type]
    assert loop.is_closed()


def test_a_check_runs_after_every_step_and_ends_the_run_by_what_it_raises() -> None:
    steps: list[float] = []

    def check() -> None:
        steps.append(loop.time())
        assert loop.time() < 3

    loop = VirtualLoop()
    assert loop.after_step is None
    loop.after_step = check
    assert loop.after_step is check

    async def wait() -> None:
        try:
            for _ in range(9):
                await asyncio.sleep(1)
        finally:
            loop.after_step = None

    with pytest.raises(AssertionError):
        loop.run(wait())
    assert sorted(set(steps)) == [0, 1, 2, 3]


def test_real_files_are_polled_without_waiting() -> None:
    async def read() -> list[Any]:
        loop = asyncio.get_running_loop()
        seen: list[Any] = []
        reading, writing = os.pipe()
        loop.add_reader(reading, seen.append, "not yet")
        loop.add_reader(reading, lambda: seen.append(os.read(reading, 9)))  # a file registered anew is modified
        os.write(writing, b"hello")
        await asyncio.sleep(1)
        loop.remove_reader(reading)
        os.close(reading)
        os.close(writing)
        return seen

    assert VirtualLoop().run(read()) == [b"hello"]


def test_tasks_left_behind_are_cancelled_when_it_ends() -> None:
    async def leave() -> asyncio.Task[Any]:
        return asyncio.create_task(asyncio.sleep(3600))

    assert VirtualLoop().run(leave()).cancelled()
