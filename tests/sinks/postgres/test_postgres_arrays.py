"""Small upserts go in arrays, with one statement: what is there afterwards is what the temporary table would give."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from sinkwell.core import BatchRefused, Delivered
from sinkwell.sinks._postgres_arrays import MOST_ROWS
from sinkwell.sinks.postgres import Ledger

if TYPE_CHECKING:
    from tests.sinks.postgres.conftest import Table

BY_ID: dict[str, Any] = {"mode": "upsert", "conflict_columns": ["id"]}
TELLING = """
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.body := CASE WHEN current_query() LIKE '%unnest%' THEN 'arrays' ELSE 'table' END; RETURN NEW; END $$;
CREATE TRIGGER tell BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION tell()
"""
ISOLATION = """
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.body := current_setting('transaction_isolation'); RETURN NEW; END $$;
CREATE TRIGGER tell BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION tell()
"""
EVERYTHING = {
    "id": ("int8", 2**63 - 1, -1),
    "small": ("int2", -5, None),
    "middle": ("int4 CHECK (middle > 0)", 7, 8),
    "real": ("float4", 0.5, float("inf")),
    "double": ("float8", 1e300, None),
    "exact": ("numeric(10,2)", Decimal("1.005"), Decimal("NaN")),
    "flag": ("bool", True, None),
    "short": ("varchar(3)", "ab   ", "äöü"),
    "body": ("text", "", "NULL"),
    "raw": ("bytea", b"", b"\x00{,}"),
    "day": ("date", date(1, 1, 1), None),
    "hour": ("time(0)", time(1, 2, 3, 600_000), None),
    "local": ("timestamp(3)", datetime(2020, 1, 1, 0, 0, 0, 1_500), None),  # noqa: DTZ001 - without a zone
    "instant": ("timestamptz", datetime(2020, 1, 1, tzinfo=UTC), None),
    "who": ("uuid", UUID(int=1), str(UUID(int=2))),
    "text_json": ("json", {"a": [1, None]}, None),
    "binary_json": ("jsonb", ["x", "{"], {}),
}


async def written(destination: Any, batch: Any) -> None:
    assert {type(verdict) for verdict in await destination.write(batch)} == {Delivered}


async def ways(table: Table) -> set[str]:
    return {row["body"] for row in await table.db.fetch("SELECT body FROM events")}


@pytest.mark.parametrize(("count", "way"), [(1, "arrays"), (MOST_ROWS, "arrays"), (MOST_ROWS + 1, "table")])
async def test_a_small_upsert_needs_no_temporary_table(table: Table, make_batch: Any, count: int, way: str) -> None:
    await table.db.execute(TELLING)
    destination = await table.open(**BY_ID)
    await written(destination, make_batch(destination, [(number, "") for number in range(count)]))
    assert await ways(table) == {way}


async def test_many_bytes_are_copied_however_few_rows_they_are(table: Table, make_batch: Any) -> None:
    await table.db.execute(TELLING)
    destination = await table.open(**BY_ID)
    await written(destination, make_batch(destination, [(1, "x" * 2**21)]))
    assert await ways(table) == {"table"}


async def test_arrays_store_each_type_as_a_copy_does(table: Table, make_batch: Any) -> None:
    columns = ", ".join(f"{name} {kind}" for name, (kind, *_) in EVERYTHING.items())
    await table.make(f"{columns}, PRIMARY KEY (id)")
    rows = [tuple(values[at] for values in EVERYTHING.values()) for at in (1, 2)]
    stored: list[list[Any]] = []
    for is_by_arrays in (True, False):
        destination = await table.open(*EVERYTHING, **BY_ID)
        reading = destination._targets.first.reading
        assert reading.arrays is not None
        reading.arrays = reading.arrays if is_by_arrays else None
        await written(destination, make_batch(destination, rows))
        stored.append([str(row) for row in await table.db.fetch("SELECT events::text FROM events ORDER BY id")])
        await table.db.execute("TRUNCATE events")
    assert stored[0] == stored[1]
    assert len(stored[0]) == 2


async def test_keys_that_only_the_column_makes_equal_are_merged_all_the_same(table: Table, make_batch: Any) -> None:
    await table.make("id numeric(10,2) PRIMARY KEY, body text")
    destination = await table.open(**BY_ID)
    rows = [(Decimal("1.001"), "first"), (Decimal("1.002"), "last")]
    await written(destination, make_batch(destination, rows))
    assert [tuple(row) for row in await table.db.fetch("SELECT * FROM events")] == [(Decimal("1.00"), "last")]


async def test_a_value_that_is_too_long_is_refused_and_not_cut(table: Table, make_batch: Any) -> None:
    await table.make("id int8 PRIMARY KEY, body varchar(3)")
    destination = await table.open(**BY_ID)
    batch = make_batch(destination, [(1, "abc"), (2, "abcd")])
    with pytest.raises(BatchRefused) as refused:
        await destination.write(batch)
    assert refused.value.suspect == 1
    assert await table.count() == 0


@pytest.mark.parametrize("mode", ["insert", "upsert"])
async def test_no_batch_keeps_a_snapshot_older_than_its_lock_whatever_the_session_says(
    table: Table, make_batch: Any, mode: str
) -> None:
    # The shape of before the lock would be told there, while the rows meet the one of after it.
    await table.db.execute(ISOLATION)
    kept = "&default_transaction_isolation=repeatable%20read"
    dsn = table.dsn + (kept if "?" in table.dsn else f"?{kept[1:]}")
    destination = await table.open(dsn=dsn, **(BY_ID if mode == "upsert" else {}))
    await written(destination, make_batch(destination, [(1, "")]))
    assert await ways(table) == {"read committed"}


async def test_a_ledger_also_remembers_what_went_in_arrays(table: Table, make_batch: Any) -> None:
    await table.db.execute(TELLING)
    destination = await table.open(**BY_ID, ledger=Ledger(f"{table.schema}.ledger", create=True))
    await written(destination, make_batch(destination, [(1, "")]))
    assert await ways(table) == {"arrays"}
    assert await table.db.fetchval("SELECT count(*) FROM ledger") == 1


async def test_behind_a_pooler_arrays_are_identified_as_every_batch_is(table: Table, make_batch: Any) -> None:
    # The statement does not tell what a pooler's sessions are told apart by: it would have looked for that in vain.
    await table.db.execute(TELLING)
    destination = await table.open(**BY_ID)
    destination._connections._is_shared = True
    await written(destination, make_batch(destination, [(1, "")]))
    assert await ways(table) == {"arrays"}
