"""Where the rows go: names quoted by one rule, and the table's columns as the catalog tells them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sinkwell.core import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from ._postgres_connect import Connection

# NAMEDATALEN - 1: the server silently cuts longer names, which would name something else.
_LONGEST_NAME: Final = 63
_PART: Final = r'(?:"(?:[^"]|"")+"|[^".]+)'
_TABLE_NAME: Final = re.compile(rf"(?:(?P<schema>{_PART})\.)?(?P<table>{_PART})")

_TABLE: Final = """
SELECT c.oid, n.nspname AS schema, c.relkind::text AS kind, row_security_active(c.oid) AS row_security
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = pg_catalog.to_regclass($1)
"""

# A domain's rule is its base type's; an array's is its elements', a range's its bounds', a composite's its parts'.
_COLUMNS: Final = """
WITH RECURSIVE base AS (
    SELECT a.attname, a.atttypid AS typid, a.attnotnull AS filled FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT b.attname, t.typbasetype, b.filled OR t.typnotnull FROM base b
    JOIN pg_catalog.pg_type t ON t.oid = b.typid WHERE t.typtype = 'd'
)
SELECT a.attname AS name, a.attgenerated::text AS generated, bool_or(b.filled) AS filled,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
       max(CASE WHEN t.typtype <> 'd' THEN t.typname END) AS base,
       max(CASE WHEN t.typtype <> 'd' THEN e.typname END) AS element,
       bool_or(t.typtype = 'e') AS enum,
       max(COALESCE(NULLIF(e.typrelid, 0), NULLIF(t.typrelid, 0))::int8) AS composite,
       max(s.typname) AS bound, max(pg_catalog.format_type(s.oid, NULL)) AS bound_type,
       pg_catalog.has_column_privilege($1, a.attnum, 'INSERT') AS writable,
       (SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.collname)
        FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
        WHERE c.oid = a.attcollation) AS collation
FROM base b JOIN pg_catalog.pg_attribute a ON a.attname = b.attname AND a.attrelid = $1
JOIN pg_catalog.pg_type t ON t.oid = b.typid
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = COALESCE(e.oid, t.oid)
LEFT JOIN pg_catalog.pg_type s ON s.oid = r.rngsubtype
GROUP BY a.attname, a.attnum, a.attgenerated, a.atttypid, a.atttypmod, a.attcollation
ORDER BY a.attnum
"""

# What a batch's encoding and checks rest on. Read after it in its transaction, whose lock keeps it true until COMMIT.
SHAPE: Final = """
pg_catalog.array_to_string(ARRAY(
    SELECT a.attname || ':' || a.atttypid || CASE WHEN a.attnotnull THEN '!' ELSE '' END FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attname = ANY($2::text[]) AND a.attnum > 0
    ORDER BY a.attnum), ',')
"""


@dataclass(slots=True, frozen=True)
class TableName:
    """A table as the user wrote it; without a schema, the connection's search path finds it once, at `open`."""

    schema: str | None
    table: str

    def __str__(self) -> str:
        """Return it as SQL."""
        return ".".join(quote_ident(part) for part in (self.schema, self.table) if part is not None)


@dataclass(slots=True, frozen=True)
class Column:
    """What the catalog tells of a column.

    Attributes:
        name: as it is, unquoted.
        type: as SQL writes it, for messages: `character varying(20)`.
        base: the type's own name, `int4`; a domain's is that of the type beneath it; `enum`, `range` or `composite` for
            any of these.
        element: the same of an array's elements; `None` if it is no array.
        nullable: whether NULL may be written.
        collation: how its text compares, as SQL; `None` if it is no text.
        parts: a composite's columns; a range's bound, as one column.
    """

    name: str
    type: str
    base: str
    element: str | None
    nullable: bool
    collation: str | None = field(default=None, compare=False)
    parts: tuple[Column, ...] = ()

    @property
    def sql_type(self) -> str:
        """What makes another column like this one."""
        return self.type if self.collation is None else f"{self.type} COLLATE {self.collation}"


