"""A small upsert as one statement with an array for each column. Before: BEGIN. After: COMMIT, or the long way.

Making a temporary table costs the server more than a few hundred rows do, and takes an exchange more. But no error here
points at a row, and the client quotes values in its own errors: so whatever goes wrong, unless the connection did, is
rolled back and done again through the temporary table, whose answer counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ._postgres_errors import RowsSkipped
from ._postgres_table import SHAPE, quote_ident

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from ._postgres_connect import Connection
    from ._postgres_merge import Merge
    from ._postgres_spec import PostgresTable
    from ._postgres_table import Table

MOST_ROWS: Final = 1_000
"""With more, arrays cost the client what they save the server: it encodes a COPY in half the time."""
MOST_BYTES: Final = 1024 * 1024
"""An array is encoded in one go; a COPY lets others have a turn."""

# Types whose values the client encodes in an array as it does in a COPY, all of the server's own schema. Without their
# modifiers: a cast to varchar(3) would cut in silence what the column refuses.
_NUMBERS: Final = ("int2", "int4", "int8", "float4", "float8", "numeric")
_TIMES: Final = ("date", "time", "timestamp", "timestamptz")
_TYPES: Final = frozenset((*_NUMBERS, *_TIMES, "bool", "bytea", "json", "jsonb", "text", "uuid", "varchar"))
_SHAPE_PARAMETERS: Final = 2


class Arrays:
    """Rows in arrays, merged by the statement that merges them from a temporary table.

    The table is locked before the statement's snapshot is taken, so the shape it tells is the one the rows met. Only
    not where the transaction keeps an older snapshot: then it tells none.
    """

    def __init__(self, table: Table, merge: Merge) -> None:
        self._name = table.name
        names = [quote_ident(column.name) for column in table.columns]
        arrays = ", ".join(
            f"pg_catalog.unnest(${place}::pg_catalog.{column.base}[])"
            for place, column in enumerate(table.columns, _SHAPE_PARAMETERS + 1)
        )
        taken = ", ".join(
            name if column.collation is None else f"{name} COLLATE {column.collation} AS {name}"
            for name, column in zip(names, table.columns, strict=True)
        )
        source = f"ROWS FROM ({arrays}) WITH ORDINALITY AS rows_({', '.join(names)}, {merge.number})"
        self._statement = (
            f"WITH stage AS MATERIALIZED (SELECT {taken}, {merge.number} FROM {source}), "
            f"source AS MATERIALIZED ({merge.last_of_each('stage')}), "
            f"written AS ({merge.insert}SELECT * FROM source{merge.conflict} RETURNING 1) "
            "SELECT (SELECT pg_catalog.count(*) FROM written) AS merged, "
            "(SELECT pg_catalog.count(*) FROM source) AS wanted, "
            f"pg_catalog.pg_current_xact_id()::text AS xid, {SHAPE} AS shape"
        )

    async def run(
        self, connection: Connection, rows: Sequence[tuple[Any, ...]], shaping: Sequence[str]
    ) -> asyncpg.Record:
        """Upsert the rows, in a transaction that has begun; return its number, and the columns' shape.

        Raises:
            RowsSkipped: not all of them arrived.
        """
        found = await connection.fetchrow(self._statement, str(self._name), shaping, *zip(*rows, strict=True))
        assert found is not None
        if found["merged"] != found["wanted"]:
            raise RowsSkipped(f"{found['merged']} of {found['wanted']} rows: a trigger on {self._name} leaves rows out")
        return found


def arrays_for(table: Table, spec: PostgresTable, merge: Merge, unchecked: frozenset[str]) -> Arrays | None:
    """Return this way into a table, if there is one for what is asked of it and for the types of its columns.

    A pool of the caller's, for which some types are `unchecked`, may have codecs of its own that arrays do not use.
    """
    is_plain = spec.mode == "upsert" and bool(spec.merged) and not spec.returning and not unchecked
    return Arrays(table, merge) if is_plain and all(column.base in _TYPES for column in table.columns) else None
