"""Several tables in one sink: each has its own batches, columns, mode, and its own troubles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import ConfigError, DeliveryRejected, InvalidRecord, Policy
from sinkwell.sinks.postgres import PostgresReceipt, PostgresSink, PostgresTable, Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sinks.postgres.conftest import Table


@dataclass
class Visit:
    who: str
    times: int


@pytest.fixture
async def sink(table: Table) -> AsyncIterator[PostgresSink]:
    await table.db.execute(
        f"""CREATE TABLE visits (who text PRIMARY KEY, times int); CREATE TABLE "{table.schema}"."my.Log"
        (n int8 GENERATED ALWAYS AS IDENTITY, what text CHECK (what <> 'bad'))"""
    )
    more = [
        PostgresTable(f"{table.schema}.visits", ["who", "times"], mode="upsert", conflict_columns=["who"]),
        PostgresTable(f'{table.schema}."my.Log"', ["what"], returning=["n"]),
    ]
    policy = Policy(linger=0.05, concurrency=4)
    async with PostgresSink(table.dsn, table.name, ["id", "body"], more_tables=more, policy=policy) as sink:
        yield sink


async def test_each_row_goes_to_its_table_in_batches_of_its_own(table: Table, sink: PostgresSink) -> None:
    records: list[Any] = []
    for i in range(300):
        records += [
            (i, "x"),
            Row(Visit(f"{i % 10}", i), f"{table.schema}.visits"),
            Row([f"{i}"], f'{table.schema}."my.Log"'),
        ]
    outcomes = await sink.put_many(records)
    assert all(isinstance(outcome, PostgresReceipt) for outcome in outcomes)
    assert sorted(outcome.returned["n"] for outcome in outcomes[2::3]) == [*range(1, 301)]  # type: ignore[union-attr, index]
    assert await table.count() == 300
    assert await table.db.fetchval("SELECT array_agg(times ORDER BY times) FROM visits") == [*range(290, 300)]
    assert sink.stats().requests < 20


async def test_a_row_without_a_table_goes_to_the_first(table: Table, sink: PostgresSink) -> None:
    await sink.put(Row({"id": 1, "body": "a"}))
    await sink.put(Row((2, "b"), table.name))
    assert await table.ids() == [1, 2]


async def test_a_row_for_a_table_that_the_sink_has_not_is_refused(table: Table, sink: PostgresSink) -> None:
    with pytest.raises(InvalidRecord, match=r"'other' is none of this sink's"):
        await sink.put(Row((1, "a"), "other"))
    async with PostgresSink(table.dsn, table.name, ["id", "body"]) as single:
        await single.put(Row((1, "a"), table.name))
        with pytest.raises(InvalidRecord, match="none of this"):
            await single.put(Row((1, "a"), "other"))


async def test_a_row_is_checked_against_its_own_table(table: Table, sink: PostgresSink) -> None:
    with pytest.raises(InvalidRecord, match="'times' is integer"):
        await sink.put(Row(("me", 1.9), f"{table.schema}.visits"))


async def test_trouble_in_one_table_is_none_of_the_others(table: Table, sink: PostgresSink) -> None:
    await table.db.execute("DROP TABLE visits")
    bad, gone, good = await sink.put_many(
        [Row(["bad"], f'{table.schema}."my.Log"'), Row(("me", 1), f"{table.schema}.visits"), (1, "a")]
    )
    assert isinstance(bad, DeliveryRejected)
    assert isinstance(gone, DeliveryRejected)
    assert isinstance(gone.__cause__, ConfigError)
    assert isinstance(good, PostgresReceipt)
    await table.db.execute("CREATE TABLE visits (who text PRIMARY KEY, times int)")
    assert isinstance(await sink.put(Row(("me", 1), f"{table.schema}.visits")), PostgresReceipt)


def test_a_table_is_named_once() -> None:
    with pytest.raises(ConfigError, match="named twice"):
        PostgresSink("postgresql://localhost/x", "t", ["a"], more_tables=[PostgresTable("t", ["b"])])
