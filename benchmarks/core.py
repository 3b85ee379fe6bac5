"""What the core itself costs: `put` into a destination that does nothing, in batches of 100.

Beside it, in the same rounds: async-batcher under the same workload, and bare futures that are resolved a hundred at
a time, which is what any batcher must do at the least. Three ways to wait for 1,000 records: `asyncio.gather`, whose
own cost falls on every contender alike; awaiting one after another, which hardly costs anything and so shows more; and
a hundred tasks that put one record each and wait for it.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from _report import FLOOR, OURS, PEER, Report, bars, interleaved, is_quick, median, ratio
from async_batcher.batcher import AsyncBatcher

from sinkwell.core import Batch, Delivered, Encoded, Limits, Policy, Receipt, Sink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from matplotlib.axes import Axes

    Put = Callable[[int], Awaitable[Any]]
    Wait = Callable[[Put, range], Coroutine[Any, Any, None]]

BATCH = 100
WINDOW = 1_000


class Nowhere:
    """A destination that takes everything and does nothing with it."""

    name = "nowhere"
    limits = Limits(records=BATCH)

    def __init__(self, encode: Callable[[Any], Encoded] = lambda record: Encoded(record, 1)) -> None:
        self.encode = encode
        # Writes wait for it: to hold records pending.
        self.gate = asyncio.Event()
        self.gate.set()

    async def open(self) -> None: ...

    async def write(self, batch: Batch) -> Sequence[Delivered[Receipt]]:
        if not self.gate.is_set():
            await self.gate.wait()
        return [Delivered(Receipt())] * len(batch)

    async def aclose(self) -> None: ...


def keyed() -> Nowhere:
    return Nowhere(lambda record: Encoded(record, 1, record))


def targeted() -> Nowhere:
    return Nowhere(lambda record: Encoded(record, 1, None, record))


def sink_on(destination: Nowhere) -> Sink[Any, Receipt]:
    return Sink(destination, Policy(max_pending_records=2_000_000))


# --- the contenders --------------------------------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class Cost:
    """Seconds for one record: by the clock, and of this process's CPU."""

    wall: float
    cpu: float


async def gathered(put: Put, numbers: range) -> None:
    await asyncio.gather(*[put(number) for number in numbers])


async def awaited(put: Put, numbers: range) -> None:
    for outcome in [put(number) for number in numbers]:
        await outcome


async def by_tasks(put: Put, numbers: range) -> None:
    """As a service does that handles a hundred requests at once: each has a task, which waits for its own record."""
    left = iter(numbers)

    async def task() -> None:
        for number in left:
            await put(number)

    await asyncio.gather(*[task() for _ in range(BATCH)])


async def cost_of(put: Put, wait: Wait, records: int) -> Cost:
    started, cpu = time.perf_counter(), time.process_time()
    for first in range(0, records, WINDOW):
        await wait(put, range(first, first + WINDOW))
    return Cost((time.perf_counter() - started) / records, (time.process_time() - cpu) / records)


async def sinkwell_puts(destination: Nowhere, wait: Wait, records: int) -> Cost:
    async with sink_on(destination) as sink:
        return await cost_of(sink.put, wait, records)


async def sinkwell_streams(destination: Nowhere, records: int) -> Cost:
    async with sink_on(destination) as sink:
        started, cpu = time.perf_counter(), time.process_time()
        async for _ in sink.stream(range(records)):
            pass
        return Cost((time.perf_counter() - started) / records, (time.process_time() - cpu) / records)


class Echo(AsyncBatcher[int, int]):
    async def process_batch(self, batch: list[int]) -> list[int]:
        return batch


async def async_batcher_puts(wait: Wait, records: int, **options: float) -> Cost:
    batcher = Echo(max_batch_size=BATCH, **options)
    cost = await cost_of(batcher.process, wait, records)
    await batcher.stop(force=True)
    return cost


