"""Rows into a real PostgreSQL: through the sink, and as asyncpg does it when the rows are in batches already.

The peers have batches of the same size, and run twice: one connection in a plain loop, as most programs do it, and as
many as the sink has. The sink's batches are transactions that are asked for their number before they commit, so that an
answer that gets lost can be looked up; asyncpg's COPY commits by itself, and what the difference costs is shown by
transactions written by hand. Client and server share the machine's cores.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
from _postgres_rows import CONNECTIONS, WINDOW, Peers
from _report import FLOOR, OURS, PEER, Report, bars, interleaved, is_quick, median, ratio
from _upserts import add_upserts

from sinkwell.core import Policy
from sinkwell.sinks.postgres import PostgresSink

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.servers import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Row = tuple[Any, ...]


@dataclass(slots=True, frozen=True)
class Shape:
    """A table, and rows for it."""

    title: str
    columns: dict[str, str]
    row: Callable[[int], Row]
    sizes: tuple[int, ...]

    @property
    def table(self) -> str:
        return f"CREATE TABLE rows ({', '.join(f'{name} {kind}' for name, kind in self.columns.items())})"


START = datetime(2013, 1, 1, tzinfo=UTC)
FLIGHTS = Shape(
    "flights, six short columns",
    {
        "id": "bigint",
        "carrier": "text",
        "origin": "text",
        "departure": "timestamptz",
        "delay": "double precision",
        "distance": "integer",
    },
    lambda number: (
        number,
        ("UA", "AA", "B6", "DL")[number % 4],
        ("EWR", "LGA", "JFK")[number % 3],
        START + timedelta(minutes=number),
        None if number % 40 == 0 else number % 97 - 20.5,
        200 + number % 2_300,
    ),
    (5_000, 1_000, 100),
)
EVENTS = Shape(
    "events, a number, a time and 2 KB of text",
    {"id": "bigint", "at": "timestamptz", "body": "text"},
    lambda number: (number, START + timedelta(seconds=number), f"{number:08}" * 256),
    (1_000,),
)


class Bench(Peers):
    """A server's table, and what the contenders share."""

    async def timed(self, work: Coroutine[Any, Any, None]) -> float:
        """Empty the table, do the work, and see that all rows are there; seconds for one row."""
        await self.pool.execute("TRUNCATE rows")
        loop = asyncio.get_running_loop()
        started = loop.time()
        await work
        seconds = loop.time() - started
        arrived = await self.pool.fetchval("SELECT count(*) FROM rows")
        assert arrived == len(self.rows), f"{arrived:,} of {len(self.rows):,} rows arrived"
        return seconds / len(self.rows)

    async def stall(self, work: Coroutine[Any, Any, None]) -> float:
        """Do the work once more, and give the longest that the loop had no time for anything else, in seconds.

        In CPU time of this thread, so that a neighbour on the machine does not count.
        """
        loop = asyncio.get_running_loop()
        # As before every timed round. A full collection in mid-run, of all objects there are, is a stall of its own.
        gc.collect()
        longest, before = 0.0, time.thread_time()

        def look() -> None:
            nonlocal longest, before, timer
            longest, before = max(longest, time.thread_time() - before), time.thread_time()
            timer = loop.call_later(0.0005, look)

        timer = loop.call_soon(look)
        await self.timed(work)
        timer.cancel()
        return longest

    async def put_awaited(self, sink: PostgresSink) -> None:
        for window in self.batches(WINDOW):
            for receipt in [sink.put(row) for row in window]:
                await receipt


async def open_sinks(stack: AsyncExitStack, dsn: str, shape: Shape) -> dict[int, PostgresSink]:
    def policy(size: int) -> Policy:
        # Full batches are compared: a loop takes longer than the usual 5 ms to put 5,000 rows, and all find room.
        return Policy(max_records=size, concurrency=CONNECTIONS, linger=0.1, max_pending_records=2 * WINDOW)

    return {
        size: await stack.enter_async_context(PostgresSink(dsn, "rows", list(shape.columns), policy=policy(size)))
        for size in shape.sizes
    }


def contenders(bench: Bench, sinks: dict[int, PostgresSink]) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
    """By name: `what, batch size`."""
    by_name: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
    for size, sink in sinks.items():
        if size == 100:
            by_name["put by 100 tasks, 100"] = lambda sink=sink: bench.put_by_tasks(sink, 100)
            by_name["put by 1,000 tasks, 100"] = lambda sink=sink: bench.put_by_tasks(sink, 1_000)
            by_name["by hand for 100 tasks, 100"] = lambda: bench.futures_by_tasks(100, 100)
            by_name["by hand for 1,000 tasks, 100"] = lambda: bench.futures_by_tasks(100, 1_000)
        else:
            by_name[f"put, gathered, {size:,}"] = lambda sink=sink: bench.put_gathered(sink)
            by_name[f"put, awaited, {size:,}"] = lambda sink=sink: bench.put_awaited(sink)
            by_name[f"stream, {size:,}"] = lambda sink=sink: bench.stream(sink)
        for name, count, write in (
            (f"transactions x {CONNECTIONS}", CONNECTIONS, bench.transaction),
            ("asyncpg copy", 1, bench.copy),
            (f"asyncpg copy x {CONNECTIONS}", CONNECTIONS, bench.copy),
            ("asyncpg executemany", 1, bench.executemany),
        ):
            by_name[f"{name}, {size:,}"] = partial(bench.by_connections, count, size, write)
    return by_name


