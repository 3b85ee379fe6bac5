"""No attempt and no record takes longer than it may, wherever it is, and what is told of it is true."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Backoff, DeliveryError, DeliveryExpired, Outcome, Policy, Rate
from tests.core.scripted import RETRY, Scripted, other_tasks, tick

if TYPE_CHECKING:
    from tests.core.conftest import OpenSink

TEN = Policy(delivery_timeout=10, attempt_timeout=10, linger=0, on_unknown="fail")


async def expired(delivery: asyncio.Future[Any], *, at: float) -> DeliveryExpired:
    with pytest.raises(DeliveryExpired, match=r"delivery_timeout \(10 s\)") as caught:
        await delivery
    assert asyncio.get_running_loop().time() == pytest.approx(at)
    return caught.value


async def test_a_record_that_waits_for_a_slot_expires_as_not_written(open_sink: OpenSink, provider: Scripted) -> None:
    provider.stubborn = True
    sink = await open_sink(provider, Policy(concurrency=1, delivery_timeout=10))
    first = sink.put("a")
    await asyncio.sleep(1)
    error = await asyncio.gather(expired(first, at=10), expired(sink.put("b"), at=11))
    assert [(e.outcome, e.attempts) for e in error] == [(Outcome.UNKNOWN, 1), (Outcome.NOT_WRITTEN, 0)]
    provider.requests[0].deliver()


async def test_a_record_behind_its_key_expires_as_not_written(open_sink: OpenSink, provider: Scripted) -> None:
    provider.stubborn = True
    sink = await open_sink(provider, TEN)
    sink.put("a:1").add_done_callback(lambda delivery: delivery.exception())
    await tick()
    followers = [sink.put("a:2"), sink.put("a:3")]
    for follower in followers:
        assert (await expired(follower, at=10)).outcome is Outcome.NOT_WRITTEN
    provider.requests[0].deliver()
    await tick()
    assert sink.stats().targets == 0


async def test_only_the_late_ones_of_a_lane_expire(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(delivery_timeout=10, linger=0, backoff=Backoff(base=4, jitter="none")))
    first = sink.put("a:1")
    (await provider.request()).answer(RETRY)
    await asyncio.sleep(1)
    second, third = sink.put("a:2"), sink.put("a:3")
    again = await provider.request()
    assert again.records == ["a:1", "a:2", "a:3"]
    again.answer(True, RETRY, True)
    await asyncio.gather(first, third)
    await expired(second, at=8)  # its next attempt would come too late, so it is told now


async def test_a_record_in_backoff_expires_as_not_written(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(delivery_timeout=10, backoff=Backoff(base=9, cap=9), on_failure="block"))
    delivery = sink.put("a:1")
    (await provider.request()).answer(RETRY)
    await tick()
    asyncio.get_running_loop().stall(20)  # type: ignore[attr-defined]
    error = await expired(delivery, at=20)
    assert (error.outcome, error.attempts) == (Outcome.NOT_WRITTEN, 1)
    assert (sink.stats().retrying, len(provider.requests)) == (0, 1)


@pytest.mark.parametrize("ends_by", ["its deadline in the queue", "its deadline on the wire", "close in its backoff"])
async def test_wherever_a_record_ends_its_cause_is_what_the_provider_said_last(
    open_sink: OpenSink, provider: Scripted, ends_by: str
) -> None:
    policy = replace(TEN, concurrency=1, max_records=1, backoff=Backoff(base=1, cap=1))
    sink = await open_sink(provider, policy)
    delivery = sink.put("a")
    (await provider.request()).answer(RETRY)
    await tick()
    if ends_by == "its deadline in the queue":
        sink.put("b")
    if ends_by == "close in its backoff":
        await sink.close(timeout=0)
    with pytest.raises(DeliveryError) as caught:
        await delivery
    assert caught.value.__cause__ is RETRY.error


async def test_a_retry_that_would_come_too_late_is_not_waited_for(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(delivery_timeout=10, backoff=Backoff(base=10, cap=10)))
    delivery = sink.put("a")
    (await provider.request()).answer(RETRY)
    await expired(delivery, at=0)


async def test_a_record_on_the_wire_expires_as_unknown(open_sink: OpenSink, provider: Scripted) -> None:
    provider.stubborn = True
    sink = await open_sink(provider, TEN)
    error = await expired(sink.put("a"), at=10)
    assert (error.outcome, error.attempts) == (Outcome.UNKNOWN, 1)
    provider.requests[0].deliver()


async def test_a_late_answer_changes_nothing(open_sink: OpenSink, provider: Scripted) -> None:
    provider.stubborn = True
    sink = await open_sink(provider, TEN)
    await expired(sink.put("a"), at=10)
    provider.requests[0].deliver()
    await tick()
    stats = sink.stats()
    assert (stats.delivered, stats.unknown, stats.pending_records, stats.requests_in_flight) == (0, 1, 0, 0)


async def test_a_record_held_in_isolation_expires_as_not_written(open_sink: OpenSink, provider: Scripted) -> None:
    provider.stubborn = True
    sink = await open_sink(provider, TEN)
    a, b = sink.put("a"), sink.put("b")
    request = await provider.request()
    request.refuse()
    part = await provider.request()
    assert part.records == ["a"]
    errors = await asyncio.gather(expired(a, at=10), expired(b, at=10))
    assert [error.outcome for error in errors] == [Outcome.UNKNOWN, Outcome.NOT_WRITTEN]
    part.deliver()
    await tick()
    assert (len(provider.requests), sink.stats().requests_in_flight) == (2, 0)


async def test_a_culprit_that_expired_meanwhile_is_not_told_twice(open_sink: OpenSink, provider: Scripted) -> None:
    provider.stubborn = True
    sink = await open_sink(provider, TEN)
    delivery = sink.put("a")
    request = await provider.request()
    await expired(delivery, at=10)
    request.refuse()
    await tick()
    assert (sink.stats().not_written, sink.stats().unknown) == (0, 1)


async def test_a_part_of_a_refused_batch_that_expires_while_it_waits_for_the_rate_is_not_sent(
    open_sink: OpenSink, provider: Scripted
) -> None:
    policy = Policy(delivery_timeout=10, rate=Rate(requests=1 / 20), attempt_timeout=10)
    sink = await open_sink(provider, policy)
    a, b = sink.put("a"), sink.put("b")
    (await provider.request()).refuse()
    await asyncio.gather(expired(a, at=10), expired(b, at=10))
    await asyncio.sleep(60)
    assert (len(provider.requests), sink.stats().requests_in_flight) == (1, 0)


async def test_a_record_that_waits_for_the_rate_expires_as_not_written(open_sink: OpenSink, provider: Scripted) -> None:
    provider.answers_at_once = True
    sink = await open_sink(provider, Policy(delivery_timeout=10, rate=Rate(requests=1 / 20)))
    await sink.put("a")
    assert (await expired(sink.put("b"), at=10)).outcome is Outcome.NOT_WRITTEN
    await asyncio.sleep(60)
    assert provider.sent == [["a"]]


async def test_each_record_has_its_own_deadline(open_sink: OpenSink, provider: Scripted) -> None:
    provider.stubborn = True
    sink = await open_sink(provider, TEN)
    first = sink.put("a")
    await asyncio.sleep(3)
    second = sink.put("b")
    await asyncio.sleep(3)
    provider.requests[0].deliver()
    await first
    await expired(second, at=13)
    provider.requests[1].deliver()


async def test_an_attempt_without_an_answer_is_given_up_at_attempt_timeout(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(attempt_timeout=3, on_unknown="fail"))
    with pytest.raises(DeliveryError) as caught:
        await sink.put("a")
    assert asyncio.get_running_loop().time() == 3
    assert provider.requests[0].was_cancelled
    assert caught.value.outcome is Outcome.UNKNOWN
    assert repr(caught.value.__cause__) == "TimeoutError('no answer within attempt_timeout (3 s)')"


async def test_a_request_cancelled_before_its_first_step_was_no_attempt(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider)
    delivery = sink.put("a")
    await asyncio.sleep(0)
    for task in other_tasks():
        task.cancel()
    await tick()
    assert provider.requests == []
    (await provider.request()).deliver()
    assert (await delivery).attempts == 1


async def test_only_the_attempt_that_took_too_long_is_said_to_have(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(attempt_timeout=2, max_records=4, on_unknown="fail"))
    deliveries = [sink.put(record) for record in "abcd"]
    (await provider.request()).refuse()
    await provider.request()
    await asyncio.sleep(3)
    assert provider.sent[2] == ["c", "d"]
    await sink.close(timeout=0)
    errors = await asyncio.gather(*deliveries, return_exceptions=True)
    assert ["attempt_timeout" in str(error.__cause__) for error in errors] == [True, True, False, False]


async def test_an_attempt_that_was_given_up_goes_again(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(attempt_timeout=3))
    delivery = sink.put("a")
    await provider.request()
    (await provider.request()).deliver()
    assert (await delivery).attempts == 2


async def test_a_client_that_answers_after_its_cancellation_is_believed(
    open_sink: OpenSink, provider: Scripted
) -> None:
    provider.stubborn = True
    sink = await open_sink(provider, Policy(attempt_timeout=3))
    delivery = sink.put("a")
    await asyncio.sleep(5)
    assert provider.requests[0].was_cancelled
    provider.requests[0].deliver()
    assert (await delivery).attempts == 1


async def test_a_record_that_waits_for_room_has_no_deadline_yet(open_sink: OpenSink, provider: Scripted) -> None:
    provider.stubborn = True
    policy = Policy(max_records=1, max_pending_records=1, delivery_timeout=10)
    sink = await open_sink(provider, policy)
    first, second = sink.put("a"), sink.put("b")
    await expired(first, at=10)
    await expired(second, at=20)
    for request in provider.requests:
        request.deliver()
