"""What examples/async_batcher/README.md says of async-batcher 0.2.2, run against it, in virtual time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self

import pytest
from async_batcher.aws.dynamodb.get import AsyncDynamoDbGetBatcher, GetItem
from async_batcher.batcher import AsyncBatcher
from async_batcher.exceptions import QueueFullException

from sinkwell.core.testing import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

AGES = 60.0


class Doubler(AsyncBatcher[int, int]):
    """Doubles; it notes each batch, and when it came."""

    def __init__(self, answer: Callable[[list[int]], Any] | None = None, seconds: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.batches: list[tuple[float, list[int]]] = []
        self.answer = answer or (lambda items: [2 * item for item in items])
        self.seconds = seconds

    async def process_batch(self, batch: list[int]) -> list[int]:
        self.batches.append((round(asyncio.get_running_loop().time(), 3), batch))
        await asyncio.sleep(self.seconds)
        return self.answer(batch)


def ask(batcher: Doubler, *items: int) -> list[asyncio.Task[int]]:
    return [asyncio.ensure_future(batcher.process(item)) for item in items]


async def answers(tasks: list[asyncio.Task[int]]) -> list[int | BaseException]:
    return await asyncio.gather(*tasks, return_exceptions=True)


async def hanging(tasks: list[asyncio.Task[int]]) -> list[bool]:
    """Who has no answer after ages."""
    await asyncio.wait(tasks, timeout=AGES)
    return [not task.done() for task in tasks]


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, None]], None]:
    def run_in_virtual_time(main: Coroutine[Any, Any, None]) -> None:
        async def until_done() -> None:
            before = asyncio.all_tasks()
            try:
                await main
            finally:
                # It ends none of its tasks by itself, and may overlook a cancellation (`wait_for` of Python 3.11).
                while left := asyncio.all_tasks() - before:
                    for task in left:
                        task.cancel()
                    await asyncio.sleep(0.1)

        VirtualLoop().run(until_done())

    return run_in_virtual_time


def test_the_version_that_the_page_speaks_of_is_the_one_that_is_run() -> None:
    assert version("async-batcher") == "0.2.2"


async def _cancelled_neighbour() -> None:
    tasks = ask(Doubler(seconds=1.0), 1, 2, 3)
    await asyncio.sleep(0.5)
    tasks[1].cancel()
    assert await hanging(tasks) == [False, False, True]


async def _joining_item() -> None:
    batcher = Doubler(max_queue_time=0.01)
    first = ask(batcher, 1)
    await asyncio.sleep(0.009)
    await answers(first + ask(batcher, 2))
    assert batcher.batches == [(0.019, [1, 2])]


async def _graceful_stop() -> None:
    batcher = Doubler(seconds=5.0)
    tasks = ask(batcher, 1)
    await asyncio.sleep(0.5)
    await batcher.stop()
    assert 0.5 < asyncio.get_running_loop().time() - 0.5 <= 1.0
    assert not tasks[0].done()  # its batch still runs
    assert await answers(tasks) == [2]


async def _stop_with_a_timeout() -> None:
    batcher = Doubler(seconds=2 * AGES, max_batch_size=2)
    tasks = ask(batcher, 1, 2, 3, 4)
    await asyncio.sleep(0.5)
    with pytest.raises(TimeoutError):
        await batcher.stop(timeout=5)
    assert await hanging(tasks) == [True] * 4
    with pytest.raises(RuntimeError, match="stopped"):
        await batcher.process(5)


async def _forced_stop() -> None:
    batcher = Doubler(seconds=1.0, max_batch_size=2)
    tasks = ask(batcher, 1, 2, 3)
    await asyncio.sleep(0.5)
    await batcher.stop(force=True)
    assert await hanging(tasks + ask(batcher, 4)) == [True] * 4  # the last one came after the stop


async def _full_queue() -> None:
    batcher = Doubler(seconds=1.0, max_batch_size=2, max_queue_size=2)
    tasks = ask(batcher, 1, 2)
    await asyncio.sleep(0.5)
    tasks += ask(batcher, 3, 4, 5)  # two run, two wait, and one is too many
    assert [type(answer) for answer in await answers(tasks)] == [int, int, int, int, QueueFullException]


async def _no_results() -> None:
    assert await answers(ask(Doubler(lambda _: None), 1, 2)) == [None, None]


async def _wrong_number_of_results() -> None:
    assert [type(answer) for answer in await answers(ask(Doubler(lambda _: [1]), 1, 2))] == [ValueError] * 2


async def _exception_among_the_results() -> None:
    assert [type(answer) for answer in await answers(ask(Doubler(lambda _: [1, OSError()]), 1, 2))] == [int, OSError]


async def _function_that_raises() -> None:
    assert [type(answer) for answer in await answers(ask(Doubler(lambda _: 1 / 0), 1, 2))] == [ZeroDivisionError] * 2


async def _equal_items() -> None:
    batcher = Doubler()
    await answers(ask(batcher, 7, 7))
    assert [batch for _, batch in batcher.batches] == [[7, 7]]


async def _idle() -> None:
    batcher = Doubler()
    await answers(ask(batcher, 1))
    loop, steps = asyncio.get_running_loop(), [0]
    assert isinstance(loop, VirtualLoop)
    loop.after_step = lambda: steps.__setitem__(0, steps[0] + 1)
    await asyncio.sleep(100)
    loop.after_step = None
    assert steps[0] >= 100  # at least once a second


async def _key_that_is_twice_in_a_request() -> None:
    asked: list[dict[str, Any]] = []

    class Table:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None: ...

        async def batch_get_item(self, **request: Any) -> dict[str, Any]:
            asked.append(request)
            return {"Responses": {}}

        def resource(self, *_: object, **__: object) -> Table:
            return self

    reader = AsyncDynamoDbGetBatcher(aioboto3_session=Table())
    await asyncio.gather(*(reader.process(GetItem(table_name="users", key={"user": "ann"})) for _ in range(2)))
    assert [request["RequestItems"] for request in asked] == [{"users": {"Keys": [{"user": "ann"}] * 2}}]


@pytest.mark.parametrize(
    "claim",
    [
        pytest.param(_cancelled_neighbour, id="a cancelled caller hangs those behind it in the batch"),
        pytest.param(_joining_item, id="an item that joins starts the waiting time again"),
        pytest.param(_graceful_stop, id="stop takes up to a second, and returns while batches run"),
        pytest.param(_stop_with_a_timeout, id="what was not answered when the time is up stays so"),
        pytest.param(_forced_stop, id="after a forced stop nobody is told, and who calls then waits for ever"),
        pytest.param(_full_queue, id="max_queue_size counts what waits, not what runs"),
        pytest.param(_no_results, id="no results: every caller gets None"),
        pytest.param(_wrong_number_of_results, id="a wrong number of results: ValueError in every caller"),
        pytest.param(_exception_among_the_results, id="an exception among the results is one caller's"),
        pytest.param(_function_that_raises, id="what the function raises every caller gets"),
        pytest.param(_equal_items, id="equal items are twice in the batch"),
        pytest.param(_idle, id="idle, it wakes up every second"),
        pytest.param(_key_that_is_twice_in_a_request, id="a key is named twice in a BatchGetItem"),
    ],
)
def test_what_the_page_says_of_async_batcher_is_so(
    run: Callable[[Coroutine[Any, Any, None]], None], claim: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    run(claim())


def test_a_batch_size_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="max_batch_size"):
        Doubler(max_batch_size=1)


def test_it_is_bound_to_the_first_event_loop_that_uses_it(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    batcher = Doubler()

    async def first() -> None:
        assert await answers(ask(batcher, 1)) == [2]

    async def second() -> None:
        assert await hanging(ask(batcher, 2)) == [True]

    run(first())
    run(second())


async def test_a_plain_function_runs_in_the_loops_own_executor_by_default() -> None:
    class Plain(AsyncBatcher[int, str]):
        def process_batch(self, batch: list[int]) -> list[str]:  # type: ignore[override]
            import threading

            return [threading.current_thread().name for _ in batch]

    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1, thread_name_prefix="the loop's own"))
    batcher = Plain()
    assert (await batcher.process(1)).startswith("the loop's own")
    await batcher.stop(force=True)
