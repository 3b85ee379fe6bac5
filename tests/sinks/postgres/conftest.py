"""A table of its own for each test, on the run's server, and destinations that are closed at the end."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.core import Batch
from sinkwell.sinks._postgres_connect import Dsn
from sinkwell.sinks._postgres_destination import PostgresDestination
from sinkwell.sinks._postgres_spec import PostgresTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.servers import PostgresServer

# What is asked of the table rather than of the destination.
ASKED = ("mode", "conflict_columns", "merge_columns", "returning")


@dataclass
class Table:
    """A schema of the test's own with the table `events(id int8 primary key, body text)` in it."""

    dsn: str
    schema: str
    db: asyncpg.Connection
    stack: AsyncExitStack

    @property
    def name(self) -> str:
        return f"{self.schema}.events"

    async def make(self, columns: str) -> None:
        await self.db.execute(f"DROP TABLE IF EXISTS events CASCADE; CREATE TABLE events ({columns})")

    async def open(
        self, *columns: str, dsn: str = "", also: tuple[PostgresTable, ...] = (), **options: Any
    ) -> PostgresDestination:
        asked = {name: options.pop(name) for name in (*ASKED,) if name in options}
        spec = PostgresTable(self.name, columns or ("id", "body"), **asked)
        destination = PostgresDestination(Dsn(dsn or self.dsn), spec, *also, **options)
        self.stack.push_async_callback(destination.aclose)
        await destination.open()
        return destination

    async def ids(self) -> list[int]:
        return [row["id"] for row in await self.db.fetch("SELECT id FROM events ORDER BY id")]

    async def count(self) -> int:
        return await self.db.fetchval("SELECT count(*) FROM events")


@pytest.fixture
async def table(postgres_server: PostgresServer) -> AsyncIterator[Table]:
    db = await asyncpg.connect(postgres_server.dsn)
    schema = f"test_{secrets.token_hex(6)}"
    await db.execute(f"CREATE SCHEMA {schema}; SET search_path TO {schema}")
    async with AsyncExitStack() as stack:
        table = Table(postgres_server.dsn, schema, db, stack)
        await table.make("id int8 PRIMARY KEY, body text")
        yield table
    if db.is_closed():
        db = await asyncpg.connect(postgres_server.dsn)
    await db.execute(f"DROP SCHEMA {schema} CASCADE")
    await db.close()


def batch_of(destination: PostgresDestination, rows: Iterable[Any], *, attempts: int = 1) -> Batch:
    """What the core would hand to `write`."""
    entries = [destination.encode(row) for row in rows]
    for entry in entries:
        entry.attempts = attempts
    return Batch(target=None, entries=entries, reason="full")


@pytest.fixture
def make_batch() -> Any:
    return batch_of
