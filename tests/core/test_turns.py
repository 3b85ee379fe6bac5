from __future__ import annotations

import asyncio

from sinkwell.core import CloseReport, Limits, Policy, Receipt, Sink
from sinkwell.core.testing import FakeDestination, FaultPlan, VirtualLoop

A_KEY_MAY_REPEAT = Limits(records=10, keys_repeat=True)


def test_a_target_that_has_sent_all_it_had_stands_in_no_queue() -> None:
    # It stood at the queue's end until it was idle, and leaving from there searched through all the others:
    # 100,000 targets pending at once cost 30 times as much each as 1,000.
    async def main() -> None:
        async with Sink(FakeDestination(target_of=str), Policy(concurrency=2)) as sink:
            puts = [sink.put(number) for number in range(5)]
            await asyncio.sleep(0)
            queue = sink._dispatcher.sender.targets._queue
            assert [batcher.target for batcher in queue] == ["2", "3", "4"]
            await asyncio.gather(*puts)

    VirtualLoop().run(main())


def test_a_batch_that_holds_a_key_twice_lands_after_the_time_to_close_ran_out() -> None:
    plan = FaultPlan(latency=1.0, stubborn=1.0, stubborn_seconds=0.5)
    destination = FakeDestination(plan=plan, limits=A_KEY_MAY_REPEAT, key_of=lambda _: "one key")

    async def main() -> tuple[list[object], CloseReport]:
        sink = Sink(destination, Policy(concurrency=1))
        await sink.open()
        puts = [sink.put(number) for number in range(3)]
        await asyncio.sleep(0.5)
        report = await sink.close(timeout=0.1)
        return await asyncio.gather(*puts, return_exceptions=True), report

    outcomes, report = VirtualLoop().run(main())
    assert all(isinstance(outcome, Receipt) for outcome in outcomes)
    assert report.seconds < 1
