"""The wire is cut after each of the bytes of a conversation, in either direction; then the rows are counted."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from base64 import b64encode
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Delivered, Retry
from sinkwell.sinks._postgres_ledger import Ledger
from tests.faults import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.faults import Way
    from tests.servers import PostgresServer
    from tests.sinks.postgres.conftest import Table

UPSERT: dict[str, Any] = {"mode": "upsert", "conflict_columns": ["id"]}
MODES: dict[str, dict[str, Any]] = {
    "insert": {},
    "returning": {"returning": ["id"]},
    "upsert in arrays": UPSERT,
    "upsert by temporary table": UPSERT,
    "keep": {**UPSERT, "merge_columns": []},
}
WHAT = (*MODES, "log-in", "ledger")
# What a whole conversation ends with: COMMIT, and its answer; a log-in with what comes before the first statement.
IDLE = b"Z\0\0\0\x05I"
LAST = {"up": b"Q\0\0\0\x0bCOMMIT\0", "down": b"C\0\0\0\x0bCOMMIT\0" + IDLE}
# A message's type and length.
HEAD = 5
LONGEST_WHOLE = 48
PLACES = 8


def points(said: bytes) -> Iterator[int]:
    """Where to cut: after each byte, though in a long body at a few places only, and after its last bytes.

    Neither side looks at a message before it has all of it, so within its body one place is as good as another.
    """
    start = 0
    while start < len(said):
        end = start + 1 + int.from_bytes(said[start + 1 : start + HEAD])
        assert end <= len(said), "the last message was not heard to its end"
        if end - start <= LONGEST_WHOLE:
            yield from range(start, end)
        else:
            yield from range(start, start + HEAD)
            yield from range(start + HEAD, end - 3, (end - start) // PLACES)
            yield from range(end - 3, end)
        start = end


class Cuts:
    """Writes batches of two rows through a proxy that cuts the wire, and keeps what their verdicts promised."""

    def __init__(self, proxy: FaultProxy, destination: Any, make_batch: Any, first: int, *, is_known: bool) -> None:
        self._proxy = proxy
        self._destination = destination
        self._make_batch = make_batch
        self._next = first
        # Whether the server knows who writes before the wire is cut.
        self._is_known = is_known
        self.promised: set[int] = set()

    async def over(self, name: str) -> None:
        """Cut everywhere in one direction, until a conversation ends before the cut, or the log-in does."""
        way: Way = getattr(self._proxy, name)
        after = -1
        for after in await self.places(name):
            assert await self._write(way, after)
        # Longer by a digit of a transaction's number, perhaps.
        while self._is_known and await self._write(way, after := after + 1):
            pass

    async def places(self, name: str) -> list[int]:
        """Rehearse the conversation without a cut, and return all the places to cut one direction of it at."""
        said = await self._rehearsed(getattr(self._proxy, name))
        if self._is_known:
            assert said.endswith(LAST[name])
            return list(points(said))
        assert name == "up" or said.endswith(IDLE)
        return list(range(len(said)))

    async def _rehearsed(self, way: Way) -> bytes:
        """Return what is said one way where nothing is cut."""
        self._hang_up()
        said = way.heard = bytearray()
        if self._is_known:
            assert not await self._write(way, 1_000_000)
        else:
            await self._connect_anew()
        way.heard = None
        return bytes(said)

    async def _connect_anew(self) -> None:
        """Have a new connection that has said nothing yet but who it is."""
        self._hang_up()
        async with self._destination._connections.pool.acquire():
            pass

    def _hang_up(self) -> None:
        # Else what the old one says at its end is heard, or cut, as the new one's.
        self._proxy.reset()
        for holder in self._destination._connections.pool._holders:
            holder.terminate()

    async def _write(self, way: Way, after: int) -> bool:
        rows = [(self._next, "a"), (self._next + 1, "b")]
        self._next += 2
        if self._is_known:
            await self._connect_anew()
            if way.heard is not None:
                way.heard.clear()
        else:
            self._hang_up()
        way.cut_after(after)
        async with asyncio.timeout(30):
            verdicts = await self._destination.write(self._make_batch(self._destination, rows))
        is_cut = way._bytes_to_cut is None
        way.heal()
        assert {type(verdict) for verdict in verdicts} in ({Delivered}, {Retry})
        if isinstance(verdicts[0], Delivered):
            self.promised.update(number for number, _ in rows)
        return is_cut


@pytest.fixture
async def hurried(table: Table) -> AsyncIterator[str]:
    """A role whose password is salted once and not 4,096 times over, which is most of a log-in's work."""
    salted = hashlib.pbkdf2_hmac("sha256", b"sinkwell", b"salt", 1)
    keys = [hmac.digest(salted, name, "sha256") for name in (b"Client Key", b"Server Key")]
    salt, stored, key = (b64encode(part).decode() for part in (b"salt", hashlib.sha256(keys[0]).digest(), keys[1]))
    role = table.schema.replace("test", "role")
    await table.db.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$1:{salt}${stored}:{key}'")
    yield role
    await table.db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


