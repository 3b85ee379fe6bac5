"""pgvector's types on a server that has it: no pool of the caller's is needed, and what is wrong is told at `put`."""

from __future__ import annotations

import asyncio
from array import array
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.core import Backoff, ConfigError, InvalidRecord, Policy
from sinkwell.sinks.postgres import PostgresSink
from tests.servers import PostgresServer, PostgresVectorServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

UPSERT: dict[str, Any] = {"mode": "upsert", "conflict_columns": ["id"]}
MODES: list[dict[str, Any]] = [{}, {"returning": ["value"]}, UPSERT, {**UPSERT, "returning": ["value"]}]
NAMES = ["id", "value"]
QUICK = Policy(backoff=Backoff(base=0.01))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresVectorServer]:
    with PostgresVectorServer.start() as server:
        asyncio.run(furnish(server))
        yield server


async def furnish(server: PostgresServer) -> None:
    connection = await asyncpg.connect(server.dsn)
    await connection.execute("CREATE SCHEMA elsewhere; CREATE EXTENSION vector SCHEMA elsewhere")
    await connection.close()


@pytest.fixture
async def db(server: PostgresVectorServer) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server.dsn)
    yield connection
    await connection.close()


async def make(db: asyncpg.Connection, kind: str) -> None:
    await db.execute(f"DROP TABLE IF EXISTS items; CREATE TABLE items (id int8 PRIMARY KEY, value {kind})")


@pytest.mark.parametrize("asked", MODES)
@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("elsewhere.vector(3)", [1, 2.5, -3], "[1,2.5,-3]"),
        ("elsewhere.vector", (0.5,), "[0.5]"),
        ("elsewhere.vector(2)", array("f", [1.5, 2.5]), "[1.5,2.5]"),
        ("elsewhere.halfvec(2)", [65504, -0.5], "[65504,-0.5]"),
        ("elsewhere.vector(2)[]", [(1, 2), None, (3, 4)], '{"[1,2]",NULL,"[3,4]"}'),
        ("elsewhere.vector(2)", None, None),
    ],
)
async def test_a_vector_is_stored_as_it_is_by_a_pool_of_the_sinks_own(
    kind: str, value: Any, stored: str | None, asked: Any, *, db: asyncpg.Connection, server: PostgresServer
) -> None:
    await make(db, kind)
    async with PostgresSink(server.dsn, "items", NAMES, **asked) as sink:
        receipts = [await sink.put((number, value)) for number in range(2)]
        # What one connection was taught, the next one is as well.
        await sink._rows._connections.pool.expire_connections()
        receipts.append(await sink.put((2, value)))
    assert [row[0] for row in await db.fetch("SELECT value::text FROM items")] == [stored] * 3
    if "returning" in asked:
        assert receipts[0].returned == receipts[2].returned


async def test_a_vector_is_handed_back_as_floats(db: asyncpg.Connection, server: PostgresServer) -> None:
    await make(db, "elsewhere.vector(2)")
    async with PostgresSink(server.dsn, "items", NAMES, returning=["value"]) as sink:
        assert (await sink.put((1, [1, 2.5]))).returned == {"value": [1.0, 2.5]}


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("elsewhere.vector(3)", [1.0, 2.0], "has 2 dimensions"),
        ("elsewhere.vector(2)", "[1,2]", "does not take str"),
        ("elsewhere.vector(2)", 5, "does not take int"),
        ("elsewhere.vector(2)", [1.0, "2"], "has str in it"),
        ("elsewhere.vector(2)", [1.0, True], "has bool in it"),
        ("elsewhere.vector(2)", [1.0, None], "has NoneType in it"),
        ("elsewhere.vector(2)", [1.0, float("nan")], "not finite or too large"),
        ("elsewhere.vector(2)", [1.0, 1e39], "not finite or too large"),
        ("elsewhere.halfvec(2)", [1.0, 65505], "not finite or too large"),
        ("elsewhere.vector", [], "no row of 1 to 16,000 numbers"),
        ("elsewhere.vector", [0.0] * 16_001, "no row of 1 to 16,000 numbers"),
        ("elsewhere.vector(2)[]", [(1.0, 2.0, 3.0)], "has 3 dimensions"),
    ],
)
async def test_what_is_no_such_vector_is_refused_at_put(
    kind: str, value: Any, why: str, db: asyncpg.Connection, server: PostgresServer
) -> None:
    await make(db, kind)
    async with PostgresSink(server.dsn, "items", NAMES) as sink:
        with pytest.raises(InvalidRecord, match=why) as caught:
            await sink.put((1, value))
    assert "'value'" in str(caught.value)


