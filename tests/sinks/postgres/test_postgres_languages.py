"""A server that speaks another language: what it says of a row is read all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.core import BatchRefused, Delivered, Retry
from sinkwell.sinks._postgres_errors import copy_line
from tests.servers.postgres import LANGUAGES

if TYPE_CHECKING:
    from tests.sinks.postgres.conftest import Table

# As the translations of PostgreSQL 15 to 18 have it, with and without a column.
SAID = [
    "COPY t, line 5",
    "COPY t, line 5, column c",
    "COPY t, Zeile 5, Spalte c",
    "COPY t, línea 5, columna c",
    "COPY t, ligne 5",
    "COPY t, riga 5, colonna c",
    "tのCOPY、行 5",
    "tのCOPY、行 5、列 c",
    "COPY t, ხაზი 5, სვეტი c",
    "t 복사, 5번째 줄",
    "t 복사, 5번째 줄, c 열",
    "COPY t, строка 5, столбец c",
    "COPY t, rad 5, kolumn c",
    "COPY t, рядок 5",
    "COPY t, 行 5, 列 c",
    'COPY my, table2, line 5, column "x, line 7"',
    "JSON data, line 1: {bad\nCOPY t, line 5, column c",
    "PL/pgSQL-Funktion f() Zeile 1 bei RAISE\nCOPY t, Zeile 5",
]
NO_ROW = ["", "PL/pgSQL function f(int4, text) line 5 at RAISE", "SQL-Anweisung »SELECT 5«", "COPY t, line 0"]


@pytest.mark.parametrize("context", SAID)
def test_the_line_is_read_in_every_language(context: str) -> None:
    error = asyncpg.PostgresError.new({"C": "23505", "M": "", "W": context})
    assert copy_line(error, 10) == 4


@pytest.mark.parametrize("context", NO_ROW)
def test_a_line_that_is_not_copys_is_not_taken_for_one(context: str) -> None:
    assert copy_line(asyncpg.PostgresError.new({"C": "23505", "M": "", "W": context}), 10) is None


@pytest.fixture(params=LANGUAGES)
async def foreign(request: pytest.FixtureRequest, table: Table) -> Table:
    table.dsn += f"?lc_messages={request.param}.UTF-8"
    return table


async def test_a_row_that_a_trigger_refuses_is_pointed_at(foreign: Table, make_batch: Any) -> None:
    await foreign.db.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.id = 7 THEN RAISE 'not this one'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse()""")
    destination = await foreign.open()
    with pytest.raises(BatchRefused) as refused:
        await destination.write(make_batch(destination, [(number, "") for number in range(20)]))
    assert refused.value.suspect == 7
    assert await foreign.count() == 0


async def test_text_that_is_no_json_is_pointed_at_behind_the_parsers_own_line(foreign: Table, make_batch: Any) -> None:
    await foreign.make("id int8, body jsonb")
    destination = await foreign.open()
    rows = [(number, "{bad" if number == 7 else "{}") for number in range(20)]
    with pytest.raises(BatchRefused) as refused:
        await destination.write(make_batch(destination, rows))
    assert refused.value.suspect == 7


@pytest.mark.parametrize("mode", ["insert", "upsert"])
async def test_rows_for_a_type_that_was_changed_are_not_held_to_blame(
    mode: str, foreign: Table, make_batch: Any
) -> None:
    asked: Any = {"mode": mode, "conflict_columns": ["id"]} if mode == "upsert" else {}
    destination = await foreign.open(**asked)
    batch = make_batch(destination, [(1, "a"), (2, "b")])
    assert {type(verdict) for verdict in await destination.write(batch)} == {Delivered}
    await foreign.db.execute("TRUNCATE events; ALTER TABLE events ALTER id TYPE int4")
    assert {type(verdict) for verdict in await destination.write(batch)} == {Retry}
    assert {type(verdict) for verdict in await destination.write(batch)} == {Delivered}
    assert await foreign.ids() == [1, 2]
