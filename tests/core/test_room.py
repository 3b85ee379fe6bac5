"""Pending records and bytes are bounded; who finds no room waits its turn, first come first served."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sinkwell.core import Backoff, Policy, SinkFull
from tests.core.scripted import RETRY, Scripted, tick

if TYPE_CHECKING:
    from tests.core.conftest import OpenSink


async def test_room_is_counted_in_records(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_records=2, max_pending_records=2))
    sink.put_nowait("a")
    sink.put_nowait("b")
    with pytest.raises(SinkFull, match="2 of 2 records and 2 of 67,108,864 bytes are pending, 0 callers wait"):
        sink.put_nowait("c")
    (await provider.request()).deliver()
    await tick()
    sink.put_nowait("c")


async def test_room_is_counted_in_bytes(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_bytes=10, max_pending_bytes=10))
    sink.put_nowait(b"12345")
    sink.put_nowait(b"1234")
    with pytest.raises(SinkFull, match="9 of 10 bytes"):
        sink.put_nowait(b"12")
    sink.put_nowait(b"1")


async def test_what_waits_for_its_backoff_keeps_its_room(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_records=1, max_pending_records=1, backoff=Backoff(base=1)))
    sink.put_nowait("a")
    (await provider.request()).answer(RETRY)
    await tick()
    with pytest.raises(SinkFull):
        sink.put_nowait("b")


async def test_who_waits_for_room_is_accepted_first_come_first_served(open_sink: OpenSink, provider: Scripted) -> None:
    provider.answers_at_once = True
    sink = await open_sink(provider, Policy(max_records=1, max_pending_records=1, concurrency=1))
    deliveries = [
        sink.put("a"),
        sink.put("b"),
        asyncio.ensure_future(sink.submit("c")),
        asyncio.ensure_future(sink.put_many(["d"])),
    ]
    await tick()
    deliveries.append(sink.put("e"))
    await asyncio.gather(*deliveries)
    await sink.flush()
    assert provider.sent == [["a"], ["b"], ["c"], ["d"], ["e"]]


async def test_nobody_is_served_before_those_who_wait(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_bytes=10, max_pending_bytes=10))
    sink.put_nowait(b"12345678")
    sink.put(b"1234")
    with pytest.raises(SinkFull, match="1 callers wait"):
        sink.put_nowait(b"1")


async def test_a_put_is_in_line_before_anybody_awaits_it(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_records=1, max_pending_records=1))
    first, second = sink.put("a"), sink.put("b")
    (await provider.request()).deliver()
    (await provider.request()).deliver()
    assert [(await second).record, (await first).record] == ["b", "a"]


async def test_submit_waits_for_room_only(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_records=1, max_pending_records=1))
    first = await sink.submit("a")
    submitting = asyncio.ensure_future(sink.submit("b"))
    await tick()
    assert (first.done(), submitting.done()) == (False, False)
    (await provider.request()).deliver()
    second = await submitting
    assert (first.done(), second.done()) == (True, False)
    (await provider.request()).deliver()
    assert (await second).record == "b"


async def test_the_bound_is_never_passed_under_a_flood(open_sink: OpenSink) -> None:
    provider = Scripted(answers_at_once=True)
    sink = await open_sink(provider, Policy(max_records=5, max_pending_records=7, concurrency=3))
    callers = [asyncio.ensure_future(sink.submit(str(number))) for number in range(100)]
    most = 0
    while not all(caller.done() for caller in callers):
        most = max(most, sink.stats().pending_records)
        await asyncio.sleep(0)
    assert most == 7
    await sink.flush()
    assert sink.stats().delivered == 100
