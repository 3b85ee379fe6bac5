"""Upserts into a real PostgreSQL: through the sink, by `executemany`, and by COPY and INSERT written by hand.

Half of the keys are there already. The peers have batches of the same size, and run twice: on one connection in a plain
loop, and on as many as the sink has, each with rows of its own, so that they do not wait for each other's keys.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
from _postgres_rows import CONNECTIONS, WINDOW, Rows
from _report import FLOOR, OURS, PEER, Report, bars, interleaved, median, ratio

from sinkwell.core import Policy
from sinkwell.sinks.postgres import PostgresSink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from _postgres_rows import Row


@dataclass(slots=True)
class Upserts(Rows):
    """A table with a key, rows for it, and what puts them in."""

    seconds: dict[str, list[float]] = field(default_factory=dict[str, "list[float]"])
    cpu: dict[str, list[float]] = field(default_factory=dict[str, "list[float]"])

    @property
    def upsert(self) -> str:
        key, *others = self.columns
        merge = ", ".join(f"{name} = excluded.{name}" for name in others)
        return f"INSERT INTO kept ({', '.join(self.columns)}) {{}} ON CONFLICT ({key}) DO UPDATE SET {merge}"

    async def prepare(self) -> None:
        kinds = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        await self.pool.execute(f"DROP TABLE IF EXISTS kept; CREATE TABLE kept ({kinds}, PRIMARY KEY (id))")

    async def timed(self, work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
        """Put every second row in beforehand, do the work, see that all are there; seconds and CPU for a row."""
        await self.pool.execute("TRUNCATE kept")
        await self.pool.copy_records_to_table("kept", records=self.rows[::2], columns=list(self.columns))
        started, cpu = time.perf_counter(), time.process_time()
        await work()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        assert await self.pool.fetchval("SELECT count(*) FROM kept") == len(self.rows)
        return seconds / len(self.rows), cpu / len(self.rows)

    async def executemany(self, connection: Any, batch: Sequence[Row]) -> None:
        async with connection.transaction():
            await connection.executemany(self.upsert.format(self.places), batch)

    async def copy_and_insert(self, connection: Any, batch: Sequence[Row]) -> None:
        async with connection.transaction():
            await connection.execute("CREATE TEMP TABLE stage (LIKE kept) ON COMMIT DROP")
            await connection.copy_records_to_table("stage", records=batch, columns=list(self.columns))
            await connection.execute(self.upsert.format(f"SELECT {', '.join(self.columns)} FROM stage"))


def add_upserts(report: Report, dsn: str, columns: dict[str, str], rows: list[Row], rounds: int) -> None:
    """Measure, and add a table, targets and a plot to the report."""
    size = 5_000
    with asyncio.Runner() as runner:
        bench = runner.run(_open(dsn, columns, rows))
        policy = Policy(max_records=size, concurrency=CONNECTIONS, linger=0.1, max_pending_records=2 * WINDOW)
        sink = PostgresSink(dsn, "kept", list(columns), mode="upsert", conflict_columns=["id"], policy=policy)
        runner.run(sink.open())
        many, copy = bench.executemany, bench.copy_and_insert
        works: dict[str, Callable[[], Awaitable[None]]] = {
            "stream": lambda: bench.stream(sink),
            "put, gathered": lambda: bench.put_gathered(sink),
            "put by 1,000 tasks": lambda: bench.put_by_tasks(sink, 1_000),
            "executemany": lambda: bench.by_connections(1, size, many),
            f"executemany x {CONNECTIONS}": lambda: bench.by_connections(CONNECTIONS, size, many),
            "COPY + INSERT": lambda: bench.by_connections(1, size, copy),
            f"COPY + INSERT x {CONNECTIONS}": lambda: bench.by_connections(CONNECTIONS, size, copy),
        }

        def run(name: str) -> Callable[[], float]:
            def timed() -> float:
                seconds, cpu = runner.run(bench.timed(works[name]))
                bench.cpu.setdefault(name, []).append(cpu)
                return seconds

            return timed

        bench.seconds = interleaved(rounds, {name: run(name) for name in works})
        runner.run(sink.close())
        runner.run(bench.pool.close())
    _report(report, bench, size)


async def _open(dsn: str, columns: dict[str, str], rows: list[Row]) -> Upserts:
    bench = Upserts(await asyncpg.create_pool(dsn, min_size=CONNECTIONS, max_size=CONNECTIONS), columns, rows)
    await bench.prepare()
    return bench


def _report(report: Report, bench: Upserts, size: int) -> None:
    seconds = bench.seconds
    peers = [name for name in seconds if name.startswith(("executemany", "COPY"))]
    report.table(
        f"upserts of flights, half of them there already; batches of {size:,}, the sink has {CONNECTIONS} connections",
        ["", "rows/s", "client's CPU µs/row", *(f"of {peer}" for peer in peers)],
        [
            [
                name,
                f"{1 / median(seconds[name]):,.0f}",
                f"{median(bench.cpu[name]) * 1e6:.2f}",
                *(f"{ratio(seconds[peer], seconds[name]):.2f}" for peer in peers),
            ]
            for name in seconds
        ],
        "By hand no duplicates are looked for, and what became of an interrupted COMMIT can't be told.",
        "1,000 tasks have a thousand rows to share among four connections: their batches are small.",
    )
    report.at_least("upsert: stream / executemany", ratio(seconds["executemany"], seconds["stream"]), 3.0)
    report.at_least("upsert: put, gathered / executemany", ratio(seconds["executemany"], seconds["put, gathered"]), 2.0)
    ours = {"stream", "put, gathered", "put by 1,000 tasks"}
    colours = {name: OURS if name in ours else PEER if "executemany" in name else FLOOR for name in seconds}
    drawn = {name: (1e-3 / median(seconds[name]), colours[name]) for name in seconds}
    report.plot(bars("upserts", "thousand rows/s", drawn))
