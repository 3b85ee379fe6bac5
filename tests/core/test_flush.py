"""Flush waits for what was accepted before it, and for nothing else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sinkwell.core import Limits, Policy
from tests.core.scripted import REJECTED, RETRY, Scripted, tick

if TYPE_CHECKING:
    from tests.core.conftest import OpenSink


async def test_it_waits_for_every_outcome_of_earlier_records(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(concurrency=1, max_records=2))
    deliveries = [sink.put(record) for record in "abc"]
    flushing = asyncio.ensure_future(sink.flush())
    (await provider.request()).answer(True, RETRY)
    (await provider.request()).deliver()
    await tick()
    assert not flushing.done()
    (await provider.request()).answer(REJECTED)
    await flushing
    assert all(delivery.done() for delivery in deliveries)
    assert deliveries[1].exception() is not None


async def test_it_does_not_wait_for_later_records(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    sink.put("a")
    flushing = asyncio.ensure_future(sink.flush())
    await tick()
    later = sink.put("b")
    provider.requests[0].deliver()
    await flushing
    assert not later.done()


async def test_later_records_linger_as_ever(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(linger=5))
    sink.put("a")
    flushing = asyncio.ensure_future(sink.flush())
    await asyncio.sleep(1)
    sink.put("b")
    await asyncio.sleep(4)
    assert provider.sent == [["a"]]
    request = await provider.request()
    assert (await provider.request()).sent_at == 6
    request.deliver()
    await flushing


async def test_flushes_overlap(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_records=1))
    sink.put("a")
    first = asyncio.ensure_future(sink.flush())
    await tick()
    sink.put("b")
    second = asyncio.ensure_future(sink.flush())
    await tick()
    provider.requests[1].deliver()
    await tick()
    assert (first.done(), second.done()) == (False, False)
    provider.requests[0].deliver()
    await asyncio.gather(first, second)


async def test_a_flush_of_nothing_is_over_at_once(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    await sink.flush()
    assert asyncio.get_running_loop().time() == 0


async def test_what_waited_in_a_lane_does_not_linger_behind_later_records(
    open_sink: OpenSink, provider: Scripted
) -> None:
    # Only the oldest record that was ready was asked whether a flush covers it, and that was a later one.
    provider.limits = Limits(records=10, keys_repeat=False)
    sink = await open_sink(provider, Policy(linger=60))
    sink.put("other")
    await tick()
    sink.put("k:1")
    sink.put("k:2")
    flushing = asyncio.ensure_future(sink.flush())
    await tick()
    sink.put("later")
    provider.requests[1].deliver()
    await tick()
    assert provider.on_the_wire == [["other"], ["later", "k:2"]]
    provider.answer_all()
    await flushing
