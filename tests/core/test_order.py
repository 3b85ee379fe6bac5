"""Entries of one key leave in the order in which they were accepted, whatever fails; other keys flow past them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Backoff, DeliveryExpired, DeliveryRejected, Limits, Policy
from tests.core.scripted import REJECTED, RETRY, Scripted, tick

if TYPE_CHECKING:
    from tests.core.conftest import OpenSink

BACKOFF = Backoff(base=1, cap=64, jitter="none")
ONE_EACH = Limits(records=10, keys_repeat=False)
REPEATING = Limits(records=10, keys_repeat=True)
EITHER = pytest.mark.parametrize("limits", [ONE_EACH, REPEATING], ids=["one_each", "repeating"])


async def test_a_batch_never_holds_a_key_twice_where_the_provider_forbids_it(open_sink: OpenSink) -> None:
    provider = Scripted(limits=ONE_EACH, answers_at_once=True)
    sink = await open_sink(provider)
    await sink.put_many(["a:1", "a:2", "b:1", "a:3", "b:2"])
    assert provider.sent == [["a:1", "b:1"], ["a:2", "b:2"], ["a:3"]]


async def test_a_batch_holds_a_key_in_order_where_the_provider_allows_it(open_sink: OpenSink) -> None:
    provider = Scripted(limits=REPEATING, answers_at_once=True)
    sink = await open_sink(provider)
    await sink.put_many(["a:1", "b:1", "a:2", "a:3"])
    assert provider.sent == [["a:1", "a:2", "a:3", "b:1"]]


@EITHER
async def test_a_key_is_never_in_two_requests_at_once(open_sink: OpenSink, limits: Limits) -> None:
    provider = Scripted(limits=limits)
    sink = await open_sink(provider, Policy(linger=0, max_records=2))
    for number in range(6):
        sink.put(f"a:{number}")
    sink.put("b:0")
    await asyncio.sleep(1)
    keys = [record[0] for records in provider.on_the_wire for record in set(map(str, records))]
    assert {key for records in provider.on_the_wire for key in {record[0] for record in records}} == {"a", "b"}
    assert len(provider.on_the_wire) <= 2
    assert sum("a" in {record[0] for record in records} for records in provider.on_the_wire) == 1
    assert keys.count("b") == 1


@EITHER
async def test_later_records_of_a_key_wait_behind_a_retry_and_other_keys_flow(
    open_sink: OpenSink, limits: Limits
) -> None:
    provider = Scripted(limits=limits)
    sink = await open_sink(provider, Policy(backoff=BACKOFF))
    sink.put("a:1")
    (await provider.request()).answer(RETRY)
    await tick()
    sink.put("a:2")
    sink.put("b:1")
    other = await provider.request()
    assert (other.records, other.sent_at) == (["b:1"], 0)
    other.deliver()
    again = await provider.request()
    assert (again.records[0], again.sent_at) == ("a:1", 2)


@EITHER
async def test_order_survives_many_retries(open_sink: OpenSink, limits: Limits) -> None:
    provider = Scripted(limits=limits)
    sink = await open_sink(provider, Policy(max_records=3, linger=0))
    deliveries = [sink.put(f"{key}:{number}") for number in range(4) for key in "abc"]
    written: list[str] = []
    while not all(delivery.done() for delivery in deliveries):
        request = await provider.request()
        # Of each key the first is written at every other try; what follows a failed one of its key fails too.
        fails = {record[0] for record in request.records if len(provider.requests) % 2 and record[0] != "b"}
        request.answer(*(RETRY if record[0] in fails else True for record in request.records))
        written += [record for record in request.records if record[0] not in fails]
        await tick()
    assert [record for record in written if record[0] == "a"] == ["a:0", "a:1", "a:2", "a:3"]
    assert [record for record in written if record[0] == "c"] == ["c:0", "c:1", "c:2", "c:3"]


async def test_several_failed_records_of_one_key_go_again_in_their_order(open_sink: OpenSink) -> None:
    provider = Scripted(limits=REPEATING)
    sink = await open_sink(provider)
    for number in "123":
        sink.put(f"a:{number}")
    (await provider.request()).answer(RETRY, RETRY, RETRY)
    sink.put("a:4")
    assert (await provider.request()).records == ["a:1", "a:2", "a:3", "a:4"]


@EITHER
async def test_after_a_permanent_failure_the_lane_goes_on(open_sink: OpenSink, limits: Limits) -> None:
    provider = Scripted(limits=limits)
    sink = await open_sink(provider)
    first = sink.put("a:1")
    await tick()
    sink.put("a:2")
    (await provider.request()).answer(REJECTED)
    assert (await provider.request()).records == ["a:2"]
    with pytest.raises(DeliveryRejected):
        await first


async def test_without_order_a_key_may_be_in_many_requests(open_sink: OpenSink) -> None:
    provider = Scripted(limits=REPEATING)
    sink = await open_sink(provider, Policy(order="none", max_records=1))
    sink.put("a:1")
    sink.put("a:2")
    await tick()
    assert provider.on_the_wire == [["a:1"], ["a:2"]]


async def test_without_order_a_key_is_still_once_in_a_batch_where_the_provider_forbids_more(
    open_sink: OpenSink,
) -> None:
    provider = Scripted(limits=ONE_EACH)
    sink = await open_sink(provider, Policy(order="none"))
    sink.put("a:1")
    sink.put("a:2")
    await tick()
    assert provider.on_the_wire == [["a:1"]]


async def test_equal_keys_of_two_targets_are_two_lanes(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    sink.put("q/a:1")
    sink.put("p/a:1")
    await tick()
    assert provider.on_the_wire == [["q/a:1"], ["p/a:1"]]


# --- on_failure="block" ----------------------------------------------------------------------------------------------

BLOCK = Policy(on_failure="block", linger=0, backoff=BACKOFF)


async def stopped_lane(open_sink: OpenSink, provider: Scripted, policy: Policy = BLOCK) -> tuple[Any, Any]:
    """A sink whose lane "a" was stopped by its first record, with the second behind it."""
    sink = await open_sink(provider, policy)
    first = sink.put("a:1")
    await tick()
    second = sink.put("a:2")
    (await provider.request()).answer(REJECTED)
    with pytest.raises(DeliveryRejected):
        await first
    return sink, second


@EITHER
async def test_a_blocked_lane_stops_until_it_is_resumed(open_sink: OpenSink, limits: Limits) -> None:
    provider = Scripted(limits=limits)
    sink, second = await stopped_lane(open_sink, provider)
    sink.put("b:1")
    (await provider.request()).deliver()
    await asyncio.sleep(30)
    assert provider.sent == [["a:1"], ["b:1"]]
    assert sink.resume("a") is True
    (await provider.request()).deliver()
    assert (await second).record == "a:2"


async def test_a_lane_blocked_while_empty_holds_what_comes_later(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, BLOCK)
    sink.put("a:1").add_done_callback(lambda delivery: delivery.exception())
    (await provider.request()).answer(REJECTED)
    await tick()
    sink.put("a:2")
    sink.put("a:3")
    await asyncio.sleep(5)
    assert provider.on_the_wire == []
    sink.resume("a")
    assert (await provider.request()).records == ["a:2", "a:3"]


async def test_resuming_a_lane_that_holds_nothing_lets_the_next_record_pass(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, BLOCK)
    sink.put("a:1").add_done_callback(lambda delivery: delivery.exception())
    (await provider.request()).answer(REJECTED)
    await tick()
    assert sink.resume("a") is True
    assert sink.stats().targets == 0
    sink.put("a:2")
    assert (await provider.request()).records == ["a:2"]


async def test_resuming_what_was_not_stopped_says_so(open_sink: OpenSink, provider: Scripted) -> None:
    sink, _ = await stopped_lane(open_sink, provider)
    assert (sink.resume("b"), sink.resume("a", target="elsewhere")) == (False, False)


async def test_what_waits_in_a_blocked_lane_ends_at_its_delivery_timeout(
    open_sink: OpenSink, provider: Scripted
) -> None:
    policy = Policy(on_failure="block", delivery_timeout=60)
    sink, second = await stopped_lane(open_sink, provider, policy)
    await asyncio.sleep(1)
    third = sink.put("a:3")
    with pytest.raises(DeliveryExpired):
        await second
    assert asyncio.get_running_loop().time() == 60
    with pytest.raises(DeliveryExpired):
        await third
    assert asyncio.get_running_loop().time() == 61


async def test_a_failed_neighbour_of_a_blocking_record_stays_behind_it(open_sink: OpenSink) -> None:
    provider = Scripted(limits=REPEATING)
    sink = await open_sink(provider, BLOCK)
    sink.put("a:1").add_done_callback(lambda delivery: delivery.exception())
    sink.put("a:2")
    (await provider.request()).answer(REJECTED, RETRY)
    await asyncio.sleep(60)
    assert len(provider.requests) == 1
    sink.resume("a")
    assert (await provider.request()).records == ["a:2"]


async def test_a_blocked_lane_stops_at_the_culprit_of_a_refused_batch(open_sink: OpenSink) -> None:
    provider = Scripted(limits=REPEATING)
    sink = await open_sink(provider, BLOCK)
    sink.put("a:1").add_done_callback(lambda delivery: delivery.exception())
    sink.put("a:2")
    sink.put("b:1")
    (await provider.request()).refuse()
    (await provider.request()).refuse()  # a:1 alone
    (await provider.request()).deliver()
    await asyncio.sleep(60)
    assert provider.sent[2:] == [["b:1"]]


async def test_a_blocked_lane_stops_at_a_record_that_expired_on_the_wire(
    open_sink: OpenSink, provider: Scripted
) -> None:
    policy = Policy(on_failure="block", attempt_timeout=60, delivery_timeout=60)
    sink = await open_sink(provider, policy)
    first = sink.put("a:1")
    await asyncio.sleep(59)
    sink.put("a:2")
    with pytest.raises(DeliveryExpired):
        await first
    await asyncio.sleep(30)
    assert provider.sent == [["a:1"]]


async def test_a_blocked_lane_stops_at_a_record_that_expired_before_it_was_sent(open_sink: OpenSink) -> None:
    provider = Scripted(stubborn=True)
    sink = await open_sink(provider, Policy(concurrency=1, on_failure="block", delivery_timeout=10, linger=0))
    deliveries = [sink.put("x")]
    request = await provider.request()
    deliveries.append(sink.put("k:1"))
    await asyncio.sleep(5)
    later = sink.put("k:2")
    await asyncio.gather(*deliveries, return_exceptions=True)
    request.deliver()
    await asyncio.sleep(1)
    assert provider.sent == [["x"]]
    sink.resume("k")
    (await provider.request()).deliver()
    assert (await later).record == "k:2"