class BareFutures:
    """The floor: futures, resolved in batches."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._open: list[asyncio.Future[int]] = []

    def put(self, _: int) -> asyncio.Future[int]:
        future = self._loop.create_future()
        self._open.append(future)
        if len(self._open) == BATCH:
            self._loop.call_soon(self._resolve, self._open)
            self._open = []
        return future

    def _resolve(self, futures: list[asyncio.Future[int]]) -> None:
        for future in futures:
            future.set_result(0)


async def bare_puts(wait: Wait, records: int) -> Cost:
    return await cost_of(BareFutures().put, wait, records)


def throughput(report: Report, runner: asyncio.Runner) -> None:
    records = 5_000 if report.is_quick else 20_000
    started: dict[str, Callable[[], Coroutine[Any, Any, Cost]]] = {
        "gather: put": lambda: sinkwell_puts(Nowhere(), gathered, records),
        "gather: put, a key each": lambda: sinkwell_puts(keyed(), gathered, records),
        "gather: async-batcher": lambda: async_batcher_puts(gathered, records),
        "gather: async-batcher, no wait": lambda: async_batcher_puts(gathered, records, max_queue_time=0),
        "gather: bare futures": lambda: bare_puts(gathered, records),
        "await: put": lambda: sinkwell_puts(Nowhere(), awaited, records),
        "await: put, a key each": lambda: sinkwell_puts(keyed(), awaited, records),
        "await: bare futures": lambda: bare_puts(awaited, records),
        "tasks: put": lambda: sinkwell_puts(Nowhere(), by_tasks, records),
        "tasks: bare futures": lambda: bare_puts(by_tasks, records),
        "stream": lambda: sinkwell_streams(Nowhere(), records),
        "stream, a key each": lambda: sinkwell_streams(keyed(), records),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in started}

    def contender(name: str) -> Callable[[], float]:
        def run() -> float:
            cost = runner.run(started[name]())
            costs[name].append(cost)
            return cost.wall

        return run

    walls = interleaved(3 if report.is_quick else 15, {name: contender(name) for name in started})

    def faster(ours: str, theirs: str) -> float:
        return ratio(walls[theirs], walls[ours])

    def floor(name: str) -> str:
        way, _, _ = name.partition(": ")
        return f"{way}: bare futures" if way in ("gather", "tasks") else "await: bare futures"

    report.table(
        "Records through put, 1,000 at a time, batches of 100",
        ["", "records/s", "CPU µs/record", "x async-batcher", "of bare futures"],
        [
            [
                name,
                f"{1 / median(walls[name]):,.0f}",
                f"{median(cost.cpu for cost in costs[name]) * 1e6:.2f}",
                f"{faster(name, 'gather: async-batcher'):.1f}",
                f"{faster(name, floor(name)):.2f}",
            ]
            for name in started
        ],
        "async-batcher can only be gathered: its `process` is a coroutine, so a thousand at once need a task each.",
        "tasks: a hundred, each with one record under way; most of that is asyncio waking them, as the floor shows.",
        "`no wait` is max_queue_time=0: it never waits for company, which suits this load and no other.",
    )
    report.at_least("put / async-batcher, gathered", faster("gather: put", "gather: async-batcher"), 12)
    report.at_least("put, awaited / async-batcher, gathered", faster("await: put", "gather: async-batcher"), 12)
    report.at_least("put / bare futures, gathered", faster("gather: put", "gather: bare futures"), 0.3)
    report.at_least("put with a key each / bare, gathered", faster("gather: put, a key each", floor("gather")), 0.18)
    report.at_least("put / bare futures, awaited", faster("await: put", "await: bare futures"), 0.3)
    report.at_least("put / bare futures, by tasks", faster("tasks: put", "tasks: bare futures"), 0.3)
    report.at_least("put with a key each / bare, awaited", faster("await: put, a key each", floor("await")), 0.18)
    colours = {name: PEER if "async-batcher" in name else FLOOR if "bare" in name else OURS for name in started}
    figures = {name: (1e-3 / median(walls[name]), colours[name]) for name in started}
    report.plot(bars("Through a destination that does nothing", "thousand records/s", figures))


# --- memory ----------------------------------------------------------------------------------------------------------


async def bytes_pending(destination: Nowhere, records: int) -> float:
    """Bytes for one pending record, the future that its caller holds included; the record itself was there before."""
    numbers = list(range(records))
    destination.gate.clear()
    async with sink_on(destination) as sink:
        gc.collect()
        tracemalloc.start()
        futures = [sink.put(number) for number in numbers]
        for _ in range(5):
            await asyncio.sleep(0)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        destination.gate.set()
        await asyncio.gather(*futures)
    return held / records


def memory(report: Report, runner: asyncio.Runner) -> None:
    records = 10_000 if report.is_quick else 100_000
    makers = {"no key": Nowhere, "a key each": keyed}
    held = {name: runner.run(bytes_pending(make(), records)) for name, make in makers.items()}
    report.table(
        f"Memory of {records:,} pending records, over their payload",
        ["", "bytes a record"],
        [[name, f"{size:,.0f}"] for name, size in held.items()],
        "The future that the caller awaits is in it (some 150 bytes).",
    )
    for name, size in held.items():
        report.at_most(f"pending record, {name}", size, 600, "bytes")


# --- how it scales ---------------------------------------------------------------------------------------------------


async def cpu_of_window(sink: Sink[Any, Receipt], first: int) -> float:
    gc.collect(0)
    cpu = time.process_time()
    await awaited(sink.put, range(first, first + WINDOW))
    return time.process_time() - cpu


async def aged_over_new(make: Callable[[], Nowhere], most: int, samples: int) -> dict[int, float]:
    """Cost of a window in a sink that has seen so many records, over that in a new one, measured next to each other.

    By the decade in which the old one is; within each, the median of at most `samples` pairs.
    """
    figures: dict[int, float] = {}
    async with sink_on(make()) as old:
        decade = WINDOW
        done = 0
        while decade < most:
            pairs: list[float] = []
            step = max(1, (decade * 10 - done) // WINDOW // samples)
            for number, first in enumerate(range(done, decade * 10, WINDOW)):
                cost = await cpu_of_window(old, first)
                if number % step == 0:
                    async with sink_on(make()) as new:
                        await cpu_of_window(new, 0)
                        pairs.append(cost / await cpu_of_window(new, WINDOW))
            decade *= 10
            done = decade
            figures[decade] = median(pairs)
    return figures


async def all_at_once(make: Callable[[], Nowhere], records: int) -> float:
    """CPU seconds for one record when all of them are pending together."""
    async with sink_on(make()) as sink:
        cpu = time.process_time()
        await awaited(sink.put, range(records))
        return (time.process_time() - cpu) / records


def scaling(report: Report, runner: asyncio.Runner) -> None:
    dimensions = {"records": Nowhere, "keys": keyed, "targets": targeted}
    most = {"records": 10**6, "keys": 10**6, "targets": 10**6}
    if report.is_quick:
        most = dict.fromkeys(most, 10**5)
    grown = {name: runner.run(aged_over_new(make, most[name], 40)) for name, make in dimensions.items()}
    decades = list(grown["records"])
    report.table(
        "CPU per record as a sink ages, over a new sink's (1,000 pending at a time, none of the keys or targets twice)",
        ["so many", *(f"{decade:,}" for decade in decades)],
        [[name, *(f"{grown[name][decade]:.2f}" for decade in decades)] for name in dimensions],
    )
    for name in dimensions:
        report.at_most(f"a record's cost at {decades[-1]:,} {name} / at 1,000", max(grown[name].values()), 1.2, "x")
    pending(report, runner, dimensions)


def pending(report: Report, runner: asyncio.Runner, dimensions: dict[str, Callable[[], Nowhere]]) -> None:
    counts = [10**3, 10**4, 10**5] if report.is_quick else [10**3, 10**4, 10**5, 10**6]
    rows: dict[str, list[float | None]] = {}
    for name, make in dimensions.items():
        costs: list[float | None] = []
        for count in counts:
            # A target with something pending has a queue of its own: a million of them would take gigabytes.
            is_measured = name != "targets" or count <= 10**5
            repeats = max(1, min(20, 10**5 // count))
            runs = [runner.run(all_at_once(make, count)) for _ in range(repeats)] if is_measured else []
            costs.append(median(runs) if runs else None)
        rows[name] = costs
    report.table(
        "CPU µs per record, all of them pending at once (no target: memory and garbage collector grow with them)",
        ["pending", *(f"{count:,}" for count in counts)],
        [[name, *("-" if cost is None else f"{cost * 1e6:.2f}" for cost in costs)] for name, costs in rows.items()],
    )

    def draw(ax: Axes) -> None:
        for name, costs in rows.items():
            measured = [(count, cost * 1e6) for count, cost in zip(counts, costs, strict=True) if cost is not None]
            ax.plot(*zip(*measured, strict=True), marker="o", label=name)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("records, keys or targets")
        ax.set_ylabel("CPU µs per record")
        ax.set_title("All pending at once", fontsize=10)
        ax.legend(fontsize=8)

    report.plot(draw)


def main() -> None:
    report = Report("core", "The core by itself", is_quick=is_quick(__doc__))
    with asyncio.Runner() as runner:
        throughput(report, runner)
        memory(report, runner)
        scaling(report, runner)
    report.finish()


if __name__ == "__main__":
    main()
