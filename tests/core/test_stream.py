"""Many records in, their outcomes out: in order, in bounded memory, and no record hurts another."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import (
    DeliveryRejected,
    Encoded,
    InvalidRecord,
    Observer,
    Policy,
    RecordTooLarge,
    Sink,
    SinkClosed,
    SinkwellError,
)
from sinkwell.core.testing import FakeDestination, FaultPlan
from tests.core.scripted import REJECTED, RETRY, Scripted, tick

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sinkwell.core import RecordOrphaned
    from tests.core.conftest import OpenSink


async def slowly(records: list[Any], *, seconds: float = 1) -> AsyncIterator[Any]:
    for record in records:
        await asyncio.sleep(seconds)
        yield record


class Orphans(Observer):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_record_orphaned(self, event: RecordOrphaned) -> None:
        self.seen.append(event.record)


@pytest.mark.parametrize("is_async", [False, True])
async def test_outcomes_come_in_the_records_order(open_sink: OpenSink, is_async: bool) -> None:
    provider = FakeDestination(plan=FaultPlan(latency_spread=0.5, fail_entry=0.3))
    sink = await open_sink(provider)
    numbers = list(range(200))
    source: Any = slowly(numbers, seconds=0.01) if is_async else numbers
    order = [provider.log[outcome.number].record async for outcome in sink.stream(source)]
    assert order == numbers
    assert [line.record for line in provider.log] != numbers


@pytest.mark.parametrize("is_async", [False, True])
async def test_no_record_is_lost_when_the_machine_stands_still_between_any_two_looks_at_the_clock(
    open_sink: OpenSink, provider: Scripted, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    # A busy machine took the processor away after a block's time had begun: a record of an async source was taken
    # from it and never put, and nobody was told.
    provider.answers_at_once = True
    sink = await open_sink(provider)
    numbers = [str(number) for number in range(200)]
    source: Any = slowly(numbers, seconds=0) if is_async else numbers
    looks = itertools.count(asyncio.get_running_loop().time(), 0.01)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: next(looks))
    outcomes = await sink.put_many(source)
    monkeypatch.undo()
    assert [outcome.record for outcome in outcomes] == numbers


async def test_more_records_than_there_is_room_for_flow_through(open_sink: OpenSink) -> None:
    provider = Scripted(answers_at_once=True)
    sink = await open_sink(provider, Policy(max_pending_records=10))
    outcomes = await sink.put_many(str(number) for number in range(2_000))
    assert [outcome.record for outcome in outcomes] == [str(number) for number in range(2_000)]


async def test_put_many_of_nothing_gives_nothing(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    assert (await sink.put_many([]), await sink.put_many(slowly([]))) == ([], [])


async def test_a_bad_record_is_told_at_its_place_and_hurts_no_neighbour(
    open_sink: OpenSink, provider: Scripted
) -> None:
    provider.answers_at_once = True
    sink = await open_sink(provider, Policy(max_bytes=5))
    outcomes = await sink.put_many(["a", None, "b", b"too long", "c"])
    assert [type(outcome).__name__ for outcome in outcomes] == ["Ack", "InvalidRecord", "Ack", "RecordTooLarge", "Ack"]
    assert isinstance(outcomes[3], RecordTooLarge)


async def test_whatever_encoding_raises_is_told_at_its_place(open_sink: OpenSink, provider: Scripted) -> None:
    def encode(record: Any) -> Encoded:
        return Encoded(record, 1, key=[] if record == 0 else None) if 1 / (record - 1) else Encoded(record, 1)

    provider.encode = encode  # type: ignore[method-assign]
    provider.answers_at_once = True
    sink = await open_sink(provider)
    outcomes = await sink.put_many([0, 1, 2])
    assert [type(outcome) for outcome in outcomes[:2]] == [InvalidRecord, InvalidRecord]
    assert [type(outcome.__cause__) for outcome in outcomes[:2]] == [TypeError, ZeroDivisionError]
    assert outcomes[2].record == 2


async def test_a_failed_delivery_is_an_outcome_and_not_an_exception(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    putting = asyncio.ensure_future(sink.put_many("abc"))
    (await provider.request()).answer(True, REJECTED, True)
    outcomes = await putting
    assert [type(outcome).__name__ for outcome in outcomes] == ["Ack", "DeliveryRejected", "Ack"]
    assert isinstance(outcomes[1], DeliveryRejected)


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_the_source_raises_is_raised_after_the_outcomes_before_it(
    open_sink: OpenSink, provider: Scripted, is_async: bool
) -> None:
    def failing() -> Iterator[str]:
        yield from "ab"
        raise ZeroDivisionError

    async def failing_slowly() -> AsyncIterator[str]:
        for record in failing():
            await asyncio.sleep(1)
            yield record

    provider.answers_at_once = True
    sink = await open_sink(provider)
    outcomes = sink.stream(failing_slowly() if is_async else failing())
    assert [(await anext(outcomes)).record for _ in range(2)] == ["a", "b"]
    with pytest.raises(ZeroDivisionError):
        await anext(outcomes)


async def test_a_source_that_is_cancelled_does_not_look_exhausted(open_sink: OpenSink, provider: Scripted) -> None:
    # It ended the stream without a word, as if every record had been put.
    async def cancelled() -> AsyncIterator[str]:
        yield "a"
        raise asyncio.CancelledError

    provider.answers_at_once = True
    sink = await open_sink(provider)
    with pytest.raises(asyncio.CancelledError):
        await sink.put_many(cancelled())


async def test_what_is_not_iterable_is_refused_by_python_itself(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    with pytest.raises(TypeError, match="not iterable"):
        await sink.put_many(7)  # type: ignore[arg-type]


async def test_a_slow_source_does_not_hold_back_outcomes(open_sink: OpenSink, provider: Scripted) -> None:
    provider.answers_at_once = True
    sink = await open_sink(provider)
    loop = asyncio.get_running_loop()
    told_at = [loop.time() async for _ in sink.stream(slowly(["a", "b", "c"], seconds=10))]
    assert told_at == [10, 20, 30]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_slow_reader_holds_back_the_source(open_sink: OpenSink, provider: Scripted, is_async: bool) -> None:
    provider.answers_at_once = True
    sink = await open_sink(provider, Policy(max_pending_records=10))
    given = 0

    def counted() -> Iterator[str]:
        nonlocal given
        for number in range(100):
            given += 1
            yield str(number)

    async def counted_async() -> AsyncIterator[str]:
        for record in counted():
            yield record

    async with aclosing(sink.stream(counted_async() if is_async else counted())) as outcomes:  # type: ignore[type-var]
        for taken in range(1, 80):
            await anext(outcomes)
            await asyncio.sleep(1)
            assert given <= taken + 11


async def test_a_long_sync_source_lets_the_loop_breathe(open_sink: OpenSink) -> None:
    provider = Scripted(answers_at_once=True)
    sink = await open_sink(provider)
    putting = asyncio.ensure_future(sink.put_many(str(number) for number in range(5_000)))
    await asyncio.sleep(0)  # the reader begins
    await asyncio.sleep(0)  # the feeder begins
    assert sink.stats().pending_records == 500
    assert len(await putting) == 5_000


@pytest.mark.parametrize("is_async", [False, True])
async def test_leaving_early_stops_the_source_and_delivers_what_was_accepted(
    open_sink: OpenSink, provider: Scripted, is_async: bool
) -> None:
    observer = Orphans()
    sink = await open_sink(provider, observer=observer)
    source: Any = slowly(["a", "b", None, "c", "d"]) if is_async else ["a", "b", None, "c"]
    async with aclosing(sink.stream(source)) as outcomes:  # type: ignore[type-var]
        reading = asyncio.ensure_future(anext(outcomes))
        (await provider.request()).deliver()
        assert (await reading).record == "a"
        await asyncio.sleep(3.5 if is_async else 0)
    provider.answer_all()
    await tick()
    provider.answer_all()
    await tick()
    assert sink.stats().delivered == 3
    assert observer.seen == ["b", "c"]


async def test_a_cancelled_reader_leaves_what_was_accepted_to_be_delivered(
    open_sink: OpenSink, provider: Scripted
) -> None:
    observer = Orphans()
    sink = await open_sink(provider, Policy(max_pending_records=10), observer=observer)
    putting = asyncio.ensure_future(sink.put_many([*map(str, range(12))]))
    (await provider.request()).answer(*[True] * 9, RETRY)
    await tick()
    putting.cancel()
    await tick()
    assert putting.cancelled()
    provider.answer_all()
    await asyncio.sleep(1)
    provider.answer_all()
    await tick()
    # What it had collected, what it had not, and what still had to be delivered.
    assert observer.seen == [*"012345678", "10", "11", "9"]


async def test_what_put_many_collected_of_refused_records_is_nobodys_when_it_is_cancelled(
    open_sink: OpenSink, provider: Scripted
) -> None:
    observer = Orphans()
    sink = await open_sink(provider, Policy(max_records=1, concurrency=1), observer=observer)
    putting = asyncio.ensure_future(sink.put_many([None, "a", "b"]))
    (await provider.request()).deliver()
    await tick()
    putting.cancel()
    await tick()
    provider.answer_all()
    await tick()
    assert observer.seen == ["a", "b"]


@pytest.mark.parametrize("ticks", range(9))
async def test_whenever_a_reader_is_cancelled_every_accepted_record_is_told_to_somebody(
    open_sink: OpenSink, provider: Scripted, ticks: int
) -> None:
    observer = Orphans()
    sink = await open_sink(provider, Policy(max_records=1, max_pending_records=1), observer=observer)
    told: list[str] = []

    async def read() -> None:
        async with aclosing(sink.stream("abc")) as outcomes:  # type: ignore[type-var]
            async for outcome in outcomes:
                told.append(outcome.record)  # noqa: PERF401 - what came before the cancellation is looked at

    reading = asyncio.ensure_future(read())
    (await provider.request()).deliver()
    for _ in range(ticks):
        await asyncio.sleep(0)
    reading.cancel()
    await tick()
    provider.answer_all()
    await tick()
    accepted = [record for records in provider.sent for record in records]
    assert told + observer.seen == accepted


@pytest.mark.parametrize("ticks", range(6))
async def test_whenever_a_reader_leaves_a_record_admitted_in_that_tick_is_told_to_somebody(
    open_sink: OpenSink, provider: Scripted, ticks: int
) -> None:
    observer = Orphans()
    sink = await open_sink(provider, Policy(max_records=1, max_pending_records=2), observer=observer)
    sink.put("other")
    outcomes: Any = sink.stream("abc")
    reading = asyncio.ensure_future(anext(outcomes))
    other, first = await provider.request(), await provider.request()
    first.deliver()
    assert (await reading).record == "a"
    await tick()
    assert sink.stats().waiting == 1  # c, behind the other and b
    other.deliver()
    for _ in range(ticks):
        await asyncio.sleep(0)
    await outcomes.aclose()
    await tick()
    provider.answer_all()
    await tick()
    provider.answer_all()
    await tick()
    assert ["other", "a", *observer.seen] == [record for records in provider.sent for record in records]


async def test_a_source_that_raises_after_its_reader_left_bothers_nobody(
    open_sink: OpenSink, provider: Scripted
) -> None:
    async def failing() -> AsyncIterator[str]:
        yield "a"
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise OSError from None

    unhandled: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    provider.answers_at_once = True
    sink = await open_sink(provider)
    outcomes: Any = sink.stream(failing())
    await anext(outcomes)
    await outcomes.aclose()
    gc.collect()
    assert unhandled == []


async def test_a_sink_that_closes_refuses_the_rest_of_a_stream(open_sink: OpenSink, provider: Scripted) -> None:
    provider.answers_at_once = True
    sink = await open_sink(provider)
    putting = asyncio.ensure_future(sink.put_many(slowly(["a", "b", "c"])))
    await asyncio.sleep(1.5)
    await sink.close()
    outcomes = await putting
    assert [type(outcome).__name__ for outcome in outcomes] == ["Ack", "SinkClosed", "SinkClosed"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_stream_that_waits_for_room_when_the_sink_closes_is_refused(
    open_sink: OpenSink, provider: Scripted, is_async: bool
) -> None:
    sink = await open_sink(provider, Policy(max_records=2, max_pending_records=2))
    sink.put("other")
    putting = asyncio.ensure_future(sink.put_many(slowly(["a", "b"]) if is_async else "ab"))
    await asyncio.sleep(3)
    assert sink.stats().waiting == 1
    closing = asyncio.ensure_future(sink.close())
    await tick()
    provider.answer_all()
    await closing
    outcomes = await putting
    assert outcomes[0].record == "a"
    assert isinstance(outcomes[1], SinkClosed)


async def test_a_stream_on_another_loop_is_refused_by_a_sentence(open_sink: OpenSink, provider: Scripted) -> None:
    sink: Sink[Any, Any] = await open_sink(provider)
    stream = sink.stream("a")
    errors: list[Exception] = []

    def read() -> None:
        try:
            stream.__anext__().send(None)  # type: ignore[attr-defined]
        except SinkwellError as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert "belongs to the event loop that opened it" in str(errors[0])
