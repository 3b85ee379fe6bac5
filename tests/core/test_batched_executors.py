"""`@batched` over plain functions: real threads and processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from sinkwell.core import Batched, BatchRefused, DeliveryAbandoned, Outcome, batched
from tests.core.doubler import outcomes
from tests.core.gated import Block, Changes
from tests.core.scripted import tick

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

T = TypeVar("T")

# Started anew for each process: forking a process with threads is deprecated.
PROCESSES = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(scope="module", autouse=True)
def _end_processes() -> Iterator[None]:
    yield
    PROCESSES.shutdown()


@batched(executor=PROCESSES)
def in_a_process(items: list[Any]) -> list[Any]:
    if "bad" in items:
        raise BatchRefused(items.index("bad")) from KeyError("bad")
    if "worse" in items:
        raise LookupError("worse")
    return [os.getpid() for _ in items]


def undecorated(items: list[int]) -> list[int]:
    return [item + os.getpid() for item in items]


class Model:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    @batched(executor=PROCESSES)
    def predict(self, items: list[int]) -> list[int]:
        return [self.factor * item for item in items]


class StoppedLoop(asyncio.SelectorEventLoop):
    """A loop for real threads, whose clock only the test moves."""

    now = 0.0

    def time(self) -> float:
        return self.now


def in_stopped_time(scenario: Callable[[StoppedLoop], Coroutine[Any, Any, T]]) -> T:
    loop = StoppedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(scenario(loop))


# --- threads ---------------------------------------------------------------------------------------------------------


async def real(call: Any, *items: Any) -> list[Any]:
    results = await outcomes(*map(call, items))
    await call.close()
    return results


def test_a_plain_function_runs_in_a_thread_of_its_own() -> None:
    @batched()
    def thread_name(items: list[int]) -> list[str]:
        return [threading.current_thread().name for _ in items]

    names = asyncio.run(real(thread_name, 1, 2))
    assert names[0] == names[1]
    assert "thread_name" in names[0]


def test_a_plain_function_runs_in_the_executor_that_was_given_and_leaves_it_open() -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as mine:

        @batched(executor=mine)
        def thread_name(items: list[int]) -> list[str]:
            return [threading.current_thread().name for _ in items]

        assert asyncio.run(real(thread_name, 1)) == ["mine_0"]
        assert mine.submit(int).result() == 0


def test_a_plain_function_runs_as_often_at_once_as_concurrency_says() -> None:
    meeting = threading.Barrier(3, timeout=10)

    @batched(max_records=1, concurrency=3)
    def meet(items: list[int]) -> list[int]:
        meeting.wait()
        return items

    assert asyncio.run(real(meet, 1, 2, 3)) == [1, 2, 3]


def test_what_a_plain_function_raises_reaches_every_caller_as_itself() -> None:
    error = OSError("disk")

    @batched()
    def fail(items: list[int]) -> list[int]:
        raise error

    assert asyncio.run(real(fail, 1, 2)) == [error, error]


def test_a_plain_function_that_raises_stop_iteration_does_not_hang_its_callers() -> None:
    @batched()
    def first_of_nothing(items: list[int]) -> list[int]:
        return next(iter([]))

    (error,) = asyncio.run(real(first_of_nothing, 1))
    assert isinstance(error, RuntimeError)
    assert isinstance(error.__cause__, StopIteration)


def test_a_running_thread_keeps_its_slot_after_its_callers_timed_out() -> None:
    running = most_running = 0
    changes = Changes()
    block = Block()

    @batched(timeout=1)
    def slow(items: list[int]) -> list[int]:
        nonlocal running, most_running
        running += 1
        most_running = max(most_running, running)
        changes.tell()
        block()
        running -= 1
        return items

    async def scenario(loop: StoppedLoop) -> None:
        calls = [slow(1)]
        await changes.come(lambda: running == 1)
        calls.append(slow(2))
        loop.now = 1
        assert [type(result) for result in await outcomes(*calls)] == [TimeoutError, TimeoutError]
        calls.append(slow(3))
        await tick()
        assert (slow.stats().requests_in_flight, calls[2].done()) == (1, False)
        block.end()
        assert await calls[2] == 3

    in_stopped_time(scenario)
    assert most_running == 1


def test_a_thread_that_ends_while_the_batcher_closes_has_the_last_word() -> None:
    changes = Changes()
    block = Block()
    begun: list[int] = []

    @batched(max_records=1)
    def slow(items: list[int]) -> list[int]:
        begun.extend(items)
        changes.tell()
        block()
        return items

    async def scenario() -> list[Any]:
        calls = [slow(1), slow(2)]
        await changes.come(lambda: begun == [1])
        closing = asyncio.ensure_future(slow.close(timeout=0))
        await asyncio.wait([calls[1]])
        block.end()
        report = await closing
        assert (report.delivered, report.unfinished_requests) == (1, 0)
        return await outcomes(*calls)

    result, abandoned = asyncio.run(scenario())
    assert result == 1
    assert isinstance(abandoned, DeliveryAbandoned)
    assert abandoned.outcome is Outcome.NOT_WRITTEN


def test_a_batch_that_a_busy_executor_has_not_begun_is_taken_back_in_time() -> None:
    block = Block()
    with ThreadPoolExecutor(1) as busy:
        calls = []

        @batched(executor=busy, timeout=1)
        def late(items: list[int]) -> list[int]:
            calls.append(items)
            return items

        async def scenario(loop: StoppedLoop) -> None:
            busy.submit(block)
            call = late(1)
            await tick()
            loop.now = 1
            with pytest.raises(TimeoutError):
                await call
            await tick()
            assert late.stats().requests_in_flight == 0
            block.end()
            assert await late(2) == 2

        in_stopped_time(scenario)
    assert calls == [[2]]


def test_a_culprit_is_found_also_by_a_function_in_a_thread() -> None:
    bad = ValueError("2 breaks a rule")

    @batched()
    def insert(rows: list[int]) -> list[int]:
        if 2 in rows:
            raise BatchRefused from bad
        return rows

    assert asyncio.run(real(insert, 1, 2, 3)) == [1, bad, 3]


def test_an_executor_that_is_shut_down_is_told_to_the_callers() -> None:
    gone = ThreadPoolExecutor(1)
    call: Batched[int, int] = batched(executor=gone)(lambda items: items)
    gone.shutdown()

    (error,) = asyncio.run(real(call, 1))
    assert isinstance(error, RuntimeError)
    assert "cannot schedule new futures after shutdown" in str(error)


def test_an_executor_that_drops_a_batch_is_told_to_the_callers() -> None:
    block = Block()
    dropping = ThreadPoolExecutor(1)
    call: Batched[int, int] = batched(executor=dropping)(lambda items: items)

    async def scenario() -> Any:
        dropping.submit(block)
        waiting = call(1)
        await tick()
        dropping.shutdown(wait=False, cancel_futures=True)
        block.end()
        return (await outcomes(waiting))[0]

    error = asyncio.run(scenario())
    assert isinstance(error, RuntimeError)
    assert "was cancelled from inside, or by its executor's shutdown" in str(error)


def test_the_threads_of_a_closed_batcher_end() -> None:
    @batched()
    def own_thread(items: list[int]) -> list[threading.Thread]:
        return [threading.current_thread() for _ in items]

    (mine,) = asyncio.run(real(own_thread, 1))
    mine.join(10)
    assert not mine.is_alive()


# --- processes -------------------------------------------------------------------------------------------------------


def test_a_decorated_function_runs_in_another_process_though_its_name_leads_to_the_decorator() -> None:
    here, there = os.getpid(), asyncio.run(real(in_a_process, 1, 2))
    assert there[0] == there[1] != here


def test_a_decorated_method_runs_in_another_process_also_after_the_batcher_was_used() -> None:
    model = Model(3)

    async def twice() -> list[int]:
        return [await model.predict(1), await model.predict(2)]

    assert asyncio.run(twice()) == [3, 6]


def test_what_is_sent_to_another_process_finds_the_function_behind_its_decorator() -> None:
    jobs = (in_a_process._job, Model(3).predict._job)
    there = [pickle.loads(pickle.dumps(job)) for job in jobs]

    assert [job([2]) for job in there] == [[os.getpid()], [6]]


def test_a_function_that_was_not_decorated_in_its_module_runs_in_another_process() -> None:
    call: Batched[int, int] = batched(executor=PROCESSES)(undecorated)
    (result,) = asyncio.run(real(call, 0))
    assert result not in (0, os.getpid())


def test_what_a_function_raises_in_another_process_reaches_its_callers_and_a_culprit_is_found() -> None:
    async def scenario() -> list[Any]:
        return [*await outcomes(in_a_process(1), in_a_process("bad")), *await outcomes(in_a_process("worse"))]

    fine, bad, worse = asyncio.run(scenario())
    assert isinstance(fine, int)
    assert isinstance(bad, KeyError)
    assert isinstance(worse, LookupError)


def test_a_function_that_cannot_be_pickled_is_told_to_its_callers() -> None:
    @batched(executor=PROCESSES)
    def local(items: list[int]) -> list[int]:
        return items

    (error,) = asyncio.run(real(local, 1))
    assert "pickle" in str(error)
