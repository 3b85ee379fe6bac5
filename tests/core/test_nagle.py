"""When a batch leaves: at once if nothing is in flight for its target; else when it is full, has lingered, or must."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sinkwell.core import Limits, Policy
from tests.core.scripted import Scripted, tick

if TYPE_CHECKING:
    from tests.core.conftest import OpenSink


async def test_an_idle_sink_sends_at_once(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(linger=60))
    sink.put("a")
    request = await provider.request()
    assert (request.records, request.reason, request.sent_at) == (["a"], "idle", 0)


async def test_what_is_put_in_one_tick_shares_a_request(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    for record in "abc":
        sink.put(record)
    await tick()
    assert provider.sent == [["a", "b", "c"]]


async def test_behind_a_request_in_flight_a_record_waits_exactly_linger(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(linger=0.25))
    sink.put("a")
    await asyncio.sleep(1)
    sink.put("b")
    await asyncio.sleep(0.1)
    sink.put("c")
    await provider.request()
    request = await provider.request()
    assert (request.records, request.reason, request.sent_at) == (["b", "c"], "linger", 1.25)


async def test_linger_counts_anew_for_what_came_after_the_batch_that_left(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(linger=1.0, max_records=2))
    sink.put("a")
    await tick()
    sink.put("b")
    await asyncio.sleep(0.5)
    sink.put("c")
    sink.put("d")
    await asyncio.sleep(10)
    assert [(request.records, request.reason, request.sent_at) for request in provider.requests] == [
        (["a"], "idle", 0),
        (["b", "c"], "full", 0.5),
        (["d"], "linger", 1.5),
    ]


async def test_a_linger_of_zero_waits_for_nobody(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(linger=0))
    sink.put("a")
    await tick()
    sink.put("b")
    await tick()
    assert provider.sent == [["a"], ["b"]]


async def test_a_batch_that_is_full_of_records_leaves_at_once(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(linger=60, max_records=3))
    sink.put("a")
    await tick()
    for record in "bcde":
        sink.put(record)
    await tick()
    assert provider.sent == [["a"], ["b", "c", "d"]]
    assert provider.requests[1].reason == "full"


async def test_a_batch_that_is_full_of_bytes_leaves_at_once(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(linger=60, max_bytes=10))
    sink.put("a")
    await tick()
    for record in (b"1234", b"123456", b"1"):
        sink.put(record)
    await tick()
    assert provider.sent == [["a"], [b"1234", b"123456"]]


async def test_a_record_that_does_not_fit_beside_the_others_goes_in_the_next_request(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(max_bytes=10))
    for record in (b"123456", b"12345", b"123"):
        sink.put(record)
    await tick()
    assert provider.sent == [[b"123456"]]  # what is left has company to wait for: it is not full
    await asyncio.sleep(1)
    assert provider.sent == [[b"123456"], [b"12345", b"123"]]


async def test_when_the_last_request_comes_back_what_waits_leaves(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(linger=60))
    sink.put("a")
    first = await provider.request()
    sink.put("b")
    sink.put("c")
    await tick()
    assert provider.sent == [["a"]]
    first.deliver()
    second = await provider.request()
    assert (second.records, second.reason) == (["b", "c"], "idle")


async def test_a_flush_does_not_linger(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(linger=60))
    sink.put("a")
    await tick()
    sink.put("b")
    flushing = asyncio.ensure_future(sink.flush())
    await tick()
    assert (provider.sent, provider.requests[-1].reason) == ([["a"], ["b"]], "flush")
    for request in provider.requests:
        request.deliver()
    await flushing


async def test_a_close_does_not_linger(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(linger=60))
    sink.put("a")
    await tick()
    sink.put("b")
    closing = asyncio.ensure_future(sink.close())
    await tick()
    assert (provider.sent, provider.requests[-1].reason) == ([["a"], ["b"]], "close")
    for request in provider.requests:
        request.deliver()
    await closing


async def test_when_somebody_waits_for_room_nothing_lingers(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(linger=60, max_records=3, max_pending_records=3))
    sink.put("a")
    await tick()
    sink.put("b")
    sink.put("c")
    sink.put("d")
    await tick()
    assert (provider.sent, provider.requests[-1].reason) == ([["a"], ["b", "c"]], "room")


async def test_a_flood_fills_every_batch(open_sink: OpenSink) -> None:
    provider = Scripted(answers_at_once=True)
    sink = await open_sink(provider, Policy(concurrency=4))
    await sink.put_many(str(number) for number in range(10_000))
    assert sink.stats().fill == 1.0
    assert sink.stats().sealed == {"full": 1_000}


async def test_one_record_after_the_other_costs_one_round_trip_each(open_sink: OpenSink, provider: Scripted) -> None:
    provider.answers_at_once = True
    sink = await open_sink(provider, Policy(linger=5))
    for number in range(20):
        await sink.put(str(number))
    assert asyncio.get_running_loop().time() == 0
    assert len(provider.requests) == 20


async def test_targets_do_not_share_a_request_and_do_not_wait_for_each_other(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(linger=60))
    for record in ("q/a", "p/b", "q/c"):
        sink.put(record)
    await tick()
    assert provider.sent == [["q/a", "q/c"], ["p/b"]]
    assert {request.reason for request in provider.requests} == {"idle"}


async def test_targets_take_turns_when_slots_are_few(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(concurrency=1, max_records=1))
    for record in ("q/1", "q/2", "q/3", "p/1", "p/2"):
        sink.put(record)
    for _ in range(5):
        (await provider.request()).deliver()
    assert provider.sent == [["q/1"], ["p/1"], ["q/2"], ["p/2"], ["q/3"]]


async def test_no_more_requests_than_concurrency_are_on_the_wire(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(concurrency=2, max_records=1))
    for record in "abc":
        sink.put(record)
    await tick()
    assert provider.on_the_wire == [["a"], ["b"]]
    provider.requests[1].deliver()
    await tick()
    assert provider.on_the_wire == [["a"], ["c"]]


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([1] * 4, [3, 1]),
        ([10, 1], [1, 1]),
        ([9, 1, 1], [2, 1]),
        ([5, 6, 5], [1, 1, 1]),
        ([5, 5, 5], [2, 1]),
        ([4, 3, 3, 10, 1], [3, 1, 1]),
    ],
)
async def test_caps_are_exact_in_records_and_in_bytes(
    open_sink: OpenSink, sizes: list[int], batches: list[int]
) -> None:
    provider = Scripted(limits=Limits(records=3, bytes=10), answers_at_once=True)
    sink = await open_sink(provider)
    await sink.put_many(b"x" * size for size in sizes)
    assert [len(records) for records in provider.sent] == batches
