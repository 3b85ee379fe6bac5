"""An observer sees what happens as data; it can't hurt delivery."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sinkwell.core import BatchDone, BatchSent, Observer, Outcome, Policy, RecordFailed, SinkStats
from tests.core.scripted import REJECTED, RETRY, THROTTLED, UNKNOWN, Scripted, tick

if TYPE_CHECKING:
    import pytest

    from tests.core.conftest import OpenSink


class Recorder(Observer):
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def on_batch_sent(self, event: BatchSent) -> None:
        self.events.append(event)

    def on_batch_done(self, event: BatchDone) -> None:
        self.events.append(event)

    def on_record_failed(self, event: RecordFailed) -> None:
        self.events.append(event)


class Raising(Observer):
    """Raises whatever happens."""

    def on_batch_sent(self, event: Any) -> None:
        raise ZeroDivisionError

    on_batch_done = on_record_failed = on_record_orphaned = on_dead_letter_failed = on_batch_sent


async def test_it_sees_each_request_leave_and_come_back(open_sink: OpenSink, provider: Scripted) -> None:
    observer = Recorder()
    sink = await open_sink(provider, Policy(on_unknown="fail"), observer=observer)
    for record in ("q/a", "q/b", "q/c", "q/d"):
        sink.put(record)
    request = await provider.request()
    await asyncio.sleep(2)
    request.answer(True, THROTTLED, REJECTED, UNKNOWN)
    await tick()
    sent, rejected, unknown, done = observer.events[:4]
    assert sent == BatchSent(sink="scripted", target="q", records=4, bytes=4, reason="idle", in_flight=1)
    assert done == BatchDone(
        sink="scripted",
        target="q",
        records=4,
        delivered=1,
        retried=1,
        rejected=1,
        unknown=1,
        throttled=True,
        refused=False,
        seconds=2,
        error=None,
    )
    assert (rejected.error.outcome, unknown.error.outcome) == (Outcome.NOT_WRITTEN, Outcome.UNKNOWN)


async def test_it_sees_a_request_without_an_answer(open_sink: OpenSink, provider: Scripted) -> None:
    observer = Recorder()
    sink = await open_sink(provider, observer=observer)
    sink.put("a")
    error = OSError("gone")
    (await provider.request()).fail(error)
    await tick()
    done = observer.events[-1]
    assert (done.unknown, done.error, done.throttled) == (1, error, False)


async def test_it_sees_a_refusal(open_sink: OpenSink, provider: Scripted) -> None:
    observer = Recorder()
    sink = await open_sink(provider, observer=observer)
    sink.put("a")
    sink.put("b")
    (await provider.request()).refuse()
    await tick()
    done, part = observer.events[1:3]
    assert (done.refused, done.records, done.delivered, done.rejected) == (True, 2, 0, 0)
    assert (part.reason, part.records) == ("isolation", 1)


async def test_an_observer_that_raises_is_logged_and_harms_nothing(
    open_sink: OpenSink, provider: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    def bury(letter: Any) -> None:
        raise OSError

    sink = await open_sink(provider, observer=Raising(), dead_letter=bury)
    sink.put("gone").cancel()
    kept = sink.put("kept")
    sink.put("bad")
    (await provider.request()).answer(True, True, REJECTED)
    assert (await kept).record == "kept"
    await tick()
    methods = ("batch_sent", "batch_done", "record_failed", "record_orphaned", "dead_letter_failed")
    assert [f"on_{method} raised; delivery goes on" in caplog.text for method in methods] == [True] * 5
    assert sink.stats().pending_records == 0


async def test_an_observer_that_puts_into_its_own_sink_does_not_upset_it(
    open_sink: OpenSink, provider: Scripted
) -> None:
    class Echo(Observer):
        def on_record_failed(self, event: RecordFailed) -> None:
            if not str(event.error.record).startswith("echo"):
                sink.put(f"echo {event.error.record}")

    sink = await open_sink(provider, observer=Echo())
    sink.put("a")
    sink.put("b")
    (await provider.request()).answer(REJECTED, REJECTED)
    assert (await provider.request()).records == ["echo a", "echo b"]


def test_an_observer_that_overrides_nothing_takes_every_event() -> None:
    observer = Observer()
    for method in ("batch_sent", "batch_done", "record_failed", "record_orphaned", "dead_letter_failed"):
        getattr(observer, f"on_{method}")(None)


async def test_counters_are_there_without_an_observer(open_sink: OpenSink, provider: Scripted) -> None:
    def bury(letter: Any) -> None:
        raise OSError

    sink = await open_sink(provider, Policy(on_unknown="fail"), dead_letter=bury)
    sink.put("gone").cancel()
    for record in "abc":
        sink.put(record)
    (await provider.request()).refuse(suspect=0)
    (await provider.request()).deliver()
    (await provider.request()).answer(THROTTLED)
    (await provider.request()).answer(REJECTED, UNKNOWN)
    await tick()
    stats = sink.stats()
    assert (stats.delivered, stats.not_written, stats.unknown, stats.orphaned) == (1, 1, 1, 1)
    assert (stats.requests, stats.records_sent, stats.retries, stats.throttles, stats.refusals) == (4, 8, 1, 1, 1)
    assert (stats.sealed, stats.dead_letters_failed) == ({"idle": 1, "isolation": 3}, 2)


async def test_what_was_counted_is_still_told_after_close(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, dead_letter=lambda _: None)
    sink.put("a")
    (await provider.request()).answer(REJECTED)
    await sink.close()
    assert sink.stats() == SinkStats(
        not_written=1,
        requests=1,
        records_sent=1,
        sealed={"idle": 1},
        dead_letters=1,
        fill=0.1,
        concurrency=8,
        bytes_sent=1,
        fill_bytes=1 / (16 * 1024 * 1024),
    )


async def test_a_retry_counts_as_one_however_many_requests_follow(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    delivery = sink.put("a")
    (await provider.request()).answer(RETRY)
    (await provider.request()).answer(RETRY)
    (await provider.request()).deliver()
    assert (await delivery).attempts == 3
    assert sink.stats().retries == 2
