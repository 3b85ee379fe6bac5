"""The thread of a blocking front at its edges: stopped early, and outcomes that meet those who leave."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Sink, SinkClosed
from sinkwell.core.blocking._loop_thread import LoopThread
from tests.core.gated import Block, Gated
from tests.core.scripted import tick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinkwell.core.blocking._delivery import Delivery


async def opened() -> Sink[Any, Any]:
    sink = Sink(Gated())
    await sink.open()
    return sink


@pytest.fixture
def thread() -> Iterator[LoopThread[Sink[Any, Any]]]:
    thread = LoopThread("thread", opened)
    thread.start()
    thread.opened.result(5)
    yield thread
    thread.stop()
    thread.join(5)
    assert threading.active_count() == 1


def settled(thread: LoopThread[Sink[Any, Any]]) -> None:
    """Wait until all has run that has been handed over."""
    thread.run(tick).result(5)


def test_a_thread_that_is_stopped_before_it_has_a_loop_opens_nothing() -> None:
    thread = LoopThread("thread", opened)
    thread.stop()
    thread.start()
    with pytest.raises(asyncio.CancelledError):
        thread.opened.result(5)
    thread.join(5)
    with pytest.raises(SinkClosed):
        thread.begin(lambda _: asyncio.get_running_loop().create_future())


def test_what_never_gets_an_outcome_is_told_at_the_threads_end(thread: LoopThread[Sink[Any, Any]]) -> None:
    delivery = thread.begin(lambda _: asyncio.get_running_loop().create_future())
    thread.stop()
    with pytest.raises(SinkClosed, match="it was closed meanwhile"):
        delivery.result(5)


def test_an_outcome_that_meets_who_leaves_is_nobodys(thread: LoopThread[Sink[Any, Any]]) -> None:
    future: list[asyncio.Future[int]] = []

    def start(_: object) -> asyncio.Future[int]:
        future.append(asyncio.get_running_loop().create_future())
        return future[0]

    delivery = thread.begin(start)
    thread.post(lambda: (future[0].set_result(1), delivery.withdraw()))
    with pytest.raises(CancelledError):
        delivery.result(5)


def test_what_is_cancelled_before_it_began_is_not_begun(thread: LoopThread[Sink[Any, Any]]) -> None:
    begun: list[object] = []
    block = Block()
    thread.post(block)
    delivery = thread.begin(begun.append)  # type: ignore[arg-type]
    assert delivery.cancel()
    block.end()
    settled(thread)
    assert delivery._is_concluded
    assert begun == []


def test_who_leaves_the_line_in_the_tick_in_which_it_is_refused_hears_why(thread: LoopThread[Sink[Any, Any]]) -> None:
    # It was told that its record is accepted and still being delivered.
    def start(own: Delivery[Any]) -> asyncio.Future[Any]:
        accepted = asyncio.get_running_loop().create_future()
        own.wait_in_line(accepted)
        accepted.set_exception(SinkClosed("closing"))
        own.withdraw()
        return asyncio.get_running_loop().create_future()

    with pytest.raises(SinkClosed, match="closing"):
        thread.begin(start).result(5)


def test_a_delivery_that_meets_who_leaves_is_left_to_the_observer(thread: LoopThread[Sink[Any, Any]]) -> None:
    # Nobody held it any more, and its outcome reached nobody at all.
    outcome: list[asyncio.Future[int]] = []

    def submit(_: object) -> asyncio.Future[Delivery[int]]:
        outcome.append(asyncio.get_running_loop().create_future())
        handed = asyncio.get_running_loop().create_future()
        handed.set_result(thread.adopt(outcome[-1]))
        return handed

    answered = thread.begin(submit)
    answered.result(5)
    answered.give_up()
    settled(thread)
    assert outcome[0].cancelled()

    def leave_in_the_same_tick(own: Delivery[Any]) -> asyncio.Future[Delivery[int]]:
        asyncio.get_running_loop().call_soon(own.cancel)
        return submit(own)

    # Before its own callback, which comes after.
    left = thread.begin(leave_in_the_same_tick)
    settled(thread)
    assert left.cancelled()
    assert outcome[1].cancelled()


def test_what_refused_a_call_may_be_given_up_too(thread: LoopThread[Sink[Any, Any]]) -> None:
    def refuse(_: object) -> asyncio.Future[int]:
        raise SinkClosed("closed")

    refused = thread.begin(refuse)
    settled(thread)
    refused.give_up()
    assert type(refused.exception(5)) is SinkClosed
