"""The wire is cut after each of the bytes of a conversation, in either direction; then the rows are counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Delivered, Retry
from sinkwell.sinks._postgres_ledger import Ledger
from tests.faults import FaultProxy

if TYPE_CHECKING:
    from tests.servers import PostgresServer
    from tests.sinks.postgres.conftest import Table

MODES: dict[str, dict[str, Any]] = {
    "insert": {},
    "returning": {"returning": ["id"]},
    "upsert": {"mode": "upsert", "conflict_columns": ["id"]},
    "keep": {"mode": "upsert", "conflict_columns": ["id"], "merge_columns": []},
}
# So many bytes further each time: within every message, and within each of its parts.
STEP = 3


class Cuts:
    """Writes batches of two rows through a proxy that cuts the wire, and keeps what their verdicts promised."""

    def __init__(self, proxy: FaultProxy, destination: Any, make_batch: Any) -> None:
        self._proxy = proxy
        self._destination = destination
        self._make_batch = make_batch
        self.cuts = 0
        self.promised: set[int] = set()

    async def over(self, way: str, first: int) -> None:
        """Cut after `first` bytes, and then further and further, until a conversation ends before the cut."""
        after = first
        while await self._write(getattr(self._proxy, way), after):
            after += STEP

    async def _write(self, way: Any, after: int) -> bool:
        number = 2 * self.cuts
        self.cuts += 1
        pool = self._destination._connections.pool
        # A new connection that has said nothing yet but who it is.
        await pool.expire_connections()
        async with pool.acquire():
            pass
        way.cut_after(after)
        async with asyncio.timeout(20):
            verdicts = await self._destination.write(
                self._make_batch(self._destination, [(number, "a"), (number + 1, "b")])
            )
        is_cut = way._bytes_to_cut is None
        way.heal()
        assert {type(verdict) for verdict in verdicts} in ({Delivered}, {Retry})
        if isinstance(verdicts[0], Delivered):
            self.promised |= {number, number + 1}
        return is_cut


async def counted(cuts: Cuts, table: Table) -> None:
    """Each row is there once, if it was promised, and not at all if not; of both there are some."""
    assert await table.ids() == sorted(cuts.promised)
    assert 0 < len(cuts.promised) // 2 < cuts.cuts


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["up", "down"])
async def test_wherever_the_wire_is_cut_the_rows_are_there_exactly_if_the_verdict_says_so(
    way: str, mode: str, table: Table, postgres_server: PostgresServer, make_batch: Any
) -> None:
    # Without a constraint a row that were written twice would be counted twice.
    await table.make("id int8, body text")
    if "conflict_columns" in MODES[mode]:
        await table.db.execute("ALTER TABLE events ADD PRIMARY KEY (id)")
    async with FaultProxy.to(postgres_server.host, postgres_server.port) as proxy:
        dsn = postgres_server.through(proxy.host, proxy.port)
        destination = await table.open(dsn=dsn, most_in_flight=1, **MODES[mode])
        cuts = Cuts(proxy, destination, make_batch)
        await cuts.over(way, [*MODES].index(mode) % STEP)
        await destination.aclose()
    await counted(cuts, table)


@pytest.mark.parametrize("way", ["up", "down"])
async def test_where_the_server_can_not_tell_any_more_the_ledger_does(
    way: str, table: Table, postgres_server: PostgresServer, make_batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await table.make("id int8, body text")
    async with FaultProxy.to(postgres_server.host, postgres_server.port) as proxy:
        dsn = postgres_server.through(proxy.host, proxy.port)
        ledger = Ledger(f"{table.schema}.batches", create=True)
        destination = await table.open(dsn=dsn, most_in_flight=1, ledger=ledger)
        # As after a failover: what is asked later is in another life than what was written.
        monkeypatch.setattr("sinkwell.sinks._postgres_connections.life_of", another_life)
        cuts = Cuts(proxy, destination, make_batch)
        await cuts.over(way, 0)
        await destination.aclose()
    await counted(cuts, table)
    assert await table.db.fetchval("SELECT count(*) FROM batches") == len(cuts.promised) // 2


async def another_life(_connection: object) -> str:
    return "another"
