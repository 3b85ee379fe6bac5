"""A stream's records are accepted a block at a time: to the same end as one by one, and in bounded time and memory."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkwell.core import Encoded, InvalidRecord, Limits, Policy, Sink, SinkwellError
from sinkwell.core.testing import VirtualLoop
from tests.core.scripted import Scripted, other_tasks, tick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinkwell.core._dispatcher import Dispatcher
    from tests.core.conftest import OpenSink

PLAINLY = st.tuples(st.integers(1, 6), st.sampled_from([None, "k"]), st.sampled_from(["t", "u"]))


def one_by_one(dispatcher: Dispatcher, entries: list[Encoded], first: int = 0) -> None:
    """Accept as callers do who wait when there is no room: what comes after them has none either."""
    for number, entry in enumerate(entries[first:], first):
        with suppress(SinkwellError):
            if not dispatcher.accept(number, entry, None):
                return


def in_a_block(dispatcher: Dispatcher, entries: list[Encoded]) -> None:
    one_by_one(dispatcher, entries, dispatcher.accept_block(list(range(len(entries))), entries))


def accepted(drawn: list[tuple[int, str | None, str]], twice: int, order: Any, accept: Any) -> Any:
    """Accept what was drawn, its first entry once more at the place `twice`, and tell what is then held."""

    async def run() -> Any:
        provider = Scripted(limits=Limits(records=6, bytes=5))
        policy = Policy(order=order, max_pending_records=6, max_pending_bytes=15)
        async with Sink(provider, policy) as sink:
            dispatcher = sink._dispatcher
            assert dispatcher is not None
            entries = [Encoded(number, *facts) for number, facts in enumerate(drawn)]
            if twice < len(entries):
                entries.insert(twice + 1, entries[0])
            accept(dispatcher, entries)
            held = [(entry.record, entry.payload, entry.key, entry.place) for entry in dispatcher.ledger.open]
            batchers = dispatcher.sender.targets.batchers
            ready = {
                target: (batcher.ready_records, batcher.ready_bytes, [entry.record for entry in batcher._ready])
                for target, batcher in batchers.items()
            }
            await sink.close(timeout=0)
            return held, ready

    return VirtualLoop().run(run())


@settings(max_examples=100, deadline=None)
@given(st.lists(PLAINLY, min_size=1, max_size=8), st.integers(0, 9), st.sampled_from(["key", "none"]))
def test_a_block_is_accepted_as_its_records_are_one_by_one(drawn: Any, twice: int, order: Any) -> None:
    assert accepted(drawn, twice, order, in_a_block) == accepted(drawn, twice, order, one_by_one)


@pytest.mark.parametrize("part", ["key", "target"])
async def test_what_is_not_hashable_is_refused_at_its_place(open_sink: OpenSink, provider: Scripted, part: str) -> None:
    def encode(record: str) -> Encoded:
        return Encoded(record, 1, **{part: [] if record == "bad" else None})  # type: ignore[arg-type]

    provider.encode = encode  # type: ignore[method-assign]
    provider.answers_at_once = True
    sink = await open_sink(provider)
    for records in (["bad", "a"], ["a", "bad"]):
        outcomes = await sink.put_many(records)
        assert [isinstance(outcome, InvalidRecord) for outcome in outcomes] == [record == "bad" for record in records]


async def test_an_encoder_that_gives_one_object_for_two_records_is_told_so_at_the_second(
    open_sink: OpenSink, provider: Scripted
) -> None:
    only = Encoded("a", 1)
    provider.encode = lambda _: only  # type: ignore[method-assign]
    provider.answers_at_once = True
    sink = await open_sink(provider)
    first, second = await sink.put_many(["a", "b"])
    assert first.record == "a"
    assert "one object for two records" in str(second.__cause__)


async def test_a_stream_that_waits_for_room_has_encoded_one_record_more_than_there_is_room_for(
    open_sink: OpenSink, provider: Scripted
) -> None:
    encoded: list[Any] = []

    def encode(record: int) -> Encoded:
        encoded.append(record)
        return Encoded(record, 10)

    provider.encode = encode  # type: ignore[method-assign]
    sink = await open_sink(provider, Policy(max_bytes=20, max_pending_bytes=45))
    putting = asyncio.ensure_future(sink.put_many(range(1_000)))
    await tick()
    assert (sink.stats().pending_bytes, len(encoded)) == (40, 5)
    putting.cancel()
    await asyncio.wait([putting])


async def test_records_that_are_slow_to_encode_leave_the_loop_time_for_others(
    open_sink: OpenSink, provider: Scripted
) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)

    def encode(record: int) -> Encoded:
        loop.stall(0.0001)
        return Encoded(record, 1)

    provider.encode = encode  # type: ignore[method-assign]
    provider.answers_at_once = True
    sink = await open_sink(provider)
    putting = asyncio.ensure_future(sink.put_many(range(1_000)))
    longest = 0.0
    while not putting.done():
        before = loop.time()
        await asyncio.sleep(0)
        longest = max(longest, loop.time() - before)
    assert 0.002 <= longest < 0.01


async def test_outcomes_that_are_all_there_leave_the_loop_time_for_others(
    open_sink: OpenSink, provider: Scripted
) -> None:
    provider.answers_at_once = True
    sink = await open_sink(provider)
    outcomes = sink.stream(str(number) for number in range(2_500))
    await anext(outcomes)
    await asyncio.sleep(1)
    given = [0]
    turns: list[int] = []
    asyncio.get_running_loop().call_soon(lambda: turns.append(given[0]))
    async for _ in outcomes:
        given[0] += 1
    assert given == [2_499]
    assert turns == [998]


async def test_what_a_source_gave_in_the_block_in_which_it_raises_is_delivered_together(
    open_sink: OpenSink, provider: Scripted
) -> None:
    def source() -> Iterator[str]:
        yield from "abc"
        raise ZeroDivisionError

    provider.answers_at_once = True
    sink = await open_sink(provider)
    outcomes = sink.stream(source())
    assert [(await anext(outcomes)).record for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(ZeroDivisionError):
        await anext(outcomes)
    assert provider.sent == [["a", "b", "c"]]


async def test_a_stream_whose_feeder_is_cancelled_from_outside_gives_the_outcomes_that_there_are(
    open_sink: OpenSink, provider: Scripted
) -> None:
    provider.answers_at_once = True
    sink = await open_sink(provider, Policy(max_pending_records=10))
    outcomes = sink.stream(str(number) for number in range(100))
    await anext(outcomes)
    await tick()
    [feeder] = other_tasks()
    feeder.cancel()
    await tick()
    assert [(await anext(outcomes)).record for _ in range(10)] == [str(number) for number in range(1, 11)]
    with pytest.raises(asyncio.CancelledError):
        await anext(outcomes)
