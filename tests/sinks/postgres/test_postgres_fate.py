"""What the server's word on a transaction proves."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.core import DeliveryError, Outcome, Unknown
from sinkwell.sinks import _postgres_fate as fate
from sinkwell.sinks._postgres_connect import Dsn
from sinkwell.sinks._postgres_connections import Connections
from sinkwell.sinks._postgres_fate import Transaction, fate_of, life_of
from sinkwell.sinks._postgres_ledger import Ledger
from sinkwell.sinks.postgres import PostgresSink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers import PostgresServer
    from tests.sinks.postgres.conftest import Table


@pytest.fixture
async def pool(table: Table) -> AsyncIterator[Any]:
    async with asyncpg.create_pool(table.dsn, min_size=1, max_size=2) as pool:
        yield pool


async def begun(table: Table) -> Transaction:
    """A transaction on the table's own connection, left open."""
    await table.db.execute("BEGIN; INSERT INTO events VALUES (1, 'a')")
    xid = await table.db.fetchval("SELECT pg_current_xact_id()::text")
    return Transaction(xid, table.db.get_server_pid(), await life_of(table.db))  # type: ignore[arg-type]


async def test_a_committed_transaction_is_committed(table: Table, pool: Any) -> None:
    transaction = await begun(table)
    await table.db.execute("COMMIT")
    assert await fate_of(pool, transaction) == "committed"


async def test_a_rolled_back_transaction_is_aborted(table: Table, pool: Any) -> None:
    transaction = await begun(table)
    await table.db.execute("ROLLBACK")
    assert await fate_of(pool, transaction) == "aborted"


async def test_a_transaction_whose_backend_waits_for_a_client_that_is_gone_is_ended(table: Table, pool: Any) -> None:
    transaction = await begun(table)
    assert await fate_of(pool, transaction) == "aborted"
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        await table.db.execute("COMMIT")


