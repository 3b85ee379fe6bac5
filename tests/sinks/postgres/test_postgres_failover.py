"""Two servers in one dsn, a primary and its standby: the sink writes to whichever is the primary."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.core import ConfigError, Delivered, Policy, Unknown
from sinkwell.sinks._postgres_connect import Dsn
from sinkwell.sinks._postgres_destination import PostgresDestination
from sinkwell.sinks._postgres_spec import PostgresTable
from sinkwell.sinks.postgres import Ledger, PostgresSink
from tests.faults import FaultProxy
from tests.servers import PostgresServer, PostgresStandby

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

LEDGER = Ledger("batches", create=True)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[PostgresServer, PostgresStandby]]:
    # Never one that a variable names: these are broken for good.
    monkeypatch.delenv(PostgresServer.variable, raising=False)
    with PostgresServer.start() as primary:
        asyncio.run(run(primary, "CREATE TABLE events (id int8, body text)"))
        with PostgresStandby.start(primary=primary) as standby:
            yield primary, standby


async def run(server: PostgresServer, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(server.dsn)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


def both(first: str, second: PostgresServer) -> str:
    return f"postgresql://sinkwell:sinkwell@{first},{second.host}:{second.port}/sinkwell"


def place(server: PostgresServer) -> str:
    return f"{server.host}:{server.port}"


@pytest.mark.parametrize("how", ["killed", "hangs"])
async def test_rows_go_on_to_the_promoted_standby_each_exactly_once(
    how: str, pair: tuple[PostgresServer, PostgresStandby]
) -> None:
    primary, standby = pair
    policy = Policy(max_records=100, concurrency=4, attempt_timeout=2.0, delivery_timeout=60.0)
    async with PostgresSink(
        both(place(primary), standby), "events", ["id", "body"], policy=policy, ledger=LEDGER, settle_timeout=30.0
    ) as sink:
        putting = asyncio.create_task(sink.put_many([(number, "x") for number in range(10_000)]))
        while sink.stats().delivered < 1_000:  # noqa: ASYNC110 - what is waited for is another program's doing
            await asyncio.sleep(0.005)
        primary.kill() if how == "killed" else primary.pause()
        await asyncio.to_thread(standby.promote)
        outcomes = await putting
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    [counted] = await run(standby, "SELECT count(*), count(DISTINCT id) AS ids FROM events")
    assert tuple(counted) == (10_000, 10_000)


@pytest.fixture
async def wire(pair: tuple[PostgresServer, PostgresStandby]) -> AsyncIterator[FaultProxy]:
    async with FaultProxy.to(pair[0].host, pair[0].port) as proxy:
        yield proxy


@pytest.mark.parametrize("ledger", [None, LEDGER])
async def test_the_fate_of_a_commit_that_a_failover_cut_is_told_by_the_ledger_alone(
    ledger: Ledger | None, pair: tuple[PostgresServer, PostgresStandby], wire: FaultProxy, make_batch: Any
) -> None:
    primary, standby = pair
    dsn = Dsn(both(f"{wire.host}:{wire.port}", standby))
    table = PostgresTable("events", ["id", "body"])
    destination = PostgresDestination(dsn, table, ledger=ledger, settle_timeout=30.0)
    await destination.open()
    wire.up.when(b"COMMIT\0", lambda: (wire.down.cut_after(0), wire.refuse()))
    writing = asyncio.create_task(destination.write(make_batch(destination, [(1, "a")])))
    while not await run(primary, "SELECT FROM events"):  # noqa: ASYNC110 - another program's doing
        await asyncio.sleep(0.02)
    primary.kill()
    await asyncio.to_thread(standby.promote)
    [verdict] = await writing
    assert isinstance(verdict, Unknown if ledger is None else Delivered)
    assert len(await run(standby, "SELECT FROM events")) == 1
    [after] = await destination.write(make_batch(destination, [(2, "b")]))
    assert isinstance(after, Delivered)
    await destination.aclose()


async def test_a_primary_that_takes_no_more_writes_is_left_for_the_one_that_does(
    pair: tuple[PostgresServer, PostgresStandby],
) -> None:
    primary, standby = pair
    with pytest.raises(ConfigError, match=r"read_write|ReadOnly"):
        await PostgresSink(standby.dsn, "events", ["id", "body"]).open()
    async with PostgresSink(both(place(standby), primary), "events", ["id", "body"]) as sink:
        await sink.put((1, "on the primary, though it is named last"))
        primary.set(default_transaction_read_only="on", synchronous_standby_names="")
        await asyncio.to_thread(standby.promote)
        receipts = [await sink.put((number, "on the new one")) for number in range(2, 5)]
    assert receipts[-1].attempts == 1
    assert [row["id"] for row in await run(standby, "SELECT id FROM events ORDER BY id")] == [1, 2, 3, 4]
    assert len(await run(primary, "SELECT FROM events")) == 1
