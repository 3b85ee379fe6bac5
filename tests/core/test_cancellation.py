"""Cancelled before acceptance, a record leaves no trace; later, its caller loses the answer and nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import DeliveryRejected, Observer, Policy
from tests.core.scripted import REJECTED, Scripted, tick

if TYPE_CHECKING:
    from sinkwell.core import RecordOrphaned
    from tests.core.conftest import OpenSink

SMALL = Policy(max_records=1, max_pending_records=1)


class Orphans(Observer):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_record_orphaned(self, event: RecordOrphaned) -> None:
        self.seen.append((event.record, event.outcome))


async def test_a_caller_cancelled_while_it_waits_for_room_leaves_no_trace(
    open_sink: OpenSink, provider: Scripted
) -> None:
    observer = Orphans()
    sink = await open_sink(provider, SMALL, observer=observer)
    sink.put("a")
    waiting = [sink.put("b"), asyncio.ensure_future(sink.submit("c")), asyncio.ensure_future(sink.put_many(["d"]))]
    await tick()
    assert sink.stats().waiting == 3
    for waiter in waiting:
        waiter.cancel()
    await tick()
    assert (sink.stats().waiting, sink.stats().pending_records) == (0, 1)
    provider.requests[0].deliver()
    await asyncio.sleep(60)
    assert (provider.sent, observer.seen) == ([["a"]], [])


async def test_a_cancelled_waiter_hands_its_turn_to_the_next(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_bytes=10, max_pending_bytes=10))
    sink.put(b"123456")
    big = sink.put(b"12345")
    small = asyncio.ensure_future(sink.submit(b"1234"))
    await tick()
    assert not small.done()  # there is room for it, but it is not its turn
    big.cancel()
    await tick()
    assert small.done()


@pytest.mark.parametrize("ticks", range(6))
async def test_whenever_a_waiter_is_cancelled_its_record_is_sent_or_leaves_no_trace(
    open_sink: OpenSink, provider: Scripted, ticks: int
) -> None:
    observer = Orphans()
    sink = await open_sink(provider, SMALL, observer=observer)
    sink.put("a")
    waiting = sink.put("b")
    (await provider.request()).deliver()
    for _ in range(ticks):
        await asyncio.sleep(0)
    was_waiting = sink.stats().waiting == 1
    waiting.cancel()
    await tick()
    provider.answer_all()
    await tick()
    assert provider.sent == ([["a"]] if was_waiting else [["a"], ["b"]])
    assert [record for record, _ in observer.seen] == ([] if was_waiting else ["b"])


@pytest.mark.parametrize("ticks", range(4))
async def test_whenever_a_submit_is_cancelled_its_record_is_an_orphan_or_leaves_no_trace(
    open_sink: OpenSink, provider: Scripted, ticks: int
) -> None:
    observer = Orphans()
    sink = await open_sink(provider, SMALL, observer=observer)
    sink.put("a")
    submitting = asyncio.ensure_future(sink.submit("b"))
    (await provider.request()).deliver()
    for _ in range(ticks):
        await asyncio.sleep(0)
    assert not submitting.done()
    submitting.cancel()
    await tick()
    provider.answer_all()
    await tick()
    assert submitting.cancelled()
    assert [record for record, _ in observer.seen] == ["b"] * (len(provider.requests) - 1)


async def test_after_acceptance_a_cancelled_callers_record_is_still_delivered(
    open_sink: OpenSink, provider: Scripted
) -> None:
    observer = Orphans()
    sink = await open_sink(provider, observer=observer)
    caller = asyncio.ensure_future(sink.put("a"))
    request = await provider.request()
    caller.cancel()
    await tick()
    request.deliver()
    await tick()
    assert (sink.stats().delivered, sink.stats().orphaned) == (1, 1)
    assert [(record, outcome.record) for record, outcome in observer.seen] == [("a", "a")]


async def test_a_cancelled_callers_failure_goes_to_the_observer(open_sink: OpenSink, provider: Scripted) -> None:
    observer = Orphans()
    sink = await open_sink(provider, observer=observer)
    sink.put("a").cancel()
    (await provider.request()).answer(REJECTED)
    await tick()
    [(record, outcome)] = observer.seen
    assert (record, type(outcome)) == ("a", DeliveryRejected)


async def test_a_caller_cancelled_before_its_record_left_loses_only_its_answer(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider)
    sink.put("a").cancel()
    assert (await provider.request()).records == ["a"]


async def test_a_cancelled_caller_does_not_hold_up_the_others_in_its_batch(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider)
    gone, other = sink.put("a"), sink.put("b")
    request = await provider.request()
    gone.cancel()
    request.deliver()
    assert (await other).record == "b"


async def test_a_put_under_a_timeout_is_still_delivered(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await sink.put("a")
    provider.requests[0].deliver()
    await tick()
    assert sink.stats().delivered == 1


async def test_a_cancelled_flush_ends_only_the_waiting(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    delivery = sink.put("a")
    flushes = [asyncio.ensure_future(sink.flush()) for _ in range(2)]
    await tick()
    flushes[0].cancel()
    await tick()
    provider.requests[0].deliver()
    await flushes[1]
    assert (await delivery).record == "a"