@dataclass
class Rehearsed:
    """What a conversation needs, and who has it."""

    table: Table
    role: str
    server: PostgresServer
    make_batch: Any

    async def make(self, what: str) -> None:
        # Without a constraint a row that were written twice would be counted twice; and no array is made of names.
        body = "name" if what == "upsert by temporary table" else "text"
        key = "PRIMARY KEY" if "conflict_columns" in MODES.get(what, {}) else ""
        await self.table.make(f"id int8 {key}, body {body}")

    @asynccontextmanager
    async def cuts(self, what: str, first: int = 0) -> AsyncIterator[Cuts]:
        """A wire of one's own, and who writes through it."""
        ledger = Ledger(f"{self.table.schema}.batches", create=True) if what == "ledger" else None
        async with FaultProxy.to(self.server.host, self.server.port) as proxy:
            dsn = self.server.through(proxy.host, proxy.port).replace("sinkwell:", f"{self.role}:", 1)
            destination = await self.table.open(dsn=dsn, most_in_flight=1, ledger=ledger, **MODES.get(what, {}))
            yield Cuts(proxy, destination, self.make_batch, first, is_known=what != "log-in")
            await destination.aclose()

    async def cut_everywhere(self, what: str) -> None:
        """Cut both ways, each on a wire of its own; a row is there once if it was promised, and not at all if not."""

        async def over(way: str, first: int) -> int:
            async with self.cuts(what, first) as cuts:
                await cuts.over(way)
            promised.update(cuts.promised)
            return len(cuts.promised) // 2

        await self.make(what)
        promised: set[int] = set()
        up, down = await asyncio.gather(over("up", 0), over("down", 1_000_000))
        assert await self.table.ids() == sorted(promised)
        # Two conversations were not cut; and COMMIT was whole once, its answer's 18 bytes short as often.
        assert up >= (0 if what == "log-in" else 3)
        assert down >= (0 if what == "log-in" else 20)


@pytest.fixture
async def rehearsed(table: Table, hurried: str, postgres_server: PostgresServer, make_batch: Any) -> Rehearsed:
    return Rehearsed(table, hurried, postgres_server, make_batch)


@pytest.mark.parametrize("mode", MODES)
async def test_wherever_the_wire_is_cut_the_rows_are_there_exactly_if_the_verdict_says_so(
    mode: str, rehearsed: Rehearsed
) -> None:
    await rehearsed.cut_everywhere(mode)


async def test_a_wire_that_is_cut_at_log_in_loses_and_doubles_nothing(rehearsed: Rehearsed) -> None:
    await rehearsed.cut_everywhere("log-in")


async def test_where_the_server_can_not_tell_any_more_the_ledger_does(
    rehearsed: Rehearsed, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after a failover: what is asked later is in another life than what was written.
    monkeypatch.setattr("sinkwell.sinks._postgres_connections.life_of", another_life)
    await rehearsed.cut_everywhere("ledger")
    table = rehearsed.table
    assert await table.db.fetchval("SELECT count(*) FROM batches") == await table.count() // 2


async def another_life(_connection: object) -> str:
    return "another"


async def test_the_wire_is_cut_thousands_of_times(rehearsed: Rehearsed) -> None:
    places = 0
    for what in WHAT:
        await rehearsed.make(what)
        async with rehearsed.cuts(what) as cuts:
            places += len(await cuts.places("up")) + len(await cuts.places("down"))
    assert places >= 4_500
