"""What both benchmarks of Postgres share: rows in batches, and asyncpg's ways with them, by hand.

The peers have batches of the sink's size, and run twice: on one connection in a plain loop, as most programs do it, and
on as many as the sink has.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from sinkwell.sinks.postgres import PostgresSink

    Row = tuple[Any, ...]

CONNECTIONS = 4
# Rows put at once and then awaited, as a service does with a page of input.
WINDOW = 20_000


@dataclass(slots=True)
class Rows:
    """Rows of one table, and a pool of connections to it.

    Attributes:
        columns: their names, with their types.
    """

    pool: Any
    columns: dict[str, str]
    rows: list[Row]

    @property
    def places(self) -> str:
        return f"VALUES ({', '.join(f'${number}' for number in range(1, len(self.columns) + 1))})"

    def batches(self, size: int) -> Iterator[list[Row]]:
        return (self.rows[first : first + size] for first in range(0, len(self.rows), size))

    async def by_connections(
        self, count: int, size: int, write: Callable[[Any, Sequence[Row]], Awaitable[None]]
    ) -> None:
        batches = self.batches(size)

        async def worker() -> None:
            async with self.pool.acquire() as connection:
                for batch in batches:
                    await write(connection, batch)

        await asyncio.gather(*[worker() for _ in range(count)])

    async def put_gathered(self, sink: PostgresSink) -> None:
        for window in self.batches(WINDOW):
            await asyncio.gather(*[sink.put(row) for row in window])

    async def put_by_tasks(self, sink: PostgresSink, tasks: int) -> None:
        rows = iter(self.rows)

        async def worker() -> None:
            for row in rows:
                await sink.put(row)

        await asyncio.gather(*[worker() for _ in range(tasks)])

    async def stream(self, sink: PostgresSink) -> None:
        async for outcome in sink.stream(self.rows):
            if isinstance(outcome, Exception):
                raise outcome


class Peers(Rows):
    """asyncpg, into a table without a key."""

    async def copy(self, connection: Any, batch: Sequence[Row]) -> None:
        await connection.copy_records_to_table("rows", records=batch, columns=list(self.columns))

    async def transaction(self, connection: Any, batch: Sequence[Row]) -> None:
        """Copy as the sink does: in a transaction that is asked for its number, so that its fate can be looked up."""
        await connection.execute("BEGIN")
        await self.copy(connection, batch)
        await connection.fetchval("SELECT pg_current_xact_id()::text")
        await connection.execute("COMMIT")

    async def executemany(self, connection: Any, batch: Sequence[Row]) -> None:
        await connection.executemany(f"INSERT INTO rows ({', '.join(self.columns)}) {self.places}", batch)

    async def futures_by_tasks(self, size: int, tasks: int) -> None:
        """What any batcher has to do for tasks that wait: a future a row, resolved by the batch that carries it."""
        rows = iter(self.rows)
        loop = asyncio.get_running_loop()
        waiting: list[Row] = []
        futures: list[asyncio.Future[None]] = []
        sending: set[asyncio.Task[None]] = set()

        async def send(batch: list[Row], callers: list[asyncio.Future[None]]) -> None:
            async with self.pool.acquire() as connection:
                await self.transaction(connection, batch)
            for caller in callers:
                caller.set_result(None)

        def put(row: Row) -> asyncio.Future[None]:
            future = loop.create_future()
            waiting.append(row)
            futures.append(future)
            if len(waiting) == size:
                task = loop.create_task(send(waiting.copy(), futures.copy()))
                sending.add(task)
                task.add_done_callback(sending.discard)
                waiting.clear()
                futures.clear()
            return future

        async def worker() -> None:
            for row in rows:
                await put(row)

        await asyncio.gather(*[worker() for _ in range(tasks)])
