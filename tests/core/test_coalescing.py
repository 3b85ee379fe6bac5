"""Where a sink coalesces, a newer record takes the place of an older one of its key that has not left yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sinkwell.core import (
    Backoff,
    ConfigError,
    Delivered,
    DeliveryAbandoned,
    DeliveryError,
    DeliveryExpired,
    DeliveryRejected,
    DeliverySuperseded,
    Encoded,
    Limits,
    Observer,
    Outcome,
    Policy,
    RecordOrphaned,
    Sink,
    Unknown,
)
from tests.core.scripted import REJECTED, RETRY, UNKNOWN, Ack, Scripted, ScriptedError, tick

if TYPE_CHECKING:
    from tests.core.conftest import OpenSink

COALESCING = Limits(records=10, keys_repeat=False, coalesce=True)
BACKOFF = Backoff(base=1, cap=64, jitter="none")


@pytest.fixture
def provider() -> Scripted:
    return Scripted(limits=COALESCING)


async def test_only_the_newest_record_of_a_key_leaves_and_all_callers_get_a_receipt(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider)
    puts = [sink.put(record) for record in ("a:1", "b:1", "a:2", "a:3")]
    (await provider.request()).deliver()
    assert [receipt.record for receipt in await asyncio.gather(*puts)] == ["a:3", "b:1", "a:3", "a:3"]
    assert provider.sent == [["a:3", "b:1"]]
    assert (sink.stats().delivered, sink.stats().superseded, sink.stats().records_sent) == (4, 2, 2)


async def test_the_receipt_of_a_superseded_record_is_the_one_made_for_it(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider)
    older, newer = sink.put("a:1"), sink.put("a:2")
    (await provider.request()).answer(Delivered(Ack(record="newer"), superseded=Ack(record="older")))
    assert ((await older).record, (await newer).record) == ("older", "newer")


async def test_a_record_on_the_wire_is_left_alone_and_those_behind_it_become_one(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider)
    first = sink.put("a:1")
    request = await provider.request()
    others = [sink.put("a:2"), sink.put("a:3"), sink.put("a:4")]
    request.deliver()
    assert (await first).record == "a:1"
    (await provider.request()).deliver()
    assert {receipt.record for receipt in await asyncio.gather(*others)} == {"a:4"}
    assert provider.sent == [["a:1"], ["a:4"]]


@pytest.mark.parametrize("verdict", [RETRY, UNKNOWN], ids=["not there", "nobody knows"])
async def test_a_record_that_was_sent_is_sent_again_though_a_newer_one_waits(
    open_sink: OpenSink, provider: Scripted, verdict: object
) -> None:
    sink = await open_sink(provider, Policy(backoff=BACKOFF))
    first = sink.put("a:1")
    (await provider.request()).answer(verdict)
    await tick()
    others = [sink.put("a:2"), sink.put("a:3")]
    again = await provider.request()
    assert (again.records, again.sent_at) == (["a:1"], 2)
    again.deliver()
    (await provider.request()).deliver()
    assert (await first).attempts == 2
    assert [receipt.record for receipt in await asyncio.gather(*others)] == ["a:3", "a:3"]


async def test_a_key_that_is_written_all_the_time_keeps_its_turn(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(concurrency=1, max_records=2))
    sink.put("-busy")
    request = await provider.request()
    for number in range(9):
        sink.put(f"a:{number}")
        sink.put(f"{number}:x")
    request.deliver()
    assert (await provider.request()).records == ["a:8", "0:x"]


async def test_when_the_newer_is_rejected_the_one_before_it_goes_in_its_place(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider)
    puts = [sink.put(record) for record in ("a:1", "a:2", "a:bad")]
    (await provider.request()).answer(REJECTED)
    (await provider.request()).deliver()
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert provider.sent == [["a:bad"], ["a:2"]]
    assert [outcomes[0].record, outcomes[1].record, type(outcomes[2])] == ["a:2", "a:2", DeliveryRejected]


async def test_what_goes_back_to_its_place_goes_before_what_came_since(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    puts = [sink.put("a:1"), sink.put("a:bad")]
    request = await provider.request()
    puts += [sink.put("a:3"), sink.put("a:4")]
    request.answer(REJECTED)
    for _ in range(2):
        (await provider.request()).deliver()
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert provider.sent == [["a:bad"], ["a:1"], ["a:4"]]
    assert [type(outcome) for outcome in outcomes] == [Ack, DeliveryRejected, Ack, Ack]


async def test_after_a_newer_that_may_be_written_the_older_is_never_sent_and_told_so(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(on_unknown="fail"))
    older, newer = sink.put("a:1"), sink.put("a:2")
    (await provider.request()).answer(UNKNOWN)
    with pytest.raises(DeliverySuperseded, match="superseded") as superseded:
        await older
    with pytest.raises(DeliveryError) as unknown:
        await newer
    assert (superseded.value.outcome, superseded.value.attempts) == (Outcome.NOT_WRITTEN, 0)
    assert unknown.value.outcome is Outcome.UNKNOWN
    assert isinstance(superseded.value.__cause__, ScriptedError)
    assert provider.sent == [["a:2"]]


async def test_a_superseded_record_has_its_own_time_and_the_newer_goes_on_without_it(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(concurrency=1, attempt_timeout=10, delivery_timeout=10))
    sink.put("-busy")
    await provider.request()
    older = sink.put("a:1")
    await asyncio.sleep(6)
    newer = sink.put("a:2")
    with pytest.raises(DeliveryExpired) as expired:
        await older
    assert (expired.value.outcome, expired.value.attempts) == (Outcome.NOT_WRITTEN, 0)
    (await provider.request()).deliver()
    assert (await newer).record == "a:2"
    assert provider.sent[1:] == [["a:2"]]


async def test_a_newer_whose_time_is_up_in_the_older_ones_place_leaves_the_queue(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(concurrency=1, attempt_timeout=4, delivery_timeout=4, max_attempts=1))
    sink.put("-busy")
    await provider.request()
    puts = [sink.put("a:1"), sink.put("a:2")]
    await asyncio.sleep(3.9)
    last = sink.put("b:1")
    (await provider.request()).deliver()
    assert (await last).record == "b:1"
    assert provider.sent == [["-busy"], ["b:1"]]
    assert [type(put.exception()) for put in puts] == [DeliveryExpired] * 2


async def test_a_superseded_record_may_run_out_of_time_before_it_is_back_in_its_place(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(concurrency=1, delivery_timeout=10))
    sink.put("-busy")
    busy = await provider.request()
    older = sink.put("a:1")
    await asyncio.sleep(2)
    newer, beside = sink.put("a:bad"), sink.put("b:1")
    busy.deliver()
    (await provider.request()).refuse(0)
    (await provider.request()).refuse()
    request = await provider.request()
    with pytest.raises(DeliveryExpired):
        await older
    request.deliver()
    assert (await beside).record == "b:1"
    assert isinstance(newer.exception(), DeliveryRejected)
    assert provider.sent[1:] == [["a:bad", "b:1"], ["a:bad"], ["b:1"]]


async def test_close_ends_a_superseded_record_like_any_other_that_never_left(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider)
    older, newer = sink.put("a:1"), sink.put("a:2")
    await provider.request()
    report = await sink.close(timeout=0)
    assert (report.not_written, report.unknown, report.abandoned) == (1, 1, 2)
    assert isinstance(older.exception(), DeliveryAbandoned)
    assert isinstance(newer.exception(), DeliveryAbandoned)


async def test_flush_waits_for_superseded_records_and_lets_the_newer_leave_at_once(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(linger=60))
    sink.put("-busy")
    await provider.request()
    older = sink.put("a:1")
    flush = asyncio.ensure_future(sink.flush())
    await asyncio.sleep(0)
    sink.put("a:2")
    (await provider.request()).deliver()
    await asyncio.wait([older])
    assert provider.sent[1:] == [["a:2"]]
    provider.answer_all()
    await flush


async def test_a_cancelled_callers_superseded_record_is_reported_to_the_observer(
    open_sink: OpenSink, provider: Scripted
) -> None:
    class Orphans(Observer):
        def on_record_orphaned(self, event: RecordOrphaned) -> None:
            orphans.append(event.record)

    orphans: list[object] = []
    sink = await open_sink(provider, observer=Orphans())
    older, newer = sink.put("a:1"), sink.put("a:2")
    older.cancel()
    (await provider.request()).deliver()
    await newer
    assert orphans == ["a:1"]


async def test_streams_get_the_outcomes_of_superseded_records_in_order(open_sink: OpenSink) -> None:
    sink = await open_sink(Scripted(limits=COALESCING, answers_at_once=True))
    outcomes = await sink.put_many(f"{number % 3}:{number}" for number in range(30))
    assert [outcome.record for outcome in outcomes] == [f"{number % 3}:{27 + number % 3}" for number in range(30)]


async def test_the_bytes_of_a_batch_are_those_of_the_newest(open_sink: OpenSink) -> None:
    provider = Scripted(limits=Limits(records=10, bytes=100, keys_repeat=False, coalesce=True), answers_at_once=True)
    encode = provider.encode

    def sized(record: str) -> Encoded:
        entry = encode(record)
        entry.size = int(record.partition(":")[2])
        return entry

    provider.encode = sized  # type: ignore[method-assign]
    sink = await open_sink(provider)
    await sink.put_many(["a:1", "b:60", "a:50", "b:40", "c:10", "a:60"])
    assert provider.sent == [["a:60", "b:40"], ["c:10"]]


async def test_a_doubt_that_another_attempt_would_not_clear_up_ends_the_record(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(on_unknown="retry"))
    put = sink.put("a:1")
    (await provider.request()).answer(Unknown(ScriptedError("something else is there"), is_final=True))
    with pytest.raises(DeliveryError) as unknown:
        await put
    assert (unknown.value.outcome, unknown.value.attempts) == (Outcome.UNKNOWN, 1)


def test_coalescing_where_it_can_not_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="keys_repeat=False"):
        Limits(coalesce=True)
    with pytest.raises(ConfigError, match="on_failure"):
        Sink(Scripted(limits=COALESCING), Policy(on_failure="block"))
