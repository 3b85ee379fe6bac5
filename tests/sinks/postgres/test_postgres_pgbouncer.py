"""Through PgBouncer in transaction mode: each transaction may be another session's, and it too can break."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.core import BatchRefused, ConfigError, Delivered, Policy, Retry
from sinkwell.sinks._postgres_connect import is_shared
from sinkwell.sinks.postgres import Ledger, PostgresSink
from tests.faults import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers import PgBouncerServer, PostgresServer
    from tests.sinks.postgres.conftest import Table


@pytest.fixture
async def pooled(table: Table, pgbouncer_server: PgBouncerServer) -> AsyncIterator[Table]:
    """The table as PgBouncer shows it; the rows are counted past it. Each row tells which session wrote it."""
    await table.make("id int8 PRIMARY KEY, body text, pid int4 DEFAULT pg_backend_pid()")
    direct, table.dsn = table.dsn, pgbouncer_server.dsn
    await occupy_sessions(table.dsn)
    yield table
    table.dsn = direct


async def occupy_sessions(dsn: str, count: int = 3) -> None:
    """Make PgBouncer open several sessions, which then take turns."""
    connections = [await asyncpg.connect(dsn, statement_cache_size=0) for _ in range(count)]
    for connection in connections:
        await connection.execute("BEGIN; SELECT 1")
    for connection in connections:
        await connection.execute("COMMIT")
        await connection.close()


def ledger_of(table: Table) -> Ledger:
    return Ledger(f"{table.schema}.batches", create=True)


async def sessions(table: Table) -> int:
    return await table.db.fetchval("SELECT count(DISTINCT pid) FROM events")


async def test_a_pooler_is_told_from_a_server(table: Table, pgbouncer_server: PgBouncerServer) -> None:
    pooled = await asyncpg.connect(pgbouncer_server.dsn, statement_cache_size=0)
    assert await is_shared(pooled)
    assert not await is_shared(table.db)
    await pooled.close()


@pytest.mark.parametrize("asked", [
    {},
    {"returning": ("pid",)},
    {"mode": "upsert", "conflict_columns": ("id",)},
    {"mode": "upsert", "conflict_columns": ("id",), "merge_columns": (), "returning": ("body",)},
])  # fmt: skip
@pytest.mark.parametrize("has_ledger", [False, True])
async def test_every_mode_works_while_sessions_change_between_batches(
    asked: dict[str, Any], has_ledger: bool, pooled: Table, make_batch: Any
) -> None:
    destination = await pooled.open(ledger=ledger_of(pooled) if has_ledger else None, **asked)
    for number in range(6):
        verdicts = await destination.write(make_batch(destination, [(number, "a"), (number + 100, "b")]))
        assert all(isinstance(verdict, Delivered) for verdict in verdicts)
    assert await pooled.count() == 12
    assert await sessions(pooled) > 1


async def test_two_sinks_with_types_of_their_own_share_sessions(pooled: Table) -> None:
    await pooled.db.execute(f"""CREATE TYPE {pooled.schema}.mood AS ENUM ('sad', 'glad');
        CREATE TABLE moods (id int8, moods {pooled.schema}.mood[])""")
    policy = Policy(max_records=10, concurrency=4)
    one = PostgresSink(pooled.dsn, pooled.name, ["id", "body"], policy=policy)
    two = PostgresSink(pooled.dsn, f"{pooled.schema}.moods", ["id", "moods"], policy=policy)
    async with one, two:
        await asyncio.gather(
            one.put_many([(number, "x") for number in range(500)]),
            two.put_many([(number, ["glad"]) for number in range(500)]),
        )
    assert await pooled.count() == 500
    assert await pooled.db.fetchval("SELECT count(*) FROM moods WHERE moods = '{glad}'") == 500


async def test_nothing_stays_behind_in_the_sessions(pooled: Table, make_batch: Any) -> None:
    await pooled.db.execute("ALTER TABLE events ADD CHECK (body <> 'bad')")
    destination = await pooled.open(mode="upsert", conflict_columns=("id",))
    for number in range(8):
        await destination.write(make_batch(destination, [(number, "a")]))
        with pytest.raises(BatchRefused):
            await destination.write(make_batch(destination, [(1, "bad")]))
    await destination.aclose()
    for _ in range(8):
        other = await asyncpg.connect(pooled.dsn, statement_cache_size=0)
        left = await other.fetchrow("""SELECT (SELECT count(*) FROM pg_prepared_statements) AS statements,
            (SELECT count(*) FROM pg_class WHERE relname LIKE 'sinkwell%' AND relpersistence = 't') AS tables""")
        await other.close()
        assert (left["statements"], left["tables"]) == (0, 0)


async def test_a_pool_that_keeps_statements_is_refused_at_open(pooled: Table) -> None:
    async with asyncpg.create_pool(pooled.dsn, min_size=1, max_size=2) as pool:
        with pytest.raises(ConfigError, match="statement_cache_size=0"):
            await PostgresSink(None, pooled.name, ["id", "body"], pool=pool).open()


async def test_a_pool_without_statements_works(pooled: Table) -> None:
    async with asyncpg.create_pool(pooled.dsn, min_size=1, max_size=3, statement_cache_size=0) as pool:
        async with PostgresSink(None, pooled.name, ["id", "body"], pool=pool, policy=Policy(concurrency=2)) as sink:
            await sink.put_many([(number, "x") for number in range(50)])
        assert await pool.fetchval("SELECT 1") == 1
    assert await pooled.count() == 50


async def test_a_setting_of_the_session_is_refused_at_open_and_named(pooled: Table) -> None:
    with pytest.raises(ConfigError, match="lock_timeout"):
        await pooled.open(dsn=f"{pooled.dsn}?lock_timeout=5000")


@pytest.fixture
async def wire(pgbouncer_server: PgBouncerServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy.to(pgbouncer_server.host, pgbouncer_server.port) as proxy:
        yield proxy


async def test_a_lost_commit_is_settled_by_the_sessions_own_transaction(
    pooled: Table, wire: FaultProxy, pgbouncer_server: PgBouncerServer, make_batch: Any
) -> None:
    destination = await pooled.open(dsn=pgbouncer_server.through(wire.host, wire.port))
    wire.up.when(b"COMMIT\0", wire.reset)
    [lost] = await destination.write(make_batch(destination, [(1, "a")]))
    assert isinstance(lost, Retry)
    assert await pooled.count() == 0
    wire.up.when(b"COMMIT\0", lambda: wire.down.cut_after(0))
    [cut] = await destination.write(make_batch(destination, [(2, "a")]))
    assert isinstance(cut, Delivered)
    assert await pooled.ids() == [2]


async def rows_of(sink: PostgresSink, count: int) -> list[Any]:
    return await sink.put_many([(number, "x" * 100) for number in range(count)])


@pytest.mark.parametrize("part", ["pgbouncer", "server"])
@pytest.mark.parametrize("has_ledger", [False, True])
async def test_what_breaks_in_mid_copy_loses_and_doubles_nothing(
    part: str, has_ledger: bool, pooled: Table, pgbouncer_server: PgBouncerServer, postgres_server: PostgresServer
) -> None:
    broken = pgbouncer_server if part == "pgbouncer" else postgres_server
    policy = Policy(max_records=200, concurrency=4, delivery_timeout=30.0)
    ledger = ledger_of(pooled) if has_ledger else None
    async with PostgresSink(
        pooled.dsn, pooled.name, ["id", "body"], policy=policy, ledger=ledger, settle_timeout=10.0
    ) as sink:
        putting = asyncio.create_task(rows_of(sink, 20_000))
        while sink.stats().delivered < 2_000:  # noqa: ASYNC110 - what is waited for is another program's doing
            await asyncio.sleep(0.005)
        broken.kill()
        await asyncio.to_thread(broken.restart)
        outcomes = await putting
        last = await sink.put((-1, "after"))
    assert last.attempts >= 1
    counting = await asyncpg.connect(postgres_server.dsn)
    there = {row["id"] for row in await counting.fetch(f"SELECT id FROM {pooled.name}")}
    await counting.close()
    for number, outcome in enumerate(outcomes):
        if getattr(outcome, "outcome", None) is not None:
            assert not has_ledger
            assert outcome.outcome.value == "unknown"
        else:
            assert number in there


async def test_after_a_crash_behind_the_pooler_a_lost_answer_can_be_settled(
    pooled: Table, wire: FaultProxy, pgbouncer_server: PgBouncerServer, postgres_server: PostgresServer, make_batch: Any
) -> None:
    """The client's connection outlives the server: what it learned of the first life must not count in the second."""
    destination = await pooled.open(dsn=pgbouncer_server.through(wire.host, wire.port))
    assert isinstance((await destination.write(make_batch(destination, [(1, "a")])))[0], Delivered)
    connections = wire.open_connections
    postgres_server.kill()
    await asyncio.to_thread(postgres_server.restart)
    assert wire.open_connections == connections
    async with asyncio.timeout(10):
        while isinstance((await destination.write(make_batch(destination, [(2, "a")])))[0], Retry):  # noqa: ASYNC110 - for a server
            await asyncio.sleep(0.05)
    wire.up.when(b"COMMIT\0", lambda: wire.down.cut_after(0))
    [cut] = await destination.write(make_batch(destination, [(3, "a")]))
    assert isinstance(cut, Delivered)
