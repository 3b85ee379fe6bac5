"""A request that is refused whole because of one record: the culprit is found, and the innocent are written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sinkwell.core import BatchRefused, DeliveryRejected, Limits, Policy, Rate
from sinkwell.core.testing import FakeDestination, FaultPlan
from tests.core.scripted import RETRY, Scripted, ScriptedError, tick

if TYPE_CHECKING:
    from tests.core.conftest import OpenSink


async def test_the_culprit_alone_is_rejected_and_the_innocent_are_written(open_sink: OpenSink) -> None:
    provider = FakeDestination(is_bad=lambda record: record == 6)
    sink = await open_sink(provider)
    outcomes = await sink.put_many(range(10))
    assert [index for index, outcome in enumerate(outcomes) if isinstance(outcome, DeliveryRejected)] == [6]
    assert sorted(line.record for line in provider.log) == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert str(outcomes[6].__cause__) == "one of the records is bad"


async def test_an_innocent_is_never_charged_an_attempt(open_sink: OpenSink) -> None:
    provider = FakeDestination(is_bad=lambda record: record in (2, 7))
    sink = await open_sink(provider, Policy(max_attempts=1))
    outcomes = await sink.put_many(range(10))
    assert {outcome.attempts for outcome in outcomes} == {1}
    assert sink.stats().delivered == 8


async def test_the_named_suspect_goes_alone_and_first(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    deliveries = [sink.put(record) for record in "abcd"]
    (await provider.request()).refuse(suspect=2)
    (await provider.request()).refuse()
    (await provider.request()).deliver()
    assert provider.sent[1:] == [["c"], ["a", "b", "d"]]
    outcomes = await asyncio.gather(*deliveries, return_exceptions=True)
    assert [isinstance(outcome, DeliveryRejected) for outcome in outcomes] == [False, False, True, False]


async def test_isolation_stays_in_its_slot(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(concurrency=1, max_records=2))
    for record in "abc":
        sink.put(record)
    (await provider.request()).refuse()
    (await provider.request()).deliver()
    await tick()
    assert provider.sent == [["a", "b"], ["a"], ["c"]]  # b was the culprit, by deduction


async def test_isolation_says_why_its_parts_leave(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    sink.put("a")
    sink.put("b")
    (await provider.request()).refuse()
    assert (await provider.request()).reason == "isolation"
    assert sink.stats().refusals == 1


async def test_a_lone_record_that_is_refused_is_rejected_with_the_providers_error(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider)
    delivery = sink.put("a")
    (await provider.request()).refuse()
    with pytest.raises(DeliveryRejected) as caught:
        await delivery
    assert isinstance(caught.value.__cause__, ScriptedError)
    assert caught.value.attempts == 1


async def test_a_refusal_without_a_cause_is_its_own_cause(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    delivery = sink.put("a")
    (await provider.request()).fail(BatchRefused())
    with pytest.raises(DeliveryRejected) as caught:
        await delivery
    assert isinstance(caught.value.__cause__, BatchRefused)


async def test_a_part_that_fails_otherwise_goes_again_by_the_usual_way(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider)
    deliveries = [sink.put(record) for record in "abcd"]
    (await provider.request()).refuse()
    (await provider.request()).answer(RETRY, True)  # a, b: whether c, d hold the culprit is not known any more
    (await provider.request()).deliver()
    (await provider.request()).deliver()
    assert provider.sent[1:] == [["a", "b"], ["c", "d"], ["a"]]
    assert [outcome.attempts for outcome in await asyncio.gather(*deliveries)] == [2, 1, 1, 1]


async def test_what_follows_a_retry_of_its_key_does_not_overtake_it_in_isolation(
    open_sink: OpenSink, provider: Scripted
) -> None:
    sink = await open_sink(provider)
    for record in ("k:1", "x", "k:2", "y"):
        sink.put(record)
    whole = await provider.request()
    assert whole.records == ["k:1", "k:2", "x", "y"]
    whole.refuse()
    first = await provider.request()
    assert first.records == ["k:1", "k:2"]
    first.refuse()
    (await provider.request()).answer(RETRY)  # k:1 alone
    assert (await provider.request()).records == ["x", "y"]
    await tick()
    provider.requests[-1].deliver()
    assert (await provider.request()).records == ["k:1", "k:2"]


async def test_the_order_of_a_key_survives_isolation(open_sink: OpenSink) -> None:
    for keys_repeat in (True, False):
        provider = FakeDestination(
            limits=Limits(records=8, keys_repeat=keys_repeat),
            plan=FaultPlan(throttle=0.2, names_suspect=0.5, wrong_suspect=0.5),
            key_of=lambda record: record % 3,
            is_bad=lambda record: record % 10 == 9,
        )
        sink = await open_sink(provider)
        await sink.put_many(range(100))
        for key in range(3):
            written = [line.record for line in provider.log if line.key == key]
            assert written == [record for record in range(100) if record % 3 == key and record % 10 != 9]


async def test_isolation_keeps_to_the_rate(open_sink: OpenSink, provider: Scripted) -> None:
    sink = await open_sink(provider, Policy(rate=Rate(requests=1)))
    sink.put("a")
    sink.put("b")
    (await provider.request()).refuse()
    part = await provider.request()
    assert (part.records, part.sent_at) == (["a"], 1)


async def test_two_isolations_share_the_rate(open_sink: OpenSink, provider: Scripted) -> None:
    # Both waited for the same moment, and both left at it.
    sink = await open_sink(provider, Policy(rate=Rate(requests=1), max_records=2))
    for record in "abcd":
        sink.put(record)
    first, second = await provider.request(), await provider.request()
    assert (first.sent_at, second.sent_at) == (0, 1)
    first.refuse()
    second.refuse()
    parts = [await provider.request(), await provider.request()]
    assert [part.sent_at for part in parts] == [2, 3]