@dataclass(slots=True, frozen=True)
class Table:
    """The table as it was when it was read. `shape` is what changes when a column's type does."""

    name: TableName
    columns: tuple[Column, ...]
    shape: str


def quote_ident(name: str) -> str:
    """Quote a name of the catalog for SQL.

    Raises:
        ConfigError: it is empty, longer than the server's names can be, or holds NUL.
    """
    if not name or "\0" in name:
        raise ConfigError(f"{name!r} is no name that PostgreSQL can hold: it is empty or has a NUL in it")
    if len(name.encode(errors="replace")) > _LONGEST_NAME:
        raise ConfigError(f"the name {name!r} is longer than PostgreSQL's {_LONGEST_NAME} bytes")
    return '"' + name.replace('"', '""') + '"'


def parse_table_name(text: str) -> TableName:
    """Read `table`, `schema.table` or `"Any Schema"."any.table"`; case counts as written.

    Raises:
        ConfigError: it is none of these.
    """
    found = _TABLE_NAME.fullmatch(text)
    if found is None:
        raise ConfigError(f'table {text!r} is not a name such as  events,  audit.events  or  "My Schema"."my.events"')
    schema, table = (_unquoted(found[part]) for part in ("schema", "table"))
    name = TableName(schema, table or "")
    str(name)
    return name


def _unquoted(part: str | None) -> str | None:
    return part[1:-1].replace('""', '"') if part is not None and part.startswith('"') else part


async def read_table(
    connection: Connection, name: TableName, columns: Sequence[str], returning: Sequence[str] = ()
) -> Table:
    """Read the columns that are to be written, and check that they may be, and that those to be returned exist.

    Raises:
        ConfigError: the table or a column does not exist, or may not be written; it is named.
    """
    found = await connection.fetchrow(_TABLE, str(name))
    if found is None:
        raise ConfigError(f"table {name} does not exist, or its schema is not open to this role")
    if found["kind"] not in ("r", "p"):
        raise ConfigError(f"{name} is not a table: COPY needs one")
    if found["row_security"]:
        raise ConfigError(f"table {name} has row-level security for this role, which COPY does not support")
    exact = TableName(str(found["schema"]), name.table)
    rows = {str(row["name"]): row for row in await connection.fetch(_COLUMNS, found["oid"])}
    checked = tuple([await _checked(connection, exact, column, rows) for column in columns])
    for column in returning:
        _row_of(exact, column, rows)
    shape = await connection.fetchval(f"SELECT {SHAPE}", str(exact), [*columns, *returning])
    return Table(exact, checked, str(shape))


def _row_of(table: TableName, name: str, rows: dict[str, asyncpg.Record]) -> asyncpg.Record:
    row = rows.get(name)
    if row is None:
        raise ConfigError(f"table {table} has no column {name!r}; it has {', '.join(map(repr, rows))}")
    return row


async def _checked(connection: Connection, table: TableName, name: str, rows: dict[str, asyncpg.Record]) -> Column:
    row = _row_of(table, name, rows)
    if row["generated"]:
        raise ConfigError(f"column {name!r} of {table} is generated by the server and can't be written: leave it out")
    if not row["writable"]:
        raise ConfigError(f"this role may not INSERT into column {name!r} of {table}")
    return await _column(connection, row)


async def _column(connection: Connection, row: asyncpg.Record) -> Column:
    kind = "enum" if row["enum"] else None
    parts: list[Column] = []
    if row["bound"] is not None:
        kind, parts = "range", [Column("bound", row["bound_type"], row["bound"], None, nullable=True)]
    elif row["composite"] is not None:
        rows = await connection.fetch(_COLUMNS, row["composite"])
        kind, parts = "composite", [await _column(connection, part) for part in rows]
    base, element = str(row["base"]), row["element"]
    if kind is not None:
        base, element = (base, kind) if element is not None else (kind, None)
    return Column(row["name"], str(row["type"]), base, element, not row["filled"], row["collation"], tuple(parts))
