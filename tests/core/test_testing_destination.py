"""`FakeDestination`: an exact log of what was written, and each fault of the plan as it says."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import (
    Batch,
    BatchRefused,
    Delivered,
    InvalidRecord,
    Limits,
    Rejected,
    Retry,
    Sink,
    Unknown,
)
from sinkwell.core.testing import FakeDestination, FakeReceipt, FaultPlan, Written
from tests.core.entries import entry

if TYPE_CHECKING:
    from collections.abc import Sequence


def batch_of(*names: str) -> Batch:
    return Batch("q", [entry(name) for name in names], "idle")


async def answers(plan: FaultPlan, *names: str, **options: Any) -> tuple[Sequence[Any], list[Any]]:
    """What an open destination with this plan answers, and what it has written."""
    destination = FakeDestination(plan=plan, **options)
    await destination.open()
    verdicts = await destination.write(batch_of(*(names or ("-a", "-b"))))
    return verdicts, [line.record for line in destination.log]


async def test_without_faults_it_writes_everything_and_says_so() -> None:
    destination = FakeDestination(plan=FaultPlan(latency=2))
    await destination.open()
    verdicts = await destination.write(batch_of("-a", "k1"))
    assert verdicts == [Delivered(FakeReceipt(attempts=0, number=0)), Delivered(FakeReceipt(attempts=0, number=1))]
    assert destination.log == [
        Written(record="-a", target="q", key=None, request=0, at=2),
        Written(record="k1", target="q", key="k", request=0, at=2),
    ]
    assert destination.requests == [["-a", "k1"]]


async def test_it_counts_how_many_requests_were_in_flight_at_once() -> None:
    destination = FakeDestination()
    await destination.open()
    await asyncio.gather(*(destination.write(batch_of("-a")) for _ in range(3)))
    assert (destination.in_flight, destination.most_in_flight) == (0, 3)


async def test_a_request_while_it_is_not_open_is_a_fault() -> None:
    destination = FakeDestination()
    with pytest.raises(AssertionError, match="write before open or after aclose"):
        await destination.write(batch_of("-a"))
    await destination.open()
    await destination.aclose()
    with pytest.raises(AssertionError):
        await destination.write(batch_of("-a"))


@pytest.mark.parametrize("limits", [Limits(records=1), Limits(bytes=1)])
async def test_a_request_above_its_limits_is_a_fault(limits: Limits) -> None:
    destination = FakeDestination(limits=limits)
    await destination.open()
    with pytest.raises(AssertionError):
        await destination.write(batch_of("-a", "-b"))


def test_size_key_and_target_are_what_the_test_says() -> None:
    plain = FakeDestination().encode("abc")
    assert (plain.payload, plain.size, plain.key, plain.target) == ("abc", 1, None, None)
    made = FakeDestination(size_of=len, key_of=lambda r: r[0], target_of=lambda r: r[1]).encode("abc")
    assert (made.size, made.key, made.target) == (3, "a", "b")
    with pytest.raises(InvalidRecord, match="None is no record"):
        FakeDestination().encode(None)


@pytest.mark.parametrize(
    ("plan", "kind", "written"),
    [
        (FaultPlan(throttle=1), Retry, []),
        (FaultPlan(fail_entry=1), Retry, []),
        (FaultPlan(reject_entry=1), Rejected, []),
    ],
)
async def test_a_failed_entry_really_is_not_written(plan: FaultPlan, kind: type, written: list[str]) -> None:
    verdicts, log = await answers(plan)
    assert ([type(verdict) for verdict in verdicts], log) == ([kind, kind], written)


async def test_a_throttle_gives_its_hint() -> None:
    [verdict, _], _ = await answers(FaultPlan(throttle=1, retry_after=7))
    assert (verdict.throttled, verdict.after) == (True, 7)


async def test_of_the_unknown_about_half_are_written() -> None:
    verdicts, log = await answers(FaultPlan(unknown_entry=1), *("-a",) * 10)
    assert {type(verdict) for verdict in verdicts} == {Unknown}
    assert 0 < len(log) < 10


async def test_it_raises_before_or_after_everything_is_written() -> None:
    for plan, written in ((FaultPlan(raise_before=1), 0), (FaultPlan(raise_after=1), 2)):
        destination = FakeDestination(plan=plan)
        await destination.open()
        with pytest.raises(Exception, match=r"(any|every)thing was written"):
            await destination.write(batch_of("-a", "-b"))
        assert len(destination.log) == written


async def test_an_answer_may_be_too_short_or_too_long() -> None:
    assert len((await answers(FaultPlan(short_answer=1)))[0]) == 1
    assert len((await answers(FaultPlan(long_answer=1)))[0]) == 3


async def test_a_hanging_request_ends_only_when_it_is_cancelled_and_half_of_them_are_written() -> None:
    written = []
    for seed in range(10):
        destination = FakeDestination(plan=FaultPlan(hang=1), seed=seed)
        await destination.open()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1_000):
                await destination.write(batch_of("-a"))
        written.append(len(destination.log))
    assert set(written) == {0, 1}


async def test_latency_is_spread_and_some_requests_are_slow() -> None:
    took = []
    for plan in (FaultPlan(latency=1), FaultPlan(latency=1, latency_spread=1), FaultPlan(slow=1, slow_seconds=9)):
        began = asyncio.get_running_loop().time()
        await answers(plan)
        took.append(asyncio.get_running_loop().time() - began)
    assert took[0] == 1
    assert 1 < took[1] < 2
    assert took[2] == 9


@pytest.mark.parametrize(("stubborn", "written"), [(0, 0), (1, 1)])
async def test_a_stubborn_request_goes_on_when_it_is_cancelled(stubborn: float, written: int) -> None:
    destination = FakeDestination(plan=FaultPlan(latency=10, stubborn=stubborn, stubborn_seconds=3))
    await destination.open()
    request = asyncio.ensure_future(destination.write(batch_of("-a")))
    await asyncio.sleep(1)
    request.cancel()
    await asyncio.wait([request])
    assert (request.cancelled(), len(destination.log)) == (not stubborn, written)
    assert asyncio.get_running_loop().time() == 1 + 3 * stubborn


@pytest.mark.parametrize(
    ("plan", "suspects"),
    [
        (FaultPlan(), {None}),
        (FaultPlan(names_suspect=1), {1}),
        (FaultPlan(names_suspect=1, wrong_suspect=1), {0, 1, 2}),
    ],
)
async def test_a_bad_record_refuses_its_whole_request(plan: FaultPlan, suspects: set[int | None]) -> None:
    destination = FakeDestination(plan=plan, is_bad=lambda record: record == "-bad")
    await destination.open()
    seen = set()
    for _ in range(20):
        with pytest.raises(BatchRefused) as caught:
            await destination.write(batch_of("-a", "-bad", "-c"))
        seen.add(caught.value.suspect)
    assert (seen, destination.log) == (suspects, [])


async def test_equal_seeds_give_equal_faults() -> None:
    async def log_of(seed: int) -> list[Any]:
        plan = FaultPlan(fail_entry=0.3, latency_spread=1)
        destination = FakeDestination(plan=plan, seed=seed)
        await destination.open()
        for number in range(20):
            await destination.write(batch_of(f"-{number}", "-x"))
        return [line.record for line in destination.log]

    assert await log_of(1) == await log_of(1)
    assert await log_of(1) != await log_of(2)


async def test_it_serves_a_sink_as_it_is() -> None:
    destination = FakeDestination()
    async with Sink(destination) as sink:
        receipt = await sink.put("hello")
    assert (receipt.number, receipt.attempts, destination.is_open) == (0, 1, False)


@pytest.mark.parametrize("name", [field.name for field in fields(FaultPlan)])
def test_no_part_of_a_plan_may_be_negative(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} \(-1\) must not be negative"):
        FaultPlan(**{name: -1})
