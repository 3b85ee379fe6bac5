"""One bad row among ten thousand: how many requests it costs, and that it costs its neighbours nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.core import DeliveryRejected, Outcome, Policy
from sinkwell.sinks.postgres import PostgresReceipt, PostgresSink

if TYPE_CHECKING:
    from tests.servers import PostgresServer
    from tests.sinks.postgres.conftest import Table

COUNT = 10_000
BAD = 4_321
PLAIN = "id int8 PRIMARY KEY, kind int8, body text"
REFUSE = """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF NEW.kind = 9 THEN RAISE 'not this one'; END IF; RETURN NEW; END $$;
    CREATE {} TRIGGER refuse {} INSERT ON events {} FOR EACH ROW EXECUTE FUNCTION refuse()"""
MODES: dict[str, dict[str, Any]] = {
    "insert": {},
    "returning": {"returning": ["id"]},
    "upsert": {"mode": "upsert", "conflict_columns": ["id"]},
}
KEEP: dict[str, Any] = {**MODES["upsert"], "merge_columns": []}
# By what refuses the row: the table, and what comes after it.
CASES: dict[str, tuple[str, str]] = {
    "check": (PLAIN + ", CHECK (kind <> 9)", ""),
    "foreign key": ("id int8 PRIMARY KEY, kind int8 REFERENCES kinds, body text", ""),
    "deferred foreign key": (
        "id int8 PRIMARY KEY, kind int8 REFERENCES kinds DEFERRABLE INITIALLY DEFERRED, body text",
        "",
    ),
    "unique": (PLAIN + ", UNIQUE (kind, body)", "INSERT INTO events VALUES (-1, 9, '4321')"),
    "deferred unique": (
        PLAIN + ", UNIQUE (kind, body) DEFERRABLE INITIALLY DEFERRED",
        "INSERT INTO events VALUES (-1, 9, '4321')",
    ),
    "trigger": (PLAIN, REFUSE.format("", "BEFORE", "")),
    "deferred trigger": (PLAIN, REFUSE.format("CONSTRAINT", "AFTER", "DEFERRABLE INITIALLY DEFERRED")),
}


async def prepare(table: Table, case: str) -> None:
    columns, after = CASES[case]
    await table.db.execute("CREATE TABLE kinds (id int8 PRIMARY KEY); INSERT INTO kinds VALUES (1)")
    await table.make(columns)
    await table.db.execute(after or "SELECT")


def sink_for(table: Table, mode: str, count: int = COUNT) -> PostgresSink:
    return PostgresSink(
        table.dsn,
        table.name,
        ["id", "kind", "body"],
        **(KEEP if mode == "keep" else MODES[mode]),
        policy=Policy(max_records=count, linger=1.0),
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
async def test_a_bad_row_costs_a_few_requests_and_no_neighbour(mode: str, case: str, table: Table) -> None:
    await prepare(table, case)
    rows = [(i, 9 if i == BAD else 1, f"{i}") for i in range(COUNT)]
    async with sink_for(table, mode) as sink:
        outcomes = await sink.put_many(rows)
        stats = sink.stats()
    [(index, error)] = [(i, outcome) for i, outcome in enumerate(outcomes) if isinstance(outcome, Exception)]
    assert index == BAD
    assert isinstance(error, DeliveryRejected)
    assert error.outcome is Outcome.NOT_WRITTEN
    assert isinstance(error.__cause__, asyncpg.PostgresError)
    assert all(isinstance(outcome, PostgresReceipt) for i, outcome in enumerate(outcomes) if i != BAD)
    assert await table.db.fetchval("SELECT count(*) FROM events WHERE id >= 0") == COUNT - 1
    # Itself alone, and its neighbours.
    assert stats.sealed["isolation"] <= 2


@pytest.mark.parametrize("mode", [*MODES, "keep"])
async def test_a_row_that_a_trigger_leaves_out_costs_a_few_requests_and_gets_no_receipt(
    mode: str, table: Table
) -> None:
    await prepare(table, "trigger")
    await table.db.execute("""CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.kind = 9 THEN RETURN NULL; END IF; RETURN NEW; END $$""")
    if mode == "keep":
        # Neither are these written, and they are there.
        await table.db.execute("INSERT INTO events SELECT n, 1, 'kept' FROM generate_series(300, 320) n")
    async with sink_for(table, mode, 1_000) as sink:
        outcomes = await sink.put_many([(i, 9 if i == 321 else 1, "") for i in range(1_000)])
        stats = sink.stats()
    [error] = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert error is outcomes[321]
    assert isinstance(error, DeliveryRejected)
    assert "a trigger" in str(error.__cause__)
    assert await table.count() == 999
    assert stats.sealed["isolation"] <= 2


@pytest.mark.parametrize("mode", MODES)
async def test_several_bad_rows_of_one_batch_are_all_found(mode: str, table: Table) -> None:
    await prepare(table, "foreign key")
    rows = [(i, 9 if i % 100 == 99 else 1, "") for i in range(500)]
    async with sink_for(table, mode, 500) as sink:
        outcomes = await sink.put_many(rows)
        stats = sink.stats()
    assert [i for i, outcome in enumerate(outcomes) if isinstance(outcome, Exception)] == [99, 199, 299, 399, 499]
    assert await table.count() == 495
    assert stats.sealed["isolation"] <= 2 * 5


async def test_a_quoted_key_that_looks_like_anothers_only_costs_a_request(table: Table) -> None:
    # As text both are "(1, 2)": the suspect is tried alone, and not believed.
    await table.make("id int8 PRIMARY KEY, a text, b text, UNIQUE (a, b) DEFERRABLE INITIALLY DEFERRED")
    await table.db.execute("INSERT INTO events VALUES (0, '1', '2, 3')")
    policy = Policy(max_records=3, linger=1.0)
    async with PostgresSink(table.dsn, table.name, ["id", "a", "b"], policy=policy) as sink:
        outcomes = await sink.put_many([(1, "1", "2, 3"), (2, "x", "y"), (3, "1, 2", "3")])
    assert [isinstance(outcome, PostgresReceipt) for outcome in outcomes] == [False, True, True]


async def test_without_the_right_to_temporary_tables_the_batch_is_halved(
    table: Table, postgres_server: PostgresServer
) -> None:
    await prepare(table, "deferred trigger")
    role = table.schema.replace("test", "role")
    await table.db.execute(f"""REVOKE TEMPORARY ON DATABASE sinkwell FROM PUBLIC;
        CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA {table.schema} TO {role};
        GRANT INSERT ON events TO {role}""")
    dsn = f"postgresql://{role}:x@{postgres_server.host}:{postgres_server.port}/sinkwell"
    try:
        async with PostgresSink(dsn, table.name, ["id", "kind", "body"], policy=Policy(max_records=100)) as sink:
            outcomes = await sink.put_many([(i, 9 if i == 77 else 1, "") for i in range(100)])
            halves = sink.stats().sealed["isolation"]
    finally:
        await table.db.execute(f"""GRANT TEMPORARY ON DATABASE sinkwell TO PUBLIC;
            DROP OWNED BY {role}; DROP ROLE {role}""")
    assert [i for i, outcome in enumerate(outcomes) if isinstance(outcome, Exception)] == [77]
    assert 2 < halves <= 9
