"""`BlockingFunction`, called from real threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sinkwell.core import Batched, ConfigError, SinkClosed, SinkFull, batched
from sinkwell.core.blocking import BlockingFunction
from tests.core.gated import Block


class Double:
    """Doubles each; its first call may be held up."""

    def __init__(self, block: Block | None = None) -> None:
        self.__qualname__ = "double"
        self.calls: list[list[int]] = []
        self._block = block

    def __call__(self, numbers: list[int]) -> list[int | Exception]:
        self.calls.append(sorted(numbers))
        if self._block is not None and len(self.calls) == 1:
            self._block()
        return [2 * number if number >= 0 else ValueError(number) for number in numbers]


def test_it_is_called_with_one_item_and_calls_of_many_threads_share_lists() -> None:
    block = Block()
    function = Double(block)
    double = BlockingFunction(batched(max_records=20)(function))
    with double, ThreadPoolExecutor(21) as threads:
        first = threads.submit(double, 0)
        block.begun()
        others = list(threads.map(double.submit, range(1, 21)))
        block.end()
        assert [other.result(5) for other in others] == [2 * number for number in range(1, 21)]
        assert first.result() == 0
        assert function.calls == [[0], [*range(1, 21)]]
        assert double.stats().delivered == 21


def test_what_the_function_says_of_an_item_is_raised_in_its_own_thread() -> None:
    with BlockingFunction(batched()(Double())) as double:
        with pytest.raises(ValueError, match="-1"):
            double(-1)
        assert isinstance(double.submit(-1).exception(5), ValueError)
        assert double.submit(1).result(5) == 2


def test_a_call_without_a_result_in_time_says_so() -> None:
    block = Block()
    with BlockingFunction(batched()(Double(block))) as double:
        first = double.submit(1)
        block.begun()
        with pytest.raises(TimeoutError, match="double gave no result within 0 s"):
            double(2, timeout=0)
        block.end()
        assert first.result(5) == 2


def test_an_item_that_nobody_wants_any_more_is_left_out() -> None:
    block = Block()
    function = Double(block)
    with BlockingFunction(batched()(function)) as double:
        first = double.submit(1)
        block.begun()
        unwanted = double.submit(2)
        assert double.stats().pending_records == 2
        assert unwanted.cancel()
        block.end()
        assert first.result(5) == 2
        assert double(3) == 6
    assert function.calls == [[1], [3]]


def test_the_functions_own_timeout_is_its_own() -> None:
    block = Block()
    with BlockingFunction(batched(timeout=0.001, linger=0)(Double(block))) as double:
        with pytest.raises(TimeoutError, match=r"within timeout \(0\.001 s\)"):
            double(1)
        block.end()


def test_without_room_a_call_is_refused_if_that_was_chosen() -> None:
    block = Block()
    with BlockingFunction(batched(max_pending=1, max_records=1, when_full="refuse")(Double(block))) as double:
        first = double.submit(1)
        with pytest.raises(SinkFull):
            double(2)
        block.end()
        assert first.result(5) == 2


def test_a_coroutine_function_runs_on_the_thread() -> None:
    @BlockingFunction
    @batched()
    async def threads(items: list[int]) -> list[str]:
        """Tell the thread's name."""
        return [threading.current_thread().name for _ in items]

    with threads:
        assert threads(1).startswith("sinkwell blocking test_a_coroutine_function")
    assert threads.__doc__ == "Tell the thread's name."
    with pytest.raises(SinkClosed):
        threads(2)


def test_a_method_of_an_instance_can_be_called() -> None:
    class Model:
        @batched()
        def predict(self, items: list[int]) -> list[int]:
            return items

    with BlockingFunction(Model().predict) as predict:
        assert predict(1) == 1


def test_what_batched_did_not_make_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes what @batched makes"):
        BlockingFunction(len)  # type: ignore[arg-type]


def test_the_same_function_serves_a_loop_and_threads() -> None:
    both: Batched[int, int] = batched()(Double())

    with BlockingFunction(both) as double:
        assert double(1) == 2
        assert "open" in repr(double)
