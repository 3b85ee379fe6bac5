"""Close refuses what is new, delivers what it can in its time, and reports; however often it is called."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import (
    Backoff,
    Outcome,
    Policy,
    Sink,
    SinkClosed,
)
from tests.core.scripted import REJECTED, RETRY, Scripted, tick

if TYPE_CHECKING:
    from tests.core.conftest import OpenSink


async def outcome_of(delivery: asyncio.Future[Any]) -> Any:
    return (await asyncio.gather(delivery, return_exceptions=True))[0]


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_it_delivers_everything_and_says_so(provider: Scripted) -> None:
    provider.answers_at_once = True
    async with Sink(provider) as sink:
        deliveries = [sink.put(str(number)) for number in range(25)]
    assert all(delivery.done() for delivery in deliveries)
    report = await sink.close()
    assert (report.delivered, report.not_written, report.unknown, report.abandoned) == (25, 0, 0, 0)
    assert provider.times_closed == 1


async def test_its_report_counts_every_record_once(provider: Scripted) -> None:
    sink = Sink(provider, Policy(max_records=4, on_unknown="fail"))
    await sink.open()
    deliveries = [sink.put(record) for record in "abcd"]
    request = await provider.request()
    request.answer(True, REJECTED, RETRY, "nonsense")
    await tick()
    report = await sink.close(timeout=0)
    assert (report.delivered, report.not_written, report.unknown, report.abandoned) == (1, 2, 1, 1)
    assert (report.unfinished_requests, report.dead_letters_failed, report.seconds) == (0, 0, 0)
    await asyncio.gather(*deliveries, return_exceptions=True)


async def test_it_retries_until_its_time_is_up(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(backoff=Backoff(base=1, jitter="none")))
    delivery = sink.put("a")
    closing = asyncio.ensure_future(sink.close(timeout=3))
    (await provider.request()).answer(RETRY)
    (await provider.request()).deliver()
    report = await closing
    assert (report.delivered, report.seconds) == (1, 2)
    assert (await delivery).attempts == 2


async def test_who_waits_for_room_is_refused(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_records=1, max_pending_records=1))
    accepted = sink.put("a")
    waiting = [sink.put("b"), asyncio.ensure_future(sink.submit("c")), asyncio.ensure_future(sink.put_many(["d"]))]
    cancelled = sink.put("e")
    await tick()
    cancelled.cancel()
    closing = asyncio.ensure_future(sink.close())
    (await provider.request()).deliver()
    report = await closing
    refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(refused[0], SinkClosed)
    assert isinstance(refused[1], SinkClosed)
    assert isinstance(refused[2][0], SinkClosed)
    assert "is closing, the record was not accepted" in str(refused[0])
    assert (report.delivered, (await accepted).record) == (1, "a")


async def test_a_closing_sink_accepts_nothing(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    sink.put("a")
    closing = asyncio.ensure_future(sink.close())
    await tick()
    assert "closing" in repr(sink)
    with pytest.raises(SinkClosed, match="scripted: the sink is closed, the record was not accepted"):
        sink.put("b")
    with pytest.raises(SinkClosed):
        sink.put_nowait("b")
    with pytest.raises(SinkClosed):
        await sink.submit("b")
    with pytest.raises(SinkClosed):
        sink.stream(["b"])
    provider.requests[0].deliver()
    await closing


async def test_a_closed_sink_accepts_nothing(provider: Scripted) -> None:
    async with Sink(provider) as sink:
        pass
    with pytest.raises(SinkClosed):
        sink.put("a")
    with pytest.raises(SinkClosed):
        await sink.flush()
    with pytest.raises(SinkClosed):
        sink.resume("a")


async def test_closing_twice_gives_the_same_report(open_sink: OpenSink, provider: Scripted) -> None:
    provider.answers_at_once = True
    sink = await open_sink(provider)
    await sink.put("a")
    assert await sink.close() is await sink.close()
    assert provider.times_closed == 1


async def test_closing_at_once_from_many_places_gives_all_the_same_report(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider)
    sink.put("a")
    closings = [asyncio.ensure_future(sink.close()) for _ in range(3)]
    (await provider.request()).deliver()
    reports = await asyncio.gather(*closings)
    assert reports[0] is reports[1] is reports[2]
    assert provider.times_closed == 1


async def test_the_shortest_timeout_counts(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    delivery = sink.put("a")
    closings = [asyncio.ensure_future(sink.close(timeout=timeout)) for timeout in (9, 2, 8)]
    reports = await asyncio.gather(*closings)
    assert (reports[0].seconds, now()) == (2, 2)
    assert (await outcome_of(delivery)).outcome is Outcome.UNKNOWN


async def test_a_timeout_that_is_over_may_be_shortened_again(open_sink: OpenSink) -> None:
    provider = Scripted(stubborn=True)
    sink = await open_sink(provider)
    sink.put("a").add_done_callback(lambda delivery: delivery.exception())
    await tick()
    first = asyncio.ensure_future(sink.close(timeout=0))
    await tick()
    second = asyncio.ensure_future(sink.close(timeout=-1))
    await tick()
    provider.answer_all()
    assert (await first).seconds == 0
    assert await first is await second


async def test_a_waiter_cancelled_in_the_tick_of_the_close_stays_cancelled(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(max_records=1, max_pending_records=1))
    sink.put("a").add_done_callback(lambda delivery: delivery.exception())
    waiting = sink.put("b")
    waiting.cancel()
    await sink.close(timeout=0)
    assert waiting.cancelled()


async def test_without_a_timeout_it_takes_no_longer_than_delivery_timeout(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(delivery_timeout=7, attempt_timeout=7))
    delivery = sink.put("a")
    await asyncio.sleep(1)
    await sink.close()
    assert now() <= 8
    assert (await outcome_of(delivery)).outcome is Outcome.UNKNOWN


async def test_a_timeout_without_an_end_takes_no_longer_than_delivery_timeout(
    open_sink: OpenSink, provider: Scripted
) -> None:
    # An AssertionError, with every record ended and the connection open.
    sink = await open_sink(provider, Policy(delivery_timeout=7, attempt_timeout=7))
    delivery = sink.put("a")
    assert (await sink.close(timeout=math.inf)).unknown == 1
    assert (now(), provider.times_closed) == (7, 1)
    assert (await outcome_of(delivery)).outcome is Outcome.UNKNOWN


async def test_one_closers_cancellation_does_not_cancel_the_other(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    sink.put("a").add_done_callback(lambda delivery: delivery.exception())
    closings = [asyncio.ensure_future(sink.close()) for _ in range(2)]
    await tick()
    closings[0].cancel()
    outcomes = await asyncio.gather(*closings, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert (outcomes[1].unknown, outcomes[1].abandoned) == (1, 1)


async def test_a_sink_that_was_never_opened_closes_at_once(provider: Scripted) -> None:
    sink = Sink(provider)
    report = await sink.close()
    assert (report.delivered, provider.times_closed) == (0, 0)
    assert await sink.close() is report


async def test_an_exception_inside_async_with_passes_through_and_closes(provider: Scripted) -> None:
    provider.answers_at_once = True
    sink = Sink(provider)

    async def fail_inside() -> asyncio.Future[Any]:
        async with sink:
            sink.put("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_inside()
    assert (sink.stats().delivered, provider.times_closed) == (1, 1)


async def test_a_destination_that_fails_to_close_is_logged_and_harms_nothing(
    open_sink: OpenSink, provider: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    async def aclose() -> None:
        raise OSError("already gone")

    provider.aclose = aclose  # type: ignore[method-assign]
    sink = await open_sink(provider)
    assert (await sink.close()).delivered == 0
    assert "closing the connection failed; every record has its outcome" in caplog.text


async def test_a_destination_that_hangs_while_it_closes_is_given_up(
    open_sink: OpenSink, provider: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    async def aclose() -> None:
        await asyncio.sleep(3600)

    provider.aclose = aclose  # type: ignore[method-assign]
    sink = await open_sink(provider)
    await sink.close()
    assert now() == 5
    assert "was given up" in caplog.text
