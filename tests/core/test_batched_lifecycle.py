"""`@batched`: loops, closing, methods, copies; and what is refused when a function is decorated."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sinkwell.core import Batched, ConfigError, DeliveryAbandoned, Outcome, SinkClosed, batched
from sinkwell.core.testing import VirtualLoop
from tests.core.doubler import Doubler, in_virtual_time, outcomes


@batched()
async def module_level(items: list[int]) -> list[int]:
    return [item + 1 for item in items]


class Model:
    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.seen: list[list[int]] = []

    @batched()
    async def predict(self, items: list[int]) -> list[int]:
        self.seen.append(items)
        return [self.factor * item for item in items]


class Renamed(Model):
    predict_again = batched()(Model.predict.__wrapped__)


class Loud(Model):
    @batched()
    async def predict(self, items: list[int]) -> list[int]:
        return [-result for result in await asyncio.gather(*map(super().predict, items))]


# --- loops -----------------------------------------------------------------------------------------------------------


def test_a_new_loop_after_the_old_one_was_closed_just_works_and_the_old_one_is_forgotten() -> None:
    double = Doubler()
    call = batched(max_pending=1, max_records=1)(double)

    async def leave_in_the_middle() -> None:
        call(1)
        call(2)
        await asyncio.sleep(0.5)

    VirtualLoop().run(leave_in_the_middle())

    async def once(item: int) -> int:
        return await call(item)

    assert [VirtualLoop().run(once(item)) for item in (3, 4)] == [6, 8]
    assert len(call._sinks) == 1


def test_two_live_loops_have_a_batcher_each() -> None:
    both_called = threading.Barrier(2, timeout=10)

    @batched()
    async def meet(items: list[int]) -> list[int]:
        both_called.wait()  # ends only if the other loop's call runs at the same time
        return items

    async def one(item: int) -> int:
        return await meet(item)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda item: asyncio.run(one(item)), [1, 2])) == [1, 2]


def test_a_run_that_is_interrupted_leaves_no_task_behind() -> None:
    call = batched(max_records=1)(Doubler())

    async def interrupted() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.gather(*map(call, range(10)))

    with pytest.raises(TimeoutError):
        asyncio.run(interrupted())
    gc.collect()  # "Task was destroyed but it is pending" would be said now


# --- closing ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_closing_answers_what_waits_and_refuses_new_calls() -> None:
    call = batched(max_records=2, linger=60)(Doubler())
    calls = [call(item) for item in range(5)]
    closing = asyncio.ensure_future(call.close())
    await asyncio.sleep(0.5)

    with pytest.raises(SinkClosed, match="Doubler is closed; the item was not accepted"):
        call(9)
    report = await closing
    assert await asyncio.gather(*calls) == [0, 2, 4, 6, 8]
    assert (report.delivered, report.seconds) == (5, 3)


@in_virtual_time
async def test_closing_without_patience_abandons_and_says_which_items_the_function_had() -> None:
    double = Doubler()
    call = batched(max_records=1, max_pending=2)(double)
    calls = [call(item) for item in range(3)]
    await asyncio.sleep(0.5)
    await call.close(timeout=0)
    flying, queued, in_line = await outcomes(*calls)

    assert isinstance(flying, DeliveryAbandoned)
    assert (flying.outcome, flying.attempts, flying.record) == (Outcome.UNKNOWN, 1, 0)
    assert str(flying) == "Doubler was closed or cancelled before it gave a result; the item had been passed to it"
    assert isinstance(queued, DeliveryAbandoned)
    assert (queued.outcome, queued.attempts) == (Outcome.NOT_WRITTEN, 0)
    assert "the item had not been passed to it" in str(queued)
    assert isinstance(in_line, SinkClosed)
    assert double.running == 0


@in_virtual_time
async def test_async_with_closes_and_may_be_entered_again() -> None:
    call = batched()(Doubler())
    async with call:
        first = call(1)
    assert first.result() == 2
    with pytest.raises(SinkClosed):
        call(1)

    async with call as opened:
        assert await opened(2) == 4


@in_virtual_time
async def test_async_with_takes_over_what_a_call_before_it_opened() -> None:
    double = Doubler()
    call = batched()(double)
    first = call(1)
    async with call:
        assert await asyncio.gather(first, call(2)) == [2, 4]
    assert len(double.calls) == 1


@in_virtual_time
async def test_closing_what_was_never_called_refuses_calls_too() -> None:
    call = batched()(Doubler())
    assert (await call.close()).delivered == 0
    with pytest.raises(SinkClosed):
        call(1)


# --- methods ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_each_instance_has_a_batcher_of_its_own() -> None:
    double, triple = Model(2), Model(3)

    assert await asyncio.gather(double.predict(1), triple.predict(1), double.predict(2)) == [2, 3, 4]
    assert (double.seen, triple.seen) == ([[1, 2]], [[1]])
    assert double.predict is double.predict


@in_virtual_time
async def test_a_method_may_be_called_through_its_class_and_through_super() -> None:
    assert await Model.predict(Model(2), 5) == 10
    assert await asyncio.gather(*map(Loud(2).predict, [1, 2])) == [-2, -4]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@in_virtual_time
async def test_a_copy_of_an_instance_has_its_own_batcher(copied: Any) -> None:
    double = Model(2)
    await double.predict(1)
    triple = copied(double)
    triple.factor = 3

    assert await asyncio.gather(double.predict(2), triple.predict(2)) == [4, 6]


@in_virtual_time
async def test_one_function_may_be_two_methods_each_with_its_own_options() -> None:
    async def run(self: Twice, items: list[int]) -> list[int]:
        return [len(items)] * len(items)

    class Twice:
        together = batched(max_records=2)(run)
        alone = batched(max_records=1)(run)

    twice = Twice()
    assert await asyncio.gather(twice.together(1), twice.together(1)) == [2, 2]
    assert await asyncio.gather(twice.alone(1), twice.alone(1)) == [1, 1]


@in_virtual_time
async def test_a_batched_method_is_pickled_with_its_instance() -> None:
    assert await pickle.loads(pickle.dumps(Model(2).predict))(5) == 10
    again = Renamed(3).predict_again
    assert pickle.loads(pickle.dumps(again)).__reduce__()[1][1] == "predict_again"


@in_virtual_time
async def test_what_a_callable_object_keeps_does_not_get_into_its_batcher() -> None:
    double = Doubler()
    double.close = None  # type: ignore[attr-defined]
    async with batched()(double) as call:
        assert await call(1) == 2


def test_an_instance_that_nobody_uses_any_more_is_freed() -> None:
    async def use() -> weakref.ref[Model]:
        model = Model(2)
        await model.predict(1)
        return weakref.ref(model)

    used = VirtualLoop().run(use())
    gc.collect()
    assert used() is None


def test_a_class_without_a_dict_is_refused() -> None:
    class Slotted:
        __slots__ = ()

        @batched()
        async def predict(self, items: list[int]) -> list[int]:
            return items

    with pytest.raises(ConfigError, match="Slotted has none that can be written; batch a function instead"):
        _ = Slotted().predict


@in_virtual_time
async def test_a_static_method_and_a_bound_method_are_functions() -> None:
    class Tools:
        @staticmethod
        @batched()
        async def double(items: list[int]) -> list[int]:
            return [2 * item for item in items]

        async def triple(self, items: list[int]) -> list[int]:
            return [3 * item for item in items]

    assert await Tools.double(1) == 2
    assert await batched()(Tools().triple)(1) == 3


def test_a_batched_function_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(module_level)) is module_level


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_records": 0}, r"max_records \(0\) must be a whole number of at least 1"),
        ({"linger": -1}, r"linger \(-1\) must be a number of seconds"),
        ({"timeout": 0}, r"Doubler: timeout \(0\) must be longer than 0 seconds"),
        ({"linger": 5, "timeout": 3}, r"linger \(5\) must be shorter than timeout \(3\)"),
        ({"max_pending": 5}, r"Doubler: max_pending \(5\) must have room for one batch of max_records \(1,000\)"),
        ({"when_full": "drop"}, r"""when_full \('drop'\) must be "wait" or "refuse\""""),
        ({"max_bytes": 5}, "max_bytes and size_of need each other"),
        ({"size_of": len}, "max_bytes and size_of need each other"),
        ({"executor": ThreadPoolExecutor(1)}, "a coroutine function runs on the loop; executor is for plain functions"),
    ],
)
def test_a_setup_that_cannot_work_is_refused_by_name(options: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        batched(**options)(Doubler())


def takes_three(model: Model, items: list[int], factors: list[int]) -> list[int]:
    return [*items, *factors, model.factor]


def needs_more(items: list[int], *, factor: int) -> list[int]:
    return [factor * item for item in items]


@pytest.mark.parametrize("function", [(0).bit_length, takes_three, needs_more])
def test_a_function_that_does_not_take_one_list_is_refused(function: Any) -> None:
    with pytest.raises(ConfigError, match="a batched function takes one list of items, a method self and one list"):
        batched()(function)


def test_a_function_with_further_defaults_or_without_a_signature_is_taken() -> None:
    def more(items: list[int], factor: int = 2) -> list[int]:
        return [factor * item for item in items]

    assert isinstance(batched()(more), Batched)
    assert isinstance(batched()(max), Batched)
