"""What failed goes again, alone, when its backoff ends; meanwhile it is in nobody's way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Backoff, DeliveryError, DeliveryExpired, DeliveryRejected, Outcome, Policy, Retry
from tests.core.scripted import REJECTED, RETRY, THROTTLED, UNKNOWN, Scripted, ScriptedError, tick

if TYPE_CHECKING:
    from tests.core.conftest import OpenSink

# The n-th wait is 2 ** n seconds, exactly.
EXACT = Backoff(base=1, cap=64, jitter="none")


async def test_only_what_failed_goes_again(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(backoff=EXACT))
    a, b, c = (sink.put(record) for record in "abc")
    (await provider.request()).answer(True, RETRY, True)
    assert [(await a).record, (await c).record] == ["a", "c"]
    again = await provider.request()
    assert (again.records, again.sent_at) == (["b"], 2)
    again.deliver()
    assert (await b).attempts == 2


async def test_a_retry_frees_its_slot_while_it_waits(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(concurrency=1, backoff=EXACT))
    sink.put("a")
    (await provider.request()).answer(RETRY)
    await tick()
    assert (sink.stats().requests_in_flight, sink.stats().retrying) == (0, 1)
    sink.put("b")
    assert (await provider.request()).sent_at == 0


async def test_a_retry_joins_whatever_batch_leaves_next(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(concurrency=1, backoff=EXACT))
    sink.put("a")
    (await provider.request()).answer(RETRY)
    await asyncio.sleep(1)
    sink.put("b")
    sink.put("c")
    request = await provider.request()
    sink.put("d")
    await asyncio.sleep(5)
    request.deliver()
    assert (await provider.request()).records == ["a", "d"]  # what waits longest goes first


async def test_the_wait_doubles_up_to_its_cap(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(backoff=Backoff(base=1, cap=6, jitter="none")))
    sink.put("a")
    sent_at = []
    for _ in range(5):
        request = await provider.request()
        sent_at.append(request.sent_at)
        request.answer(RETRY)
    assert sent_at == [0, 2, 6, 12, 18]


async def test_a_request_that_fails_whole_goes_again_whole(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(backoff=Backoff(jitter="full")))
    for record in "abc":
        sink.put(record)
    (await provider.request()).answer(THROTTLED, THROTTLED, THROTTLED)
    assert (await provider.request()).records == ["a", "b", "c"]
    assert sink.stats().throttles == 1


async def test_the_providers_hint_is_honoured_when_it_is_longer(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(backoff=EXACT))
    sink.put("a")
    (await provider.request()).answer(Retry(ScriptedError("later"), after=30))
    assert (await provider.request()).sent_at == 30


async def test_a_hint_shorter_than_the_backoff_does_not_shorten_it(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(backoff=EXACT))
    sink.put("a")
    (await provider.request()).answer(Retry(ScriptedError("later"), after=0.5))
    assert (await provider.request()).sent_at == 2


async def test_the_earliest_of_several_waits_is_the_one_that_is_kept(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_records=1, backoff=EXACT))
    sink.put("late")
    sink.put("soon")
    (await provider.request()).answer(Retry(ScriptedError("later"), after=50))
    (await provider.request()).answer(Retry(ScriptedError("later"), after=5))
    soon = await provider.request()
    soon.deliver()
    late = await provider.request()
    assert (soon.records, soon.sent_at, late.records, late.sent_at) == (["soon"], 5, ["late"], 50)


async def test_max_attempts_ends_it(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_attempts=2))
    delivery = sink.put("a")
    (await provider.request()).answer(RETRY)
    (await provider.request()).answer(RETRY)
    with pytest.raises(DeliveryExpired, match=r"max_attempts \(2\); 2 attempts, it is not written") as caught:
        await delivery
    assert (caught.value.outcome, caught.value.attempts) == (Outcome.NOT_WRITTEN, 2)
    assert caught.value.__cause__ is RETRY.error


async def test_a_rejected_record_never_goes_again(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    a, b = sink.put("a"), sink.put("b")
    (await provider.request()).answer(REJECTED, True)
    with pytest.raises(DeliveryRejected, match=r"was rejected \(ScriptedError\); 1 attempt, it is not") as caught:
        await a
    assert (caught.value.outcome, caught.value.record) == (Outcome.NOT_WRITTEN, "a")
    assert caught.value.__cause__ is REJECTED.error
    assert (await b).record == "b"


async def test_an_unknown_record_goes_again_if_the_policy_says_so(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(on_unknown="retry"))
    delivery = sink.put("a")
    (await provider.request()).answer(UNKNOWN)
    (await provider.request()).deliver()
    assert (await delivery).attempts == 2


async def test_an_unknown_record_is_told_as_unknown_if_the_policy_says_so(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider, Policy(on_unknown="fail"))
    delivery = sink.put("a")
    (await provider.request()).answer(UNKNOWN)
    with pytest.raises(DeliveryError, match="the provider may have it") as caught:
        await delivery
    assert (caught.value.outcome, caught.value.reason) == (Outcome.UNKNOWN, "unknown")
    assert caught.value.__cause__ is UNKNOWN.error


async def test_what_was_unknown_once_is_never_told_as_not_written(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    delivery = sink.put("a")
    (await provider.request()).answer(UNKNOWN)
    (await provider.request()).answer(REJECTED)
    with pytest.raises(DeliveryRejected) as caught:
        await delivery
    assert caught.value.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([], "scripted answered 0 verdicts for 2 entries"),
        ([RETRY], "scripted answered 1 verdicts for 2 entries"),
        ((RETRY, RETRY, RETRY), "scripted answered 3 verdicts for 2 entries"),
        (None, "scripted answered NoneType for 2 entries"),
        (["written", RETRY], "scripted answered a str, not a verdict"),
        ([None, RETRY], "scripted answered a NoneType, not a verdict"),
    ],
)
async def test_an_answer_that_makes_no_sense_leaves_its_records_unknown(
    open_sink: OpenSink, provider: Scripted, answer: Any, said: str
) -> None:
    sink = await open_sink(provider, Policy(on_unknown="fail"))
    delivery = sink.put("a")
    sink.put("b")
    (await provider.request()).answer_anything(answer)
    with pytest.raises(DeliveryError) as caught:
        await delivery
    assert caught.value.outcome is Outcome.UNKNOWN
    assert str(caught.value.__cause__) == said


async def test_whatever_a_write_raises_leaves_its_records_unknown(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(on_unknown="fail"))
    deliveries = [sink.put("a"), sink.put("b")]
    (await provider.request()).fail(ConnectionResetError("gone"))
    outcomes = await asyncio.gather(*deliveries, return_exceptions=True)
    assert [outcome.outcome for outcome in outcomes] == [Outcome.UNKNOWN] * 2
    assert {repr(outcome.__cause__) for outcome in outcomes} == {"ConnectionResetError('gone')"}


async def test_a_write_that_cancels_itself_leaves_its_records_unknown(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(on_unknown="fail"))
    delivery = sink.put("a")
    (await provider.request()).fail(asyncio.CancelledError())
    with pytest.raises(DeliveryError) as caught:
        await delivery
    assert str(caught.value.__cause__) == "the request was cancelled before its answer came"


async def test_no_message_holds_a_records_content(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    delivery = sink.put("k:secret")
    (await provider.request()).answer(REJECTED)
    with pytest.raises(DeliveryRejected) as caught:
        await delivery
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith("scripted: a record of 1 bytes")


async def test_a_retry_for_which_nothing_was_sent_is_no_attempt(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(max_attempts=1, backoff=EXACT))
    delivery = sink.put("a")
    for after in (4, 5):
        (await provider.request()).answer(Retry(ScriptedError("not now"), after=after, unsent=True))
    request = await provider.request()
    request.deliver()
    assert (request.sent_at, (await delivery).attempts) == (9, 1)


async def test_what_was_never_sent_within_its_time_says_so(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(attempt_timeout=3, delivery_timeout=3, backoff=EXACT))
    delivery = sink.put("a")
    (await provider.request()).answer(Retry(ScriptedError("not now"), after=9, unsent=True))
    with pytest.raises(DeliveryExpired, match="; 0 attempts, it is not written") as caught:
        await delivery
    assert (caught.value.attempts, caught.value.outcome) == (0, Outcome.NOT_WRITTEN)