@dataclass(slots=True, frozen=True)
class Figures:
    """By contender: seconds for a row by round, CPU seconds of this process for a row, seconds that the loop stood
    still at the longest, and the sink's rows a batch."""

    seconds: dict[str, list[float]]
    cpu: dict[str, list[float]]
    stalls: dict[str, float]
    fills: dict[str, float]


def add_figures(report: Report, shape: Shape, figures: Figures) -> None:
    seconds, fills = figures.seconds, figures.fills

    def size_of(name: str) -> str:
        return name.rpartition(", ")[2]

    def over(name: str, peer: str) -> float:
        return ratio(seconds[f"asyncpg {peer}, {size_of(name)}"], seconds[name])

    report.table(
        f"{shape.title}; the sink has {CONNECTIONS} connections; the last number of a name is the batch size",
        [
            "",
            "rows/s",
            "client's CPU µs/row",
            "stall ms",
            "rows a batch",
            "of copy",
            f"of copy x {CONNECTIONS}",
            "x executemany",
        ],
        [
            [
                name,
                f"{1 / median(seconds[name]):,.0f}",
                f"{median(figures.cpu[name]) * 1e6:.2f}",
                f"{figures.stalls[name] * 1e3:.1f}",
                f"{fills[name]:,.0f}" if name in fills else size_of(name),
                f"{over(name, 'copy'):.2f}",
                f"{over(name, f'copy x {CONNECTIONS}'):.2f}",
                f"{over(name, 'executemany'):.2f}",
            ]
            for name in seconds
        ],
        "`stall` is the longest that the event loop had no time for others; a put window of "
        f"{WINDOW:,} rows is one such time of the benchmark's own.",
        "CPU is this process's, the client's.",
        f"`copy x {CONNECTIONS}` has as many connections as the sink; the others of asyncpg have one, in a plain loop.",
        "`transactions` are COPYs that promise what the sink's do: BEGIN, COPY, one question for the number, COMMIT.",
        "`by hand` is what nobody can do without: those transactions, and a bare future for each row that is awaited.",
    )
    for name in fills:
        what = f"{shape.title.partition(',')[0]}: {name}"
        wanted = 0.75 if "stream" in name else 0.5 if "tasks" in name else 0.6
        report.at_least(f"{what} / copy", over(name, "copy"), wanted)
        report.at_least(f"{what} / executemany", over(name, "executemany"), 1.5)
        if "stream" in name or "tasks" in name:
            report.at_most(f"{what}, longest stall", figures.stalls[name] * 1e3, 10, "ms")
    colours = {name: OURS if name in fills else PEER if "executemany" in name else FLOOR for name in seconds}
    drawn = {name: (1e-3 / median(seconds[name]), colours[name]) for name in seconds}
    report.plot(bars(shape.title, "thousand rows/s", drawn))


def main() -> None:
    report = Report("postgres", "Rows into PostgreSQL", is_quick=is_quick(__doc__))
    rounds = 2 if report.is_quick else 5
    server = PostgresServer.start()
    try:
        for shape, count in ((FLIGHTS, 100_000), (EVENTS, 40_000)):
            rows = [shape.row(number) for number in range(count // 5 if report.is_quick else count)]
            with asyncio.Runner() as runner:
                figures = measure(runner, server.dsn, shape, rows, rounds)
            add_figures(report, shape, figures)
        rows = [FLIGHTS.row(number) for number in range(20_000 if report.is_quick else 100_000)]
        add_upserts(report, server.dsn, FLIGHTS.columns, rows, rounds)
    finally:
        server.stop()
    report.finish()


def measure(runner: asyncio.Runner, dsn: str, shape: Shape, rows: list[Row], rounds: int) -> Figures:
    stack = AsyncExitStack()
    fills: dict[str, float] = {}
    cpu: dict[str, list[float]] = {}
    try:
        pool = runner.run(stack.enter_async_context(asyncpg.create_pool(dsn, min_size=4, max_size=CONNECTIONS)))
        runner.run(pool.execute(f"DROP TABLE IF EXISTS rows; {shape.table}"))
        bench = Bench(pool, shape.columns, rows)
        sinks = runner.run(open_sinks(stack, dsn, shape))

        def timed(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], float]:
            def run() -> float:
                sink = sinks[int(name.rpartition(", ")[2].replace(",", ""))]
                before = sink.stats()
                cpu_before = time.process_time()
                seconds = runner.run(bench.timed(work()))
                cpu.setdefault(name, []).append((time.process_time() - cpu_before) / len(rows))
                after = sink.stats()
                if after.requests > before.requests:
                    fills[name] = (after.delivered - before.delivered) / (after.requests - before.requests)
                return seconds

            return run

        works = contenders(bench, sinks)
        seconds = interleaved(rounds, {name: timed(name, work) for name, work in works.items()})
        stalls = {name: runner.run(bench.stall(work())) for name, work in works.items()}
        return Figures(seconds, cpu, stalls, fills)
    finally:
        runner.run(stack.aclose())


if __name__ == "__main__":
    main()
