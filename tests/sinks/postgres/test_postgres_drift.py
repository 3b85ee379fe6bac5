"""The table is changed while the sink runs: what is told is clear, and the sink goes on when the table is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.core import Backoff, ConfigError, DeliveryRejected, InvalidRecord, Policy
from sinkwell.sinks.postgres import PostgresReceipt, PostgresSink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sinks.postgres.conftest import Table

MODES: dict[str, dict[str, Any]] = {
    "insert": {},
    "returning": {"returning": ["id", "body"]},
    "upsert": {"mode": "upsert", "conflict_columns": ["id"]},
    "upsert, returning": {"mode": "upsert", "conflict_columns": ["id"], "returning": ["body"]},
    "keep": {"mode": "upsert", "conflict_columns": ["id"], "merge_columns": []},
}


@pytest.fixture(params=MODES)
async def sink(request: pytest.FixtureRequest, table: Table) -> AsyncIterator[PostgresSink]:
    policy = Policy(backoff=Backoff(base=0.01), concurrency=2)
    async with PostgresSink(table.dsn, table.name, ["id", "body"], **MODES[request.param], policy=policy) as sink:
        await sink.put_many([(i, "before") for i in range(-10, 0)])
        yield sink


async def test_a_column_added_changes_nothing(table: Table, sink: PostgresSink) -> None:
    await table.db.execute("ALTER TABLE events ADD more text DEFAULT 'x'")
    assert isinstance(await sink.put((1, "a")), PostgresReceipt)


async def test_a_needed_column_added_is_told_and_gone_again_goes_on(table: Table, sink: PostgresSink) -> None:
    await table.db.execute(
        "ALTER TABLE events ADD more text NOT NULL DEFAULT ''; ALTER TABLE events ALTER more DROP DEFAULT"
    )
    with pytest.raises(DeliveryRejected) as caught:
        await sink.put((1, "a"))
    assert isinstance(caught.value.__cause__, asyncpg.NotNullViolationError)
    await table.db.execute("ALTER TABLE events ALTER more SET DEFAULT ''")
    assert isinstance(await sink.put((1, "a")), PostgresReceipt)


async def test_a_dropped_column_is_named_until_it_is_back(table: Table, sink: PostgresSink) -> None:
    await table.db.execute("ALTER TABLE events DROP body")
    with pytest.raises(DeliveryRejected) as caught:
        await sink.put((1, "a"))
    assert isinstance(caught.value.__cause__, ConfigError)
    assert "no column 'body'" in str(caught.value.__cause__)
    await table.db.execute("ALTER TABLE events ADD body text")
    assert isinstance(await sink.put((1, "a")), PostgresReceipt)


async def test_a_dropped_table_is_named_until_it_is_back(table: Table, sink: PostgresSink) -> None:
    await table.db.execute("DROP TABLE events")
    with pytest.raises(DeliveryRejected) as caught:
        await sink.put((1, "a"))
    assert "does not exist" in str(caught.value.__cause__)
    await table.make("id int8 PRIMARY KEY, body text")
    assert isinstance(await sink.put((1, "a")), PostgresReceipt)
    assert await table.ids() == [1]


@pytest.mark.parametrize(("kind", "value"), [("float8", 1.5), ("numeric", 3), ("int4", 7)])
async def test_a_changed_type_is_read_again_and_nothing_is_stored_as_garbage(
    kind: str, value: Any, table: Table, sink: PostgresSink
) -> None:
    await table.db.execute(f"ALTER TABLE events ALTER id TYPE {kind}")
    assert isinstance(await sink.put((2, "by the old type")), PostgresReceipt)
    assert isinstance(await sink.put((value, "by the new")), PostgresReceipt)
    assert await table.ids() == [*range(-10, 0), *sorted([2, value])]


async def test_a_column_that_may_be_null_from_now_on_may_be_none(table: Table, sink: PostgresSink) -> None:
    await table.db.execute("UPDATE events SET body = ''; ALTER TABLE events ALTER body SET NOT NULL")
    await sink.put((1, "a"))
    with pytest.raises(InvalidRecord, match="NOT NULL"):
        await sink.put((2, None))
    await table.db.execute("ALTER TABLE events ALTER body DROP NOT NULL")
    await sink.put((3, "a"))
    assert isinstance(await sink.put((2, None)), PostgresReceipt)


async def test_a_unique_constraint_that_an_upsert_needs_is_told_until_it_is_back(table: Table) -> None:
    asked: dict[str, Any] = MODES["upsert"]
    async with PostgresSink(table.dsn, table.name, ["id", "body"], **asked) as sink:
        await table.db.execute("ALTER TABLE events DROP CONSTRAINT events_pkey")
        with pytest.raises(DeliveryRejected) as caught:
            await sink.put((1, "a"))
        assert "no unique or exclusion constraint" in str(caught.value.__cause__)
        await table.db.execute("ALTER TABLE events ADD PRIMARY KEY (id)")
        assert isinstance(await sink.put((1, "a")), PostgresReceipt)


async def test_a_part_added_to_a_composite_is_read_again(table: Table) -> None:
    await table.db.execute("CREATE TYPE place AS (name text)")
    await table.make("id int8, place place")
    policy = Policy(backoff=Backoff(base=0.01))
    async with PostgresSink(table.dsn, table.name, ["id", "place"], policy=policy) as sink:
        await sink.put((1, ("x",)))
        await table.db.execute("ALTER TYPE place ADD ATTRIBUTE floor int")
        with pytest.raises((DeliveryRejected, InvalidRecord)):
            await sink.put((2, ("y",)))
        assert isinstance(await sink.put((2, ("y", 3))), PostgresReceipt)
    assert tuple(await table.db.fetchval("SELECT place FROM events WHERE id = 2")) == ("y", 3)
