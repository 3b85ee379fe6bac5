"""The user's door: what it takes, what it refuses, and what it says when it is used wrongly."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import (
    ConfigError,
    Encoded,
    InvalidRecord,
    Limits,
    Policy,
    RecordTooLarge,
    Sink,
    SinkClosed,
    SinkwellError,
)
from sinkwell.core.testing import VirtualLoop
from tests.core.scripted import RETRY, Scripted, tick, timers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.conftest import OpenSink


async def test_a_put_gives_the_receipt_of_its_own_record(open_sink: OpenSink, provider: Scripted) -> None:
    provider.answers_at_once = True
    sink = await open_sink(provider)
    receipts = await asyncio.gather(*(sink.put(record) for record in "abc"))
    assert [receipt.record for receipt in receipts] == ["a", "b", "c"]


async def test_async_with_opens_and_closes(provider: Scripted) -> None:
    async with Sink(provider):
        assert (provider.times_opened, provider.times_closed) == (1, 0)
    assert (provider.times_opened, provider.times_closed) == (1, 1)


@pytest.mark.parametrize(
    "use",
    [
        lambda sink: sink.put("a"),
        lambda sink: sink.put_nowait("a"),
        lambda sink: sink.submit("a"),
        lambda sink: sink.stream("a"),
        lambda sink: sink.put_many("a"),
        lambda sink: sink.flush(),
    ],
    ids=["put", "put_nowait", "submit", "stream", "put_many", "flush"],
)
async def test_a_sink_that_is_not_open_says_how_to_open_it(provider: Scripted, use: Callable[[Any], Any]) -> None:
    sink = Sink(provider)
    with pytest.raises(SinkClosed, match="scripted: the sink is not open yet; use `async with`"):
        await use(sink)


async def test_resume_needs_an_open_sink(provider: Scripted) -> None:
    with pytest.raises(SinkClosed):
        Sink(provider).resume("a")


async def test_a_sink_is_opened_once(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    with pytest.raises(ConfigError, match="a sink is opened once; make a new one"):
        await sink.open()


async def test_a_closed_sink_is_not_opened_again(provider: Scripted) -> None:
    async with Sink(provider) as sink:
        pass
    with pytest.raises(ConfigError):
        await sink.open()


async def test_two_opens_at_once_open_the_destination_once(provider: Scripted) -> None:
    async def open_slowly() -> None:
        provider.times_opened += 1
        await asyncio.sleep(1)

    provider.open = open_slowly  # type: ignore[method-assign]
    sink = Sink(provider)
    outcomes = await asyncio.gather(sink.open(), sink.open(), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), ConfigError]
    assert provider.times_opened == 1
    await sink.close()


async def test_a_failed_open_closes_the_destination(provider: Scripted) -> None:
    async def refuse() -> None:
        raise ConfigError("no such queue")

    provider.open = refuse  # type: ignore[method-assign]
    sink = Sink(provider)
    with pytest.raises(ConfigError, match="no such queue"):
        await sink.open()
    assert provider.times_closed == 1
    with pytest.raises(ConfigError, match="opened once"):
        await sink.open()


async def test_a_cancelled_open_closes_the_destination(provider: Scripted) -> None:
    async def hang() -> None:
        await asyncio.sleep(3600)

    provider.open = hang  # type: ignore[method-assign]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await Sink(provider).open()
    assert provider.times_closed == 1


async def test_limits_learned_while_opening_count_and_a_policy_above_them_closes_the_destination(
    provider: Scripted,
) -> None:
    async def learn() -> None:
        provider.limits = Limits(records=5)

    provider.open = learn  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"max_records \(10\) is above what scripted allows in one request \(5\)"):
        await Sink(provider, Policy(max_records=10)).open()
    assert provider.times_closed == 1


async def test_a_sink_closed_while_it_opens_never_comes_open(provider: Scripted) -> None:
    async def open_slowly() -> None:
        await asyncio.sleep(1)

    provider.open = open_slowly  # type: ignore[method-assign]
    sink = Sink(provider)
    opening = asyncio.ensure_future(sink.open())
    await tick()
    await sink.close()
    with pytest.raises(SinkClosed):
        await opening
    assert provider.times_closed == 1


def test_a_policy_above_the_providers_limits_is_refused_before_anything_is_opened() -> None:
    class Ten:
        name = "sqs:orders"
        limits = Limits(records=10)

    with pytest.raises(ConfigError, match=r"max_records \(11\) is above what sqs:orders allows in one request \(10\)"):
        Sink(Ten(), Policy(max_records=11))  # type: ignore[arg-type]


# --- records that can't be sent --------------------------------------------------------------------------------------


async def put(sink: Sink[Any, Any], record: Any) -> Any:
    return await sink.put(record)


async def put_nowait(sink: Sink[Any, Any], record: Any) -> Any:
    return await sink.put_nowait(record)


async def submit(sink: Sink[Any, Any], record: Any) -> Any:
    return await sink.submit(record)


BY_ANY_DOOR = pytest.mark.parametrize("door", [put, put_nowait, submit])


@BY_ANY_DOOR
async def test_a_malformed_record_is_refused_before_anything_is_buffered(
    open_sink: OpenSink, provider: Scripted, door: Callable[..., Any]
) -> None:
    sink = await open_sink(provider)
    with pytest.raises(InvalidRecord, match="neither text nor bytes"):
        await door(sink, 7)
    assert (sink.stats().pending_records, timers()) == (0, [])


@BY_ANY_DOOR
async def test_a_record_above_the_limit_is_refused_with_both_figures(
    open_sink: OpenSink, door: Callable[..., Any]
) -> None:
    sink = await open_sink(Scripted(limits=Limits(records=10, bytes=1_000)))
    with pytest.raises(RecordTooLarge, match="a record of 1,001 bytes is above the 1,000 that one batch may hold"):
        await door(sink, b"x" * 1_001)
    assert sink.stats().pending_records == 0


@BY_ANY_DOOR
async def test_whatever_encoding_raises_comes_as_invalid_record_without_the_records_content(
    open_sink: OpenSink, provider: Scripted, door: Callable[..., Any]
) -> None:
    def encode(record: Any) -> Encoded:
        raise TypeError(f"can't serialize {record}")

    provider.encode = encode  # type: ignore[method-assign]
    sink = await open_sink(provider)
    with pytest.raises(InvalidRecord) as caught:
        await door(sink, "secret")
    assert str(caught.value) == "scripted: the record can't be encoded (TypeError, see its cause)"
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize("encoded", [Encoded("a", 1, key=["a"]), Encoded("a", 1, target=["a"])], ids=["key", "target"])
async def test_a_key_or_target_that_is_not_hashable_hurts_nobody_else(
    open_sink: OpenSink, provider: Scripted, encoded: Encoded
) -> None:
    # The record was counted before its lane was looked up, and stayed pending for ever.
    sink = await open_sink(provider, Policy(max_records=1, max_pending_records=1))
    encode = provider.encode
    provider.encode = lambda _: encoded  # type: ignore[method-assign]
    with pytest.raises(InvalidRecord, match="must be hashable"):
        sink.put("a")
    assert (sink.stats().pending_records, sink.stats().targets) == (0, 0)
    provider.encode = encode  # type: ignore[method-assign]
    sink.put("a")
    provider.encode = lambda _: encoded  # type: ignore[method-assign]
    with pytest.raises(InvalidRecord, match="must be hashable"):
        sink.put("b")
    (refused,) = await sink.put_many(["c"])
    assert isinstance(refused, InvalidRecord)
    assert sink.stats().waiting == 0


async def test_a_destination_that_encodes_two_records_into_one_object_is_told_so(
    open_sink: OpenSink, provider: Scripted
) -> None:
    encoded = provider.encode("a")
    provider.encode = lambda _: encoded  # type: ignore[method-assign]
    sink = await open_sink(provider)
    sink.put("a")
    with pytest.raises(SinkwellError, match="make a new one each time"):
        sink.put("b")
    assert sink.stats().pending_records == 1


# --- threads and loops -----------------------------------------------------------------------------------------------


async def test_a_put_from_another_loop_is_refused_by_a_sentence(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    errors: list[BaseException] = []

    async def put_elsewhere() -> None:
        try:
            sink.put("a")
        except SinkwellError as error:
            errors.append(error)

    thread = threading.Thread(target=lambda: VirtualLoop().run(put_elsewhere()))
    thread.start()
    thread.join()
    assert "the sink belongs to the event loop that opened it" in str(errors[0])
    assert "asyncio.run_coroutine_threadsafe(sink.submit(record), loop)" in str(errors[0])
    assert sink.stats().pending_records == 0


async def test_a_put_from_a_thread_without_a_loop_is_refused_by_a_sentence(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(max_records=1, max_pending_records=1))
    errors: list[BaseException] = []

    def put_elsewhere() -> None:
        try:
            sink.put("a")
        except SinkwellError as error:
            errors.append(error)

    for _ in range(2):  # with room, and without
        thread = threading.Thread(target=put_elsewhere)
        thread.start()
        thread.join()
        sink.put("b")
        await tick()
    assert [type(error) for error in errors] == [SinkwellError] * 2


# --- what it shows ---------------------------------------------------------------------------------------------------


async def test_its_repr_helps_and_shows_no_payload(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_records=2, max_pending_records=2))
    assert repr(sink).startswith("<Sink scripted open pending=0 bytes=0 in_flight=0/8")
    sink.put("secret1")
    await tick()
    sink.put("k:secret2")
    sink.put("secret3")
    await asyncio.sleep(1.5)
    assert repr(sink) == ("<Sink scripted open pending=2 bytes=2 in_flight=2/8 retrying=0 waiting=1 oldest=1.5s>")
    await sink.close(timeout=0)
    assert repr(sink).startswith("<Sink scripted closed pending=0")


def test_a_sink_whose_constructor_refused_can_be_shown() -> None:
    assert repr(Sink.__new__(Sink)) == "<Sink not made>"


async def test_its_stats_are_a_snapshot(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_records=4))
    before = sink.stats()
    sink.put("a")
    sink.put("q/b")
    (await provider.request()).answer(RETRY)
    await asyncio.sleep(0.05)
    stats = sink.stats()
    assert (before.pending_records, before.targets, before.fill, before.oldest_seconds) == (0, 0, 0, 0)
    assert (stats.pending_records, stats.pending_bytes, stats.targets, stats.concurrency) == (2, 2, 2, 8)
    assert (stats.requests, stats.records_sent, stats.retries, stats.retrying, stats.fill) == (2, 2, 1, 1, 0.25)
    assert (stats.requests_in_flight, stats.oldest_seconds, stats.sealed) == (1, 0.05, {"idle": 2})


async def test_one_object_for_two_records_that_wait_for_room_harms_the_second_only(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(max_pending_records=1, max_records=1))
    sink.put("a")
    waiting = provider.encode("b")
    provider.encode = lambda _record: waiting  # type: ignore[method-assign]
    second, third = sink.put("b"), sink.put("c")
    (await provider.request()).deliver()
    (await provider.request()).deliver()
    assert (await second).record == "b"
    with pytest.raises(SinkwellError, match="one object for two records"):
        await third
