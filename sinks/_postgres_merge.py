"""How the rows of one batch get into their table. Before: BEGIN. After: COMMIT, if all of them arrived.

Two ways: (1) COPY straight in; (2) COPY into a temporary table of the transaction's own, and one statement that takes
them from there, because COPY alone can neither merge nor tell what the server made of a row. The temporary table ends
with its transaction: emptying one that is kept costs as much as making it (both truncate files), and one that is kept
would be another connection's behind a proxy that shares connections.
"""

from __future__ import annotations

from hashlib import blake2b
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from ._postgres_errors import RowsSkipped
from ._postgres_table import quote_ident

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ._postgres_connect import Connection
    from ._postgres_spec import PostgresTable
    from ._postgres_table import Table


# Said, whatever the session's default is: in a stricter one a snapshot older than the table's lock would tell the
# columns' shape, and rows encoded for it would meet another.
BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"


class Written(NamedTuple):
    """What became of one row.

    Attributes:
        is_written: `False` if the row with its key was kept.
        returned: the columns that were asked for.
    """

    is_written: bool
    returned: Mapping[str, Any] | None


class Load(Protocol):
    """Puts rows into one table, as it was when it was read."""

    @property
    def begin(self) -> str:
        """What opens the transaction."""
        ...

    async def run(self, connection: Connection, rows: Iterator[tuple[Any, ...]]) -> Sequence[Written] | None:
        """Put the rows in; return what became of each, or `None` if all are simply there.

        Raises:
            RowsSkipped: not all of them arrived.
        """
        ...


def load_for(table: Table, spec: PostgresTable) -> Load:
    """Choose the way into a table."""
    return Merge(table, spec) if spec.is_staged else Copy(table, spec)


class Copy:
    """COPY straight in."""

    def __init__(self, table: Table, spec: PostgresTable) -> None:
        self.begin = BEGIN
        self._table = table
        self._columns = spec.columns

    async def run(self, connection: Connection, rows: Iterator[tuple[Any, ...]]) -> None:
        """Copy the rows.

        Raises:
            RowsSkipped: a trigger left some out.
        """
        name, count = self._table.name, length_hint(rows)
        status = await connection.copy_records_to_table(
            name.table, schema_name=name.schema, columns=self._columns, records=rows
        )
        if status != f"COPY {count}":
            raise RowsSkipped(f"{status} of {count} rows: a trigger on {name} leaves rows out")


