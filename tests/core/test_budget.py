"""The room for pending records and bytes, first come first served. No loop runs here: futures are only keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Encoded
from sinkwell.core._budget import Budget, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def line_up(budget: Budget, loop: asyncio.AbstractEventLoop, *sizes: int) -> list[asyncio.Future[Any]]:
    futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in sizes]
    for size, future in zip(sizes, futures, strict=True):
        budget.waiting[future] = Waiting(size, Encoded(size, size), future, None)
    return futures


def admitted(budget: Budget) -> list[Any]:
    found = []
    while (waiting := budget.next_admitted()) is not None:
        budget.records += 1
        budget.bytes += waiting.encoded.size
        found.append(waiting.record)
    return found


@pytest.mark.parametrize(
    ("records", "size", "next_size", "has_room"),
    [(0, 0, 10, True), (0, 0, 11, False), (1, 9, 1, True), (1, 9, 2, False), (2, 0, 1, False)],
)
def test_room_is_exact_in_both_units(records: int, size: int, next_size: int, has_room: bool) -> None:
    budget = Budget(max_records=2, max_bytes=10)
    budget.records, budget.bytes = records, size
    assert budget.has_room(next_size) is has_room


def test_room_that_was_given_back_can_be_used_again() -> None:
    budget = Budget(max_records=2, max_bytes=10)
    budget.records, budget.bytes = 2, 10
    budget.give_back(1, 4)
    assert (budget.records, budget.bytes, budget.has_room(4), budget.has_room(5)) == (1, 6, True, False)


def test_who_waits_is_admitted_in_order_and_nobody_overtakes(loop: asyncio.AbstractEventLoop) -> None:
    budget = Budget(max_records=9, max_bytes=10)
    line_up(budget, loop, 6, 3, 5, 1)
    assert admitted(budget) == [6, 3]
    budget.give_back(1, 6)
    assert admitted(budget) == [5, 1]
    assert admitted(budget) == []


def test_a_cancelled_waiter_is_passed_over_even_before_its_callback_ran(loop: asyncio.AbstractEventLoop) -> None:
    budget = Budget(max_records=9, max_bytes=10)
    budget.bytes = 5
    futures = line_up(budget, loop, 9, 1, 2)
    futures[0].cancel()
    futures[1].cancel()
    assert admitted(budget) == [2]
    assert not budget.waiting


def test_giving_back_more_than_was_taken_is_a_fault() -> None:
    with pytest.raises(AssertionError):
        Budget(max_records=1, max_bytes=1).give_back(1, 0)
    with pytest.raises(AssertionError):
        Budget(max_records=1, max_bytes=1).give_back(0, 1)