async def test_only_the_backend_that_still_runs_the_transaction_is_ended(
    table: Table, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinkwell.sinks._postgres_fate.SECONDS", 0.3)
    other = await asyncpg.connect(table.dsn)
    transaction = await begun(table)
    mistaken = Transaction(transaction.xid, other.get_server_pid(), transaction.life)
    assert await fate_of(pool, mistaken) == "unknown"
    assert await other.fetchval("SELECT 1") == 1
    await other.close()
    await table.db.execute("ROLLBACK")


async def test_after_a_crash_success_proves_nothing(table: Table, pool: Any) -> None:
    transaction = await begun(table)
    await table.db.execute("COMMIT")
    assert await fate_of(pool, Transaction(transaction.xid, transaction.pid, "another")) == "unknown"


async def test_after_a_crash_failure_proves_that_it_is_not_there(table: Table, pool: Any) -> None:
    transaction = await begun(table)
    await table.db.execute("ROLLBACK")
    assert await fate_of(pool, Transaction(transaction.xid, transaction.pid, "another")) == "aborted"


async def test_a_transaction_that_may_still_commit_is_not_called_aborted_because_statistics_were_reset(
    table: Table, pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinkwell.sinks._postgres_fate.SECONDS", 0.05)
    monkeypatch.setattr("sinkwell.sinks._postgres_fate._PATIENCE", 1_000_000)
    transaction = await begun(table)
    await table.db.execute("SELECT pg_stat_reset_shared('bgwriter')")
    assert await fate_of(pool, transaction) == "unknown"
    await table.db.execute("COMMIT")


async def test_a_number_that_was_never_given_out_is_not_there(pool: Any) -> None:
    assert await fate_of(pool, Transaction("999999999", 1, "another")) == "aborted"


async def test_two_connections_with_one_process_number_have_a_life_each(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As two servers of one dsn may have it.
    monkeypatch.setattr(asyncpg.connection.Connection, "get_server_pid", lambda _: 7)
    connections = Connections(Dsn(table.dsn), given=None, tls=None, most_in_flight=1, timeout=10.0)
    await connections.open()
    lives = []
    async with connections.pool.acquire() as first, connections.pool.acquire() as second:
        for connection in (first, second, first):
            lives.append(await connections._life(connection))
            await table.db.execute("SELECT pg_stat_reset_shared('bgwriter')")
    await connections.aclose()
    assert lives[0] == lives[2] != lives[1]
    assert not connections._lives


async def test_a_server_keeps_its_life_over_a_clean_restart_and_not_over_a_crash(
    table: Table, postgres_server: Any
) -> None:
    lives = [await life_of(table.db)]  # type: ignore[arg-type]
    for kill in (False, True):
        if kill:
            postgres_server.kill()
        postgres_server.restart()
        db = await asyncpg.connect(postgres_server.dsn)
        lives.append(await life_of(db))  # type: ignore[arg-type]
        await db.close()
    assert lives[0] == lives[1] != lives[2]


@pytest.fixture
async def batches(table: Table) -> None:
    await table.db.execute("CREATE TABLE batches (batch uuid PRIMARY KEY, written_at timestamptz DEFAULT now())")


@pytest.fixture
async def lone_primary(postgres_server: PostgresServer) -> AsyncIterator[PostgresServer]:
    """Waits with each COMMIT for a standby that is not there."""
    postgres_server.set(synchronous_standby_names="nobody")
    # It takes the new setting up in a while: from then on nothing is committed in time.
    db = await asyncpg.connect(postgres_server.dsn)
    with suppress(TimeoutError):
        while True:
            await db.execute("SELECT pg_logical_emit_message(true, '', '')", timeout=0.3)
    await db.close()
    yield postgres_server
    postgres_server.set(synchronous_standby_names="")


async def test_a_commit_that_waits_for_its_standby_gets_no_receipt(
    table: Table, lone_primary: PostgresServer, make_batch: Any
) -> None:
    destination = await table.open(settle_timeout=1.0)
    writing = asyncio.create_task(destination.write(make_batch(destination, [(1, "a")])))
    await asyncio.sleep(0.3)
    writing.cancel()
    [verdict] = await writing
    assert isinstance(verdict, Unknown)
    assert await table.count() == 0


async def test_a_time_limit_of_the_callers_pool_does_not_end_the_wait_for_a_standby(
    table: Table, lone_primary: PostgresServer
) -> None:
    # Called back there, it is committed here, and no standby need have it.
    async with (
        asyncpg.create_pool(table.dsn, min_size=1, max_size=2, command_timeout=0.2) as pool,
        PostgresSink(None, table.name, ["id", "body"], pool=pool, settle_timeout=1.0) as sink,
    ):
        [outcome] = await sink.put_many([(1, "a")])
    assert isinstance(outcome, DeliveryError)
    assert outcome.outcome is Outcome.UNKNOWN
    assert await table.count() == 0


@pytest.mark.parametrize("answer", ["{}", "1 / (NOT {})::int"], ids=["answered", "answer lost"])
async def test_a_commit_that_came_to_wait_for_its_standby_just_before_it_was_ended_gets_no_receipt(
    answer: str,
    table: Table,
    batches: None,
    lone_primary: PostgresServer,
    *,
    make_batch: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Ended there, it is committed here, and no standby need have it. As if it waited since it was looked at:
    ending = fate._END_IT.replace("AND wait_event IS DISTINCT FROM 'SyncRep'", "")
    assert ending != fate._END_IT
    end = "pg_catalog.pg_terminate_backend(pid)"
    ending = ending.replace(end, answer.format(end))
    monkeypatch.setattr(fate, "_END_IT", ending)
    destination = await table.open(settle_timeout=5.0, ledger=Ledger(f"{table.schema}.batches"))
    writing = asyncio.create_task(destination.write(make_batch(destination, [(1, "a")])))
    await asyncio.sleep(0.3)
    writing.cancel()
    [verdict] = await writing
    assert isinstance(verdict, Unknown)
    assert await table.count() == 1