class Merge:
    """COPY into a temporary table with the rows' numbers beside them, and one statement from there.

    Rows of one key follow each other as they would one by one, whatever batch they happen to share: of what a later
    row overwrites its values count, of what it does not the first row's. They are inserted in the order of their keys,
    so that two batches that share keys wait for each other instead of deadlocking.

    Attributes:
        number: the column beside the rows that holds their numbers.
        insert: how the statement begins that takes the rows over; what they are taken from follows.
        conflict: how it ends.
    """

    def __init__(self, table: Table, spec: PostgresTable) -> None:
        self._spec = spec
        self._table = table
        number = "number"
        while number in spec.columns:
            number += "_"
        self._names = (number, *spec.columns)
        self.number = quote_ident(number)
        kinds = "".join(f", {quote_ident(column.name)} {column.sql_type}" for column in table.columns)
        shape = f"({self.number} int4{kinds}) ON COMMIT DROP"
        # Its name says its columns: the client remembers the types of a table by its name.
        self._name = f"sinkwell_{blake2b(shape.encode(), digest_size=8).hexdigest()}"
        self._stage = f'pg_temp."{self._name}"'
        self.begin = f"{BEGIN}; CREATE TEMPORARY TABLE {self._stage} {shape}"
        self._keys = [quote_ident(name) for name in spec.conflict_columns]
        self._columns = ", ".join(map(quote_ident, spec.columns))
        # As COPY does, take the values that are given for GENERATED ALWAYS identities.
        self.insert = f"INSERT INTO {table.name} ({self._columns}) OVERRIDING SYSTEM VALUE "
        merged = ", ".join(f"{name} = excluded.{name}" for name in map(quote_ident, spec.merged))
        self.conflict = f" ON CONFLICT ({', '.join(self._keys)}) DO " + (
            f"UPDATE SET {merged}" if merged else "NOTHING"
        )
        self._statement = self._make_statement()

    def _make_statement(self) -> str:
        """Write the statement: (1) inserts that tell, (2) upserts, (3) upserts that tell, (4) upserts that keep."""
        spec, columns, insert, conflict = self._spec, self._columns, self.insert, self.conflict
        returned = [f"{quote_ident(name)} AS r{index}" for index, name in enumerate(spec.returning)]
        if spec.mode == "insert":
            return f"{insert}SELECT {columns} FROM {self._stage} ORDER BY {self.number} RETURNING {', '.join(returned)}"
        keys = ", ".join(self._keys)
        if spec.merged and not returned:
            return insert + self.last_of_each(self._stage) + conflict
        told = ", ".join([*(f"{key} AS k{index}" for index, key in enumerate(self._keys)), *returned])
        same = " AND ".join(f"s.{key} = w.k{index}" for index, key in enumerate(self._keys))
        taken = "".join(f", w.r{index}" for index in range(len(returned)))
        answer = f"SELECT s.{self.number} AS number{taken} FROM %s s JOIN written w ON {same}"
        if spec.merged:
            written = f"written AS ({insert}{self.last_of_each(self._stage)}{conflict} RETURNING {told})"
            return f"WITH {written} {answer % self._stage}"
        first = (
            f"SELECT DISTINCT ON ({keys}) {self.number}, {columns} FROM {self._stage} ORDER BY {keys}, {self.number}"
        )
        written = f"written AS ({insert}SELECT {columns} FROM source{conflict} RETURNING {told})"
        return f"WITH source AS MATERIALIZED ({first}), {written} {answer % 'source'}"

    def part(self, low: str, high: str) -> str:
        """Write a statement that puts in the rows from number `low` to before `high`, and tells nothing."""
        which = f" {self._within(low, high)} "
        if self._spec.mode == "upsert" and self._spec.merged:
            return self.insert + self.last_of_each(self._stage, which) + self.conflict
        conflict = self.conflict if self._spec.mode == "upsert" else ""
        return f"{self.insert}SELECT {self._columns} FROM {self._stage}{which}ORDER BY {self.number}{conflict}"

    def lacks(self, low: str, high: str, written: str) -> str:
        """Write the condition that something left rows out of that statement, which wrote so many."""
        within = self._within(low, high)
        if self._spec.mode == "insert":
            return f"{written} < {high} - {low}"
        if self._spec.merged:
            return f"{written} < (SELECT pg_catalog.count(*) FROM ({self._distinct} {within}) s)"
        return self._has_lost(within)

    def _has_lost(self, within: str = "") -> str:
        """Write the condition that a row was neither written nor there, where an upsert keeps what is there."""
        same = " AND ".join(f"t.{key} = s.{key}" for key in self._keys)
        there = f"SELECT 1 FROM {self._table.name} t WHERE {same}"
        return f"EXISTS (SELECT 1 FROM ({self._distinct} {within}) s WHERE NOT EXISTS ({there}))"

    def _within(self, low: str, high: str) -> str:
        return f"WHERE {self.number} >= {low} AND {self.number} < {high}"

    @property
    def _distinct(self) -> str:
        return f"SELECT DISTINCT {', '.join(self._keys)} FROM {self._stage}"

    def last_of_each(self, stage: str, which: str = " ") -> str:
        """Take a row for each key: the last, with the first one's values where an upsert overwrites nothing."""
        keys, fixed = ", ".join(self._keys), {*self._spec.conflict_columns, *self._spec.merged}
        first = f"OVER (PARTITION BY {keys} ORDER BY {self.number})"
        values = (
            quote_ident(name) if name in fixed else f"first_value({quote_ident(name)}) {first}"
            for name in self._spec.columns
        )
        order = f"ORDER BY {keys}, {self.number} DESC"
        return f"SELECT DISTINCT ON ({keys}) {', '.join(values)} FROM {stage}{which}{order}"

    async def copy(self, connection: Connection, rows: Iterator[tuple[Any, ...]]) -> None:
        """Copy the rows beside their table."""
        await connection.copy_records_to_table(
            self._name,
            schema_name="pg_temp",
            columns=self._names,
            records=((number, *row) for number, row in enumerate(rows)),
        )

    async def run(self, connection: Connection, rows: Iterator[tuple[Any, ...]]) -> Sequence[Written] | None:
        """Copy the rows beside their table, and take them over."""
        count, spec = length_hint(rows), self._spec
        await self.copy(connection, rows)
        if spec.mode == "upsert" and spec.merged and not spec.returning:
            await self._merge(connection, count)
            return None
        answer = [tuple(record) for record in await connection.fetch(self._statement)]
        if spec.mode == "insert":
            answer = [(number, *row) for number, row in enumerate(answer)]
        if len(answer) != count and (spec.mode == "insert" or spec.merged):
            raise RowsSkipped(
                f"{len(answer)} of {count} rows came back from {self._table.name}: a trigger keeps rows "
                "out, or changes their key"
            )
        if len(answer) != count and await connection.fetchval(f"SELECT {self._has_lost()}"):
            raise RowsSkipped(f"rows are not in {self._table.name}: a trigger keeps them out, or changes their key")
        return self._written(answer, count)

    async def _merge(self, connection: Connection, count: int) -> None:
        status = await connection.execute(self._statement)
        merged = int(status.rpartition(" ")[2])
        if merged == count:
            return
        wanted = await connection.fetchval(f"SELECT pg_catalog.count(*) FROM ({self._distinct}) s")
        if merged != wanted:
            raise RowsSkipped(f"{merged} of {wanted} rows: a trigger on {self._table.name} leaves rows out")

    def _written(self, answer: list[tuple[Any, ...]], count: int) -> Sequence[Written] | None:
        names = self._spec.returning
        if len(answer) == count and not names:
            return None
        written = [Written(is_written=False, returned=None)] * count
        for number, *values in answer:
            written[number] = Written(
                is_written=True, returned=dict(zip(names, values, strict=True)) if names else None
            )
        return written
