"""The ledger: made on request, written with each batch or not at all, pruned, and asked when the server forgot."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from sinkwell.core import BatchRefused, ConfigError, Delivered, Unknown
from sinkwell.sinks._postgres_fate import Transaction, fate_of
from sinkwell.sinks._postgres_ledger import Ledger, LedgerTable
from sinkwell.sinks.postgres import PostgresSink
from tests.faults import FaultProxy

if TYPE_CHECKING:
    from tests.servers import PostgresServer
    from tests.sinks.postgres.conftest import Table

BATCH = UUID(int=7)


def ledger_of(table: Table, **options: Any) -> Ledger:
    return Ledger(f"{table.schema}.batches", **{"create": True, **options})


async def batches(table: Table) -> int:
    return await table.db.fetchval("SELECT count(*) FROM batches")


async def test_a_ledger_that_is_not_there_is_told_with_the_statement_that_makes_it(table: Table) -> None:
    with pytest.raises(ConfigError, match=r"CREATE TABLE .*batch uuid PRIMARY KEY"):
        await table.open(ledger=ledger_of(table, create=False))


async def test_a_ledger_is_made_once_and_each_batch_is_in_it(table: Table, make_batch: Any) -> None:
    for first in (1, 3):
        destination = await table.open(ledger=ledger_of(table))
        for number in (first, first + 1):
            await destination.write(make_batch(destination, [(number, "a"), (-number, "b")]))
    assert await batches(table) == 4


async def test_sinks_that_make_one_ledger_at_once_all_open(table: Table) -> None:
    # IF NOT EXISTS does not see what another is just making.
    for _ in range(10):
        await asyncio.gather(*[table.open(ledger=ledger_of(table)) for _ in range(4)])
        await table.db.execute("DROP TABLE batches")


async def test_a_batch_that_is_not_written_is_not_in_the_ledger(table: Table, make_batch: Any) -> None:
    destination = await table.open(ledger=ledger_of(table))
    with pytest.raises(BatchRefused):
        await destination.write(make_batch(destination, [(1, "a"), (1, "b")]))
    assert await batches(table) == 0


async def test_a_sink_names_its_ledger(table: Table) -> None:
    await table.db.execute("CREATE TABLE batches (batch uuid PRIMARY KEY, written_at timestamptz DEFAULT now())")
    async with PostgresSink(table.dsn, table.name, ["id", "body"], ledger=f"{table.schema}.batches") as sink:
        await sink.put((1, "a"))
    assert await batches(table) == 1


async def test_old_batches_are_forgotten_and_young_ones_kept(table: Table, make_batch: Any) -> None:
    await table.db.execute("""CREATE TABLE batches (batch uuid PRIMARY KEY, written_at timestamptz DEFAULT now());
        INSERT INTO batches SELECT gen_random_uuid(), now() - n * interval '1 hour' FROM generate_series(0, 9) n""")
    destination = await table.open(ledger=ledger_of(table, keep=5.5 * 3600))
    await destination.write(make_batch(destination, [(1, "a")]))
    async with asyncio.timeout(10):
        while await batches(table) != 7:  # noqa: ASYNC110 - the server's doing
            await asyncio.sleep(0.01)
    await destination.write(make_batch(destination, [(2, "a")]))
    assert await batches(table) == 8


@pytest.mark.parametrize(
    ("keep", "settle", "is_enough"),
    [(120.0, None, True), (119.0, None, False), (700.0, 60.0, True), (699.0, 60.0, False)],
)
def test_a_ledger_that_forgets_before_it_is_asked_is_refused(
    keep: float, settle: float | None, is_enough: bool
) -> None:
    told = nullcontext() if is_enough else pytest.raises(ConfigError, match=r"keep .* raise the ledger's keep")
    with told:
        PostgresSink("postgresql://h/x", "events", ["id"], ledger=Ledger(keep=keep), settle_timeout=settle)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
def test_the_time_for_finding_out_is_above_zero_and_ends(seconds: float) -> None:
    with pytest.raises(ConfigError, match="settle_timeout"):
        PostgresSink("postgresql://h/x", "events", ["id"], settle_timeout=seconds)


async def test_batches_that_can_not_be_forgotten_hurt_no_record(table: Table, make_batch: Any) -> None:
    destination = await table.open(ledger=ledger_of(table))
    await table.db.execute("CREATE RULE no AS ON DELETE TO batches DO ALSO SELECT 1 / 0")
    for number in range(3):
        [verdict] = await destination.write(make_batch(destination, [(number, "a")]))
        assert isinstance(verdict, Delivered)


@pytest.mark.parametrize(("is_there", "fate"), [(True, "committed"), (False, "aborted")])
async def test_after_a_crash_the_ledger_says_what_success_proves(is_there: bool, fate: str, table: Table) -> None:
    ledger = LedgerTable(ledger_of(table))
    async with asyncpg.create_pool(table.dsn, min_size=1, max_size=2) as pool:
        await ledger.open(table.db)  # type: ignore[arg-type]
        # Its number was given to another transaction, which committed.
        xid = await table.db.fetchval("SELECT pg_current_xact_id()::text")
        if is_there:
            await table.db.execute("INSERT INTO batches VALUES ($1)", BATCH)
        assert await fate_of(pool, Transaction(xid, 1, "another", BATCH), ledger) == fate


async def test_a_transaction_that_may_still_commit_is_waited_for_though_the_ledger_has_it_not(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinkwell.sinks._postgres_fate._PATIENCE", 1_000_000)
    ledger = LedgerTable(ledger_of(table))
    async with asyncpg.create_pool(table.dsn, min_size=1, max_size=2) as pool:
        await ledger.open(table.db)  # type: ignore[arg-type]
        await table.db.execute("BEGIN")
        await table.db.execute("INSERT INTO batches VALUES ($1)", BATCH)
        xid = await table.db.fetchval("SELECT pg_current_xact_id()::text")
        asked = Transaction(xid, 1, "another", BATCH)
        assert await fate_of(pool, asked, ledger, seconds=0.1) == "unknown"
        waiting = asyncio.create_task(fate_of(pool, asked, ledger, seconds=10))
        await asyncio.sleep(0.05)
        await table.db.execute("COMMIT")
        assert await waiting == "committed"


@pytest.mark.parametrize("has_ledger", [True, False])
async def test_a_server_that_crashes_after_commit_leaves_it_to_the_ledger(
    has_ledger: bool, table: Table, postgres_server: PostgresServer, make_batch: Any
) -> None:
    async with FaultProxy.to(postgres_server.host, postgres_server.port) as proxy:
        dsn = postgres_server.through(proxy.host, proxy.port)
        ledger = ledger_of(table) if has_ledger else None
        destination = await table.open(dsn=dsn, ledger=ledger, settle_timeout=30.0)
        # The answer is lost, and nobody can be asked before the server has crashed.
        proxy.up.when(b"COMMIT\0", lambda: (proxy.refuse(), proxy.down.cut_after(0)))
        write = asyncio.create_task(destination.write(make_batch(destination, [(1, "a")])))
        async with asyncio.timeout(10):
            while await table.count() == 0:  # noqa: ASYNC110 - the server's doing
                await asyncio.sleep(0.01)
        postgres_server.kill()
        await asyncio.to_thread(postgres_server.restart)
        await proxy.accept()
        [verdict] = await write
    assert isinstance(verdict, Delivered if has_ledger else Unknown)
