"""When the time to close is up, every record still gets a true outcome, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import (
    Backoff,
    DeliveryAbandoned,
    DeliveryError,
    Limits,
    Outcome,
    Policy,
    Rate,
    Sink,
)
from tests.core.scripted import REJECTED, RETRY, Scripted, other_tasks, tick, timers

if TYPE_CHECKING:
    from sinkwell.core import DeadLetter
    from tests.core.conftest import OpenSink


async def outcome_of(delivery: asyncio.Future[Any]) -> Any:
    return (await asyncio.gather(delivery, return_exceptions=True))[0]


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_what_never_left_when_the_time_is_up_is_not_written(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(concurrency=1, max_records=1))
    sent, kept = sink.put("a"), sink.put("b")
    report = await sink.close(timeout=3)
    assert now() == 3
    assert provider.sent == [["a"]]
    sent_outcome, kept_outcome = await outcome_of(sent), await outcome_of(kept)
    assert (sent_outcome.outcome, kept_outcome.outcome) == (Outcome.UNKNOWN, Outcome.NOT_WRITTEN)
    assert isinstance(kept_outcome, DeliveryAbandoned)
    assert (report.unknown, report.not_written, report.abandoned) == (1, 1, 2)


async def test_what_waits_for_its_backoff_when_the_time_is_up_is_not_written(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(backoff=Backoff(base=10, cap=10)))
    delivery = sink.put("k:1")
    (await provider.request()).answer(RETRY)
    await tick()
    behind = sink.put("k:2")
    await sink.close(timeout=1)
    assert [(await outcome_of(d)).outcome for d in (delivery, behind)] == [Outcome.NOT_WRITTEN] * 2
    assert len(provider.requests) == 1


async def test_the_last_word_of_a_cancelled_request_decides(open_sink: OpenSink) -> None:
    provider = Scripted(stubborn=True)
    sink = await open_sink(provider)
    deliveries = [sink.put(record) for record in "abc"]
    request = await provider.request()
    asyncio.get_running_loop().call_at(2, request.answer, True, RETRY, REJECTED)
    report = await sink.close(timeout=1)
    outcomes = [await outcome_of(delivery) for delivery in deliveries]
    assert [outcome.attempts for outcome in outcomes] == [1, 1, 1]
    assert [isinstance(outcome, DeliveryError) for outcome in outcomes] == [False, True, True]
    assert {outcome.outcome for outcome in outcomes[1:]} == {Outcome.NOT_WRITTEN}
    assert (report.delivered, report.not_written, report.unfinished_requests, report.seconds) == (1, 2, 0, 2)


async def test_a_request_that_is_refused_after_its_cancellation_is_not_searched_for_the_culprit(
    open_sink: OpenSink,
) -> None:
    # Its records were left to a retry that nobody waited for: a request after the end, and a task left behind.
    provider = Scripted(stubborn=True)
    sink = await open_sink(provider)
    deliveries = [sink.put(record) for record in ("a", "k:1", "k:2")]
    request = await provider.request()
    asyncio.get_running_loop().call_at(2, request.refuse)
    report = await sink.close(timeout=1)
    assert [(await outcome_of(delivery)).outcome for delivery in deliveries] == [Outcome.NOT_WRITTEN] * 3
    assert (report.abandoned, report.seconds, len(provider.requests)) == (3, 2, 1)


async def test_a_lone_record_that_is_refused_after_its_cancellation_is_rejected(open_sink: OpenSink) -> None:
    provider = Scripted(stubborn=True)
    sink = await open_sink(provider)
    delivery = sink.put("a")
    request = await provider.request()
    asyncio.get_running_loop().call_at(2, request.refuse)
    await sink.close(timeout=1)
    assert (await outcome_of(delivery)).reason == "rejected"
    assert (await outcome_of(delivery)).outcome is Outcome.NOT_WRITTEN


async def test_a_refused_batch_of_which_a_part_waits_is_ended_truthfully(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(rate=Rate(requests=0.1)))
    deliveries = [sink.put(record) for record in "ab"]
    (await provider.request()).refuse()
    await tick()
    report = await sink.close(timeout=1)
    assert (report.not_written, report.seconds, len(provider.requests)) == (2, 1, 1)
    assert [(await outcome_of(delivery)).attempts for delivery in deliveries] == [0, 0]


async def test_a_client_that_will_not_stop_holds_nobody_up_for_ever(
    open_sink: OpenSink, caplog: pytest.LogCaptureFixture
) -> None:
    provider = Scripted(stubborn=True)
    sink = await open_sink(provider, Policy(concurrency=1, linger=60))
    delivery = sink.put("a")
    await tick()
    behind = sink.put("b")
    await tick()
    report = await sink.close(timeout=1)
    assert (now(), timers()) == (6, [])
    assert (report.unknown, report.not_written, report.unfinished_requests) == (1, 1, 1)
    assert (await outcome_of(delivery)).outcome is Outcome.UNKNOWN
    assert (await outcome_of(behind)).outcome is Outcome.NOT_WRITTEN
    assert "1 requests did not stop within 5.0 s" in caplog.text
    provider.requests[0].deliver()
    await tick()


async def test_a_cancelled_close_resolves_everything_before_it_raises(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(concurrency=1, max_records=1))
    sent, kept = sink.put("a"), sink.put("b")
    closing = asyncio.ensure_future(sink.close())
    await asyncio.sleep(1)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert sent.done()
    assert kept.done()
    assert now() == 1
    assert provider.times_closed == 1
    assert (await outcome_of(sent)).outcome is Outcome.UNKNOWN
    assert (await outcome_of(kept)).outcome is Outcome.NOT_WRITTEN


async def test_a_loop_that_cancels_every_task_leaves_no_record_without_an_outcome(
    provider: Scripted,
) -> None:
    sink = Sink(provider, Policy(concurrency=1, max_records=1))
    await sink.open()
    deliveries = [sink.put("a"), sink.put("b")]
    closing = asyncio.ensure_future(sink.close())
    await tick()
    for task in other_tasks():
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert all(delivery.done() for delivery in deliveries)
    assert [(await outcome_of(delivery)).outcome for delivery in deliveries] == [
        Outcome.UNKNOWN,
        Outcome.NOT_WRITTEN,
    ]


async def test_close_after_a_closing_that_was_cancelled_reports_what_became_of_every_record(provider: Scripted) -> None:
    sink = Sink(provider, Policy(concurrency=1, max_records=1))
    await sink.open()
    deliveries = [sink.put("a"), sink.put("b")]
    closing = asyncio.ensure_future(sink.close())
    await asyncio.sleep(1)
    for task in other_tasks():
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    report = await sink.close()
    assert (report.unknown, report.not_written, report.abandoned, report.seconds) == (1, 1, 2, 1)
    await asyncio.gather(*deliveries, return_exceptions=True)


async def test_a_loop_that_cancels_every_task_has_each_dead_letter_handed_on_or_reported(provider: Scripted) -> None:
    taken: list[object] = []

    async def hand_on(letter: DeadLetter) -> None:
        taken.append(letter.record)
        await asyncio.sleep(3600 if letter.record == "b" else 0)

    sink = Sink(provider, Policy(concurrency=1, max_records=1), dead_letter=hand_on)
    await sink.open()
    for record in "abc":
        sink.put(record)
    closing = asyncio.ensure_future(sink.close())
    await tick()
    for task in other_tasks():
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert other_tasks() == set()
    assert sink.stats().dead_letters + sink.stats().dead_letters_failed == 3


async def test_closing_that_is_cancelled_before_its_first_step_closes_the_connection(provider: Scripted) -> None:
    sink = Sink(provider)
    await sink.open()
    closing = asyncio.ensure_future(sink.close())
    await asyncio.sleep(0)
    for task in other_tasks() - {closing}:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert provider.times_closed == 1
    assert (other_tasks(), timers()) == (set(), [])


async def test_a_second_close_waits_while_a_closing_that_was_cancelled_before_its_first_step_is_ended(
    provider: Scripted,
) -> None:
    # It returned at once, with the connection and the letters still open.
    async def aclose() -> None:
        await asyncio.sleep(1)
        provider.times_closed += 1

    provider.aclose = aclose  # type: ignore[method-assign]
    sink = Sink(provider)
    await sink.open()
    first = asyncio.ensure_future(sink.close())
    await asyncio.sleep(0)
    for task in other_tasks() - {first}:
        task.cancel()
    await asyncio.sleep(0.5)
    assert (await sink.close()).seconds == now() == 1
    assert provider.times_closed == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_it_leaves_no_task_no_timer_and_no_future(provider: Scripted) -> None:
    gc.collect()
    before = {id(thing) for thing in gc.get_objects() if isinstance(thing, asyncio.Future)}
    policy = Policy(linger=5, rate=Rate(requests=1), backoff=Backoff(base=9, cap=9), concurrency=2, max_records=2)
    provider.limits = Limits(records=2)
    sink = Sink(provider, policy)
    await sink.open()
    deliveries = [sink.put(record) for record in ("a", "k:1", "k:2", "q/b", "q/c", "q/d")]
    (await provider.request()).answer(RETRY, RETRY)
    await provider.request()
    await sink.close(timeout=0)
    await tick()
    assert await asyncio.gather(*deliveries, return_exceptions=True)
    assert (other_tasks(), timers()) == (set(), [])
    before |= {id(asyncio.current_task()), *(id(request._answer) for request in provider.requests)}
    futures = [thing for thing in gc.get_objects() if isinstance(thing, asyncio.Future) and id(thing) not in before]
    assert [future for future in futures if not future.done()] == []
