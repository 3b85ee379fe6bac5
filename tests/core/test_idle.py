"""An idle sink schedules nothing, and remembers neither targets nor keys."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sinkwell.core import Policy, Sink
from tests.core.scripted import RETRY, Scripted, tick, timers

if TYPE_CHECKING:
    from tests.core.conftest import OpenSink


def targets_of(sink: Sink[Any, Any]) -> dict[Any, Any]:
    assert sink._dispatcher is not None
    return sink._dispatcher.sender.targets.batchers


async def test_an_idle_sink_schedules_nothing(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    assert timers() == []
    deliveries = [sink.put(record) for record in ("a", "k:1", "k:2", "q/b")]
    while not all(delivery.done() for delivery in deliveries):
        (await provider.request()).deliver()
        await tick()
    assert timers() == []


async def test_an_idle_sink_that_holds_a_blocked_lane_schedules_nothing(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(on_failure="block", max_attempts=1))
    delivery = sink.put("k:1")
    (await provider.request()).answer(RETRY)
    assert (await asyncio.gather(delivery, return_exceptions=True))[0].reason == "expired"
    await tick()
    assert (timers(), sink.stats().targets) == ([], 1)


async def test_idle_targets_and_keys_are_forgotten(open_sink: OpenSink) -> None:
    provider = Scripted(answers_at_once=True)
    sink = await open_sink(provider)
    await sink.put_many(f"q{number % 10}/k{number}:body" for number in range(100))
    assert sink.stats().targets == 0
    assert targets_of(sink) == {}


async def test_idle_keys_of_a_busy_target_are_forgotten(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_records=1, linger=0))
    sink.put("busy")
    await tick()
    for number in range(5):
        sink.put(f"k{number}:body")
    await tick()
    for request in provider.requests[1:]:
        request.deliver()
    await tick()
    assert targets_of(sink)[None]._heads == {}