async def test_a_list_that_is_changed_after_put_is_stored_as_it_was(
    db: asyncpg.Connection, server: PostgresServer
) -> None:
    await make(db, "elsewhere.vector(2)")
    value = [1.0, 2.0]
    async with PostgresSink(server.dsn, "items", NAMES) as sink:
        delivery = sink.put((1, value))
        value[0] = 9.0
        await delivery
    assert await db.fetchval("SELECT value::text FROM items") == "[1,2]"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("float4[]", "elsewhere.vector(2)"),
        ("elsewhere.vector(2)", "elsewhere.halfvec(2)"),
        ("elsewhere.halfvec", "elsewhere.vector"),
    ],
)
async def test_a_column_that_becomes_a_vector_or_another_one_is_written_without_a_restart(
    before: str, after: str, db: asyncpg.Connection, server: PostgresServer
) -> None:
    await make(db, before)
    async with PostgresSink(server.dsn, "items", NAMES, policy=QUICK) as sink:
        await sink.put((1, [1.0, 2.0]))
        await db.execute(f"ALTER TABLE items ALTER value TYPE {after} USING value::{after}")
        await sink.put((2, [3.0, 4.0]))
        await sink.put((3, [5.0, 6.0]))
    assert await db.fetchval("SELECT string_agg(value::text, ' ' ORDER BY id) FROM items") == "[1,2] [3,4] [5,6]"


async def test_the_server_looks_for_a_bad_row_among_what_was_made_anew_for_a_changed_column(
    db: asyncpg.Connection, server: PostgresServer
) -> None:
    await make(db, "float4[]")
    policy = Policy(concurrency=1, backoff=QUICK.backoff)
    async with PostgresSink(server.dsn, "items", NAMES, policy=policy, returning=["id"]) as sink:
        await db.execute("""
            ALTER TABLE items ALTER value TYPE elsewhere.vector(2);
            CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN IF NEW.id = 321 THEN RAISE 'not this one'; END IF; RETURN NEW; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON items FOR EACH ROW EXECUTE FUNCTION refuse()""")
        learns = sink.put((-1, [1.0, 2.0]))
        outcomes = await sink.put_many([(number, [1.0, 2.0]) for number in range(500)])
        await learns
        stats = sink.stats()
    assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Exception)] == [321]
    assert stats.sealed["isolation"] <= 2


async def test_a_pool_of_the_callers_keeps_its_own_codec(db: asyncpg.Connection, server: PostgresServer) -> None:
    async def teach(connection: asyncpg.Connection) -> None:
        await connection.set_type_codec(
            "vector", schema="elsewhere", encoder=lambda _: bytes.fromhex("000100003f800000"), decoder=bytes,
            format="binary",
        )  # fmt: skip

    await make(db, "elsewhere.vector(1)")
    async with (
        asyncpg.create_pool(server.dsn, min_size=1, max_size=2, init=teach) as pool,
        PostgresSink(None, "items", NAMES, pool=pool) as sink,
    ):
        await sink.put((1, "anything that the codec knows"))
    assert await db.fetchval("SELECT value::text FROM items") == "[1]"


async def test_another_type_of_this_name_is_not_taken_for_pgvectors(
    db: asyncpg.Connection, server: PostgresServer
) -> None:
    await db.execute("""
        CREATE SCHEMA mine; CREATE TYPE mine.vector;
        CREATE FUNCTION mine.vin(cstring) RETURNS mine.vector LANGUAGE internal IMMUTABLE STRICT AS 'byteain';
        CREATE FUNCTION mine.vout(mine.vector) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'byteaout';
        CREATE TYPE mine.vector (INPUT = mine.vin, OUTPUT = mine.vout)""")
    await make(db, "mine.vector")
    with pytest.raises(ConfigError, match="vector"):
        await PostgresSink(server.dsn, "items", NAMES).open()
    await db.execute("DROP TABLE items; DROP SCHEMA mine CASCADE")
