"""A pool of the sink's own has the size that its concurrency needs; the caller's stays the caller's, and clean."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.core import Adaptive, DeliveryError, DeliveryRejected, Policy
from sinkwell.sinks.postgres import PostgresSink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sinks.postgres.conftest import Table


@pytest.fixture
async def pool(table: Table) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(table.dsn, min_size=1, max_size=3) as pool:
        yield pool


@pytest.mark.parametrize(("concurrency", "size"), [(1, 2), (3, 4), (Adaptive(1, 5), 6)])
async def test_a_pool_of_its_own_has_one_connection_more_than_writes(concurrency: Any, size: int, table: Table) -> None:
    async with PostgresSink(table.dsn, table.name, ["id", "body"], policy=Policy(concurrency=concurrency)) as sink:
        await sink.put((1, "a"))
        pool = sink._rows._connections.pool
        assert pool.get_max_size() == size
        assert pool.get_size() == 1
    assert pool.is_closing()


async def test_the_callers_pool_is_left_open_and_its_connections_clean(table: Table, pool: Any) -> None:
    policy = Policy(concurrency=2, max_records=10)
    async with PostgresSink(None, table.name, ["id", "body"], pool=pool, policy=policy, mode="upsert",
                            conflict_columns=["id"]) as sink:  # fmt: skip
        await sink.put_many([(number, "a") for number in range(100)])
        await table.db.execute("ALTER TABLE events ADD CHECK (body <> 'bad')")
        with pytest.raises(DeliveryRejected):
            await sink.put((1, "bad"))
        await table.db.execute("BEGIN; LOCK TABLE events")
        waiting = await sink.submit((2, "b"))
        await asyncio.sleep(0.1)
        await sink.close(timeout=0.0)
        await table.db.execute("ROLLBACK")
        with pytest.raises(DeliveryError):
            await waiting
    assert not pool.is_closing()
    async with pool.acquire() as one, pool.acquire() as two, pool.acquire() as three:
        for connection in (one, two, three):
            assert not connection.is_in_transaction()
            assert await connection.fetchval("SELECT count(*) FROM pg_class WHERE relpersistence = 't'") == 0


async def test_a_pool_of_one_connection_is_enough(table: Table) -> None:
    async with asyncpg.create_pool(table.dsn, min_size=1, max_size=1) as pool:
        async with PostgresSink(None, table.name, ["id", "body"], pool=pool) as sink:
            await sink.put_many([(number, "a") for number in range(100)])
        assert await pool.fetchval(f"SELECT count(*) FROM {table.name}") == 100


@pytest.mark.parametrize("asked", [{}, {"mode": "upsert", "conflict_columns": ["id"]}, {"returning": ["id"]}])
async def test_a_time_limit_of_the_callers_pool_that_ends_a_copy_is_not_written_and_goes_again(
    asked: Any, table: Table
) -> None:
    async with asyncpg.create_pool(table.dsn, min_size=1, max_size=3, command_timeout=0.2) as pool:
        async with PostgresSink(None, table.name, ["id", "body"], pool=pool, **asked) as sink:
            await table.db.execute("BEGIN; LOCK TABLE events")
            delivery = sink.put((1, "a"))
            while not sink.stats().retries:  # noqa: ASYNC110 - another program's doing
                await asyncio.sleep(0.01)
            await table.db.execute("ROLLBACK")
            assert (await delivery).attempts > 1
        assert await pool.fetchval("SELECT 1") == 1
    assert await table.ids() == [1]


async def test_a_time_limit_of_the_callers_pool_that_ends_a_commit_is_settled(table: Table) -> None:
    # The constraint waits at COMMIT for another's row; its own fate is asked for meanwhile.
    await table.make("id int8 UNIQUE DEFERRABLE INITIALLY DEFERRED, body text")
    async with (
        asyncpg.create_pool(table.dsn, min_size=1, max_size=3, command_timeout=0.2) as pool,
        PostgresSink(None, table.name, ["id", "body"], pool=pool) as sink,
    ):
        await table.db.execute("BEGIN; INSERT INTO events VALUES (1, 'first')")
        delivery = sink.put((1, "a"))
        while not sink.stats().retries:  # noqa: ASYNC110 - another program's doing
            await asyncio.sleep(0.01)
        await table.db.execute("ROLLBACK")
        assert (await delivery).attempts > 1
    assert await table.db.fetchval("SELECT body FROM events") == "a"
    assert await table.count() == 1
