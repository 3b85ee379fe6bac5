"""Requests under a rate are spaced evenly, without bursts, in each unit that is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sinkwell.core import Backoff, ConfigError, Encoded, Limits, Policy, Rate, Sink
from sinkwell.core._pace import Pace
from tests.core.scripted import RETRY, Scripted, tick

if TYPE_CHECKING:
    from tests.core.conftest import OpenSink


@pytest.mark.parametrize(
    ("rate", "seconds"),
    [
        (None, float("-inf")),
        (Rate(), 100),
        (Rate(records=10), 100.5),
        (Rate(requests=4), 100.25),
        (Rate(bytes=1_000), 102),
        (Rate(units=4), 107.5),
        (Rate(records=10, requests=4, bytes=1_000, units=4), 107.5),
    ],
)
def test_a_request_holds_the_next_back_by_what_it_cost_in_the_dearest_unit(rate: Rate | None, seconds: float) -> None:
    pace = Pace(rate)
    pace.spend(100, records=5, size=2_000, units=30)
    assert pace.free_at == seconds


def test_costs_add_up_and_idle_time_is_not_saved_up() -> None:
    pace = Pace(Rate(requests=1))
    for now in (0, 0, 50):
        pace.spend(now, records=1, size=1)
    assert pace.free_at == 51


async def test_requests_leave_evenly_spaced(open_sink: OpenSink) -> None:
    provider = Scripted(answers_at_once=True)
    sink = await open_sink(provider, Policy(rate=Rate(requests=4), max_records=1))
    await sink.put_many("abcde")
    assert [request.sent_at for request in provider.requests] == [0, 0.25, 0.5, 0.75, 1]


async def test_a_batch_of_many_records_holds_the_next_back_longer(open_sink: OpenSink) -> None:
    provider = Scripted(answers_at_once=True)
    sink = await open_sink(provider, Policy(rate=Rate(records=2)))
    await sink.put_many(str(number) for number in range(25))
    assert [request.sent_at for request in provider.requests] == [0, 5, 10]


async def test_a_rate_in_units_goes_by_what_each_record_costs(open_sink: OpenSink) -> None:
    provider = Scripted(limits=Limits(records=2, counts_units=True), answers_at_once=True)
    encode = provider.encode
    provider.encode = lambda record: _costing(encode(record))  # type: ignore[method-assign]
    sink = await open_sink(provider, Policy(rate=Rate(units=10)))
    await sink.put_many(["5", "15", "1", "1", "30"])
    assert [request.sent_at for request in provider.requests] == pytest.approx([0, 2, 2.2])


def _costing(entry: Encoded) -> Encoded:
    entry.units = int(entry.payload)
    return entry


def test_a_rate_in_units_is_refused_where_there_are_none(provider: Scripted) -> None:
    with pytest.raises(ConfigError, match="scripted has no units of throughput"):
        Sink(provider, Policy(rate=Rate(units=10)))


async def test_repeats_count_too(open_sink: OpenSink, provider: Scripted) -> None:
    policy = Policy(rate=Rate(requests=0.1), backoff=Backoff(base=1, cap=1))
    sink = await open_sink(provider, policy)
    sink.put("a")
    (await provider.request()).answer(RETRY)
    assert (await provider.request()).sent_at == 10


async def test_what_waits_for_the_pace_waits_on_if_another_request_leaves_at_that_very_moment(
    open_sink: OpenSink,
) -> None:
    # The pace's end was read anew when its timer fired, and taken for the present.
    provider = Scripted()
    sink = await open_sink(provider, Policy(rate=Rate(requests=1), max_records=2))
    for record in "abcd":
        sink.put(record)
    first, second = await provider.request(), await provider.request()
    sink.put("e")
    sink.put("f")
    await tick()
    first.refuse()  # a part of it waits for the same moment as the new batch does
    await tick()
    second.deliver()
    for _ in range(2):
        (await provider.request()).deliver()
    assert [request.sent_at for request in provider.requests] == [0, 1, 2, 3]


async def test_while_the_pace_holds_what_comes_joins_the_next_batch(open_sink: OpenSink, provider: Scripted) -> None:
    provider.answers_at_once = True
    sink = await open_sink(provider, Policy(rate=Rate(requests=1)))
    for record in "abc":
        sink.put(record)
        await tick()
    await sink.flush()
    assert provider.sent == [["a"], ["b", "c"]]
