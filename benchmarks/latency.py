"""What waiting in the sink costs: an idle one must add next to nothing, a busy one must fill its batches.

The destination sleeps 20 ms for each request, as a provider far away would, and takes ten records in one, as SQS does.
Under load SqsSink runs too, against an AwsEndpoint that answers after 20 ms from a process of its own.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aioboto3
from _report import OURS, PEER, Report, is_quick, median, percentile

from sinkwell.core import Batch, Delivered, Encoded, Limits, Policy, Receipt, Sink
from sinkwell.sinks.sqs import SqsSink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes

ROUND_TRIP = 0.020
# Instead of a second between two records, so that it ends today; the sink is idle for longer than a round trip.
SPACING = 0.050
# SendMessageBatch: ten messages, 1 MiB.
SQS_LIMITS = Limits(records=10, bytes=1_048_576)


class FarAway:
    """A destination that takes a round trip for each request."""

    name = "far away"
    limits = SQS_LIMITS

    async def open(self) -> None: ...

    def encode(self, record: str) -> Encoded:
        return Encoded(record, len(record))

    async def write(self, batch: Batch) -> Sequence[Delivered[Receipt]]:
        await asyncio.sleep(ROUND_TRIP)
        return [Delivered(Receipt())] * len(batch)

    async def aclose(self) -> None: ...


# --- idle ------------------------------------------------------------------------------------------------------------


async def seconds_of(work: Any) -> float:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await work
    return loop.time() - started


async def idle(report: Report) -> None:
    """One record at a time, and in turn with each the same request without a sink around it."""
    through, direct = [], []
    destination = FarAway()
    encoded = destination.encode("hello")
    bare = Batch(None, [encoded], "idle")  # type: ignore[list-item] - `write` looks at its length only
    async with Sink(destination) as sink:
        for number in range((10 if report.is_quick else 100) * 2):
            is_direct = number % 2
            work = destination.write(bare) if is_direct else sink.put("hello")
            (direct if is_direct else through).append(await seconds_of(work))
            await asyncio.sleep(SPACING)
    added = [ours - theirs for ours, theirs in zip(through, direct, strict=True)]
    report.table(
        f"One record every {SPACING * 1e3:.0f} ms over a round trip of {ROUND_TRIP * 1e3:.0f} ms, {len(added)} pairs",
        ["", "median ms", "p95 ms"],
        [
            [name, f"{median(figures) * 1e3:.3f}", f"{percentile(figures, 95) * 1e3:.3f}"]
            for name, figures in (("through put", through), ("without a sink", direct), ("difference of a pair", added))
        ],
    )
    report.at_most("put above the round trip, idle sink", median(added) * 1e3, 0.3, "ms")


# --- under load ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Run:
    """What one rate gave."""

    rate: int
    put: int
    fill: float
    seconds: list[float]
    requests: int


async def open_loop(sink: Sink[Any, Any], rate: int, duration: float, seed: int = 1) -> Run:
    """Put records when they arrive, at random times of a given mean rate, whether or not the sink keeps up."""
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    seconds: list[float] = []
    futures: list[asyncio.Future[Any]] = []
    before = sink.stats()
    arrival = loop.time()
    end = arrival + duration

    def put(due: float) -> None:
        future = sink.put("hello")
        future.add_done_callback(lambda _: seconds.append(loop.time() - due))
        futures.append(future)

    while arrival < end:
        await asyncio.sleep(max(0.0, arrival - loop.time()))
        now = loop.time()
        while arrival <= now:
            put(arrival)
            arrival += rng.expovariate(rate)
    await asyncio.gather(*futures)
    after = sink.stats()
    requests = after.requests - before.requests
    records = after.records_sent - before.records_sent
    return Run(rate, len(futures), records / requests, seconds, requests)


async def load(report: Report, title: str, sink: Sink[Any, Any]) -> list[Run]:
    duration = 0.5 if report.is_quick else 3.0
    async with sink:
        runs = [await open_loop(sink, rate, duration) for rate in (50, 200, 500, 1_000, 2_000, 5_000)]
    report.table(
        title,
        ["records/s", "put", "requests", "records a request", "median ms", "p99 ms"],
        [
            [
                f"{run.rate:,}",
                f"{run.put:,}",
                f"{run.requests:,}",
                f"{run.fill:.2f}",
                f"{median(run.seconds) * 1e3:.1f}",
                f"{percentile(run.seconds, 99) * 1e3:.1f}",
            ]
            for run in runs
        ],
        "Ten records in each of n slots every 20 ms is all that n slots can carry: above that, or where the machine is",
        "too busy, the backlog grows, and the latency with it.",
    )
    return runs


def draw_load(name: str, runs: Sequence[Run], ax: Axes) -> None:
    rates = [run.rate for run in runs]
    ax.plot(rates, [run.fill for run in runs], marker="o", color=OURS, label="records a request (of 10)")
    ax.plot(rates, [median(run.seconds) * 1e3 for run in runs], marker="s", color=PEER, label="median latency, ms")
    ax.plot(rates, [percentile(run.seconds, 99) * 1e3 for run in runs], ls="--", color=PEER, label="p99 latency, ms")
    ax.set_xscale("log")
    # What leaves the picture has a backlog, which would flatten all the rest.
    ax.set_ylim(0, 60)
    ax.set_xlabel("records/s, at random times")
    ax.set_title(name, fontsize=10)
    ax.legend(fontsize=8)


@contextmanager
def far_queue() -> Iterator[tuple[str, str]]:
    """Give an endpoint's URL and its queue's; the process ends with the block."""
    command = [sys.executable, str(Path(__file__).with_name("_far_queue.py")), str(ROUND_TRIP)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, queue_url = process.stdout.readline().split()
        yield url, queue_url


async def through_sqs(report: Report) -> None:
    session = aioboto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing")
    with far_queue() as (url, queue_url):
        sink = SqsSink(
            queue_url, session=session, endpoint_url=url, region_name="us-east-1", policy=Policy(concurrency=32)
        )
        runs = await load(report, "The same through SqsSink and an AwsEndpoint 20 ms away, concurrency 32", sink)
    report.at_least("fill at 5,000 records/s through SqsSink", runs[-1].fill, 9.5, "of 10")
    report.plot(lambda ax: draw_load("SqsSink, 20 ms away", runs, ax))


async def measure(report: Report) -> None:
    await idle(report)
    title = "At random times over 20 ms, SQS's limits, concurrency {}, linger 5 ms"
    for concurrency in (16, 8):
        runs = await load(report, title.format(concurrency), Sink(FarAway(), Policy(concurrency=concurrency)))
        report.at_least(f"fill at 5,000 records/s, concurrency {concurrency}", runs[-1].fill, 9.5, "of 10")
        report.plot(lambda ax, runs=runs, n=concurrency: draw_load(f"Over 20 ms, concurrency {n}", runs, ax))
    await through_sqs(report)


def main() -> None:
    report = Report("latency", "Waiting in the sink", is_quick=is_quick(__doc__))
    asyncio.run(measure(report))
    report.finish()


if __name__ == "__main__":
    main()
