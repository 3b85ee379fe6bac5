"""One table of a sink: what is asked of it, its newest reading, and what is learned of it while batches go there.

Before: `PostgresDestination.encode` and `write` find it by a row's or a batch's target. After: a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sinkwell.core import BatchRefused, ConfigError, InvalidRecord

from ._postgres_arrays import arrays_for
from ._postgres_merge import Merge, load_for
from ._postgres_rows import RowEncoder
from ._postgres_spec import Row
from ._postgres_table import parse_table_name, read_table
from ._postgres_types import is_series

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from sinkwell.core import Encoded

    from ._postgres_connect import Connection
    from ._postgres_merge import Load
    from ._postgres_spec import PostgresTable
    from ._postgres_table import Column, Table

    Encode = Callable[[Any], Encoded]
    Rows = Sequence[tuple[Any, ...]]


class Reading:
    """A table as it was when it was read, with what follows from that: how rows are encoded, and how they get in."""

    __slots__ = ("arrays", "encode", "load", "table")

    def __init__(self, table: Table, spec: PostgresTable, *, unchecked: frozenset[str]) -> None:
        self.table = table
        self.load: Load = load_for(table, spec)
        # For small batches; `None` if there is no such way, or it was found closed.
        self.arrays = arrays_for(table, spec, self.load, unchecked) if isinstance(self.load, Merge) else None
        encode = RowEncoder(table, called=spec.name, unchecked=unchecked).encoder()
        self.encode: Encode = encode if spec.mode == "insert" else _keyed(encode, table, spec.conflict_columns)


class Target:
    """One table.

    Args:
        spec: what is asked of it.
        tag: what its entries have as their target; `None` for the sink's first.
        unchecked: types that are left to the client's encoder.
    """

    def __init__(self, spec: PostgresTable, tag: str | None, *, unchecked: frozenset[str]) -> None:
        self.spec = spec
        self.tag = tag
        self._wanted = parse_table_name(spec.name)
        self._unchecked = unchecked
        # The newest one.
        self._reading: Reading | None = None
        # Whether a column was changed while the sink ran: from then on rows are checked again before they go.
        self._has_changed = False
        # Readings that changed nothing since a batch last got in: bounds retrying what a new connection does not mend.
        self.vain_readings = 0

    @property
    def name(self) -> str:
        """The table, as messages call it."""
        return ".".join(part for part in (self._wanted.schema, self._wanted.table) if part)

    @property
    def shaping(self) -> list[str]:
        """The columns whose types a batch rests on."""
        return [*self.spec.columns, *self.spec.returning]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns as they were when the table was last read; none before `open`."""
        return () if self._reading is None else self._reading.table.columns

    @property
    def reading(self) -> Reading:
        """The newest reading."""
        assert self._reading is not None, "the core opens a destination before all else"
        return self._reading

    async def read(self, connection: Connection) -> Table:
        """Look at the table as it is now.

        Raises:
            ConfigError: the table or a column does not exist, or may not be written.
        """
        return await read_table(connection, self._wanted, self.spec.columns, self.spec.returning)

    def use(self, table: Table) -> None:
        """Encode and write for this reading from here on."""
        self._has_changed = self._reading is not None
        self._reading = Reading(table, self.spec, unchecked=self._unchecked)
        self.vain_readings = 0

    def encode(self, record: Any) -> Encoded:
        """Encode a row for this table."""
        entry = self.reading.encode(record)
        entry.target = self.tag
        return entry

    def check_again(self, rows: Rows) -> Rows:
        """Return the rows as they are to be sent; those that were accepted for another type of a column anew.

        Raises:
            BatchRefused: a row does not fit the new type, into which the client might bend it in silence.
        """
        return [*self._checked_again(rows)] if self._has_changed else rows

    def _checked_again(self, rows: Rows) -> Iterator[tuple[Any, ...]]:
        for index, row in enumerate(rows):
            try:
                yield self.reading.encode(row).payload
            except InvalidRecord as error:
                raise BatchRefused(index) from error


class Targets:
    """All tables of one sink."""

    def __init__(self, specs: Sequence[PostgresTable], *, unchecked: frozenset[str]) -> None:
        self.first, *others = (
            Target(spec, spec.name if index else None, unchecked=unchecked) for index, spec in enumerate(specs)
        )
        self._by_tag: dict[Hashable, Target] = {target.tag: target for target in (self.first, *others)}
        # As a row may name them.
        self._by_name = {target.spec.name: target for target in self._by_tag.values()}
        if len(self._by_name) < len(specs):
            raise ConfigError("a table is named twice")

    def __iter__(self) -> Iterator[Target]:
        return iter(self._by_tag.values())

    @property
    def may_repeat(self) -> bool:
        """Whether any row may be written again unnoticed: not into a second row, nor kept out by its own first one."""
        return all(target.spec.mode == "upsert" and target.spec.merged for target in self)

    def of(self, tag: Hashable) -> Target:
        """Return the table that a batch is for."""
        return self._by_tag[tag]

    def encoder(self) -> Encode:
        """Return what encodes any row, for the newest readings."""
        encode = self.first.reading.encode
        if len(self._by_tag) == 1:
            return encode
        others = {name: target for name, target in self._by_name.items() if target.tag is not None}

        def encode_any(record: Any) -> Encoded:
            target = others.get(record.table or "") if type(record) is Row else None
            return encode(record) if target is None else target.encode(record)

        return encode_any


def _keyed(encode: Encode, table: Table, conflict_columns: Sequence[str]) -> Encode:
    """Give each entry its key, so that rows of one key keep their order also across batches."""
    columns = [column.name for column in table.columns]
    parts = [(columns.index(name), name) for name in conflict_columns]
    canonicals = [_CANONICAL.get(table.columns[index].base, _hashable) for index, _ in parts]

    def part(row: tuple[Any, ...], at: int) -> Hashable:
        index, name = parts[at]
        if row[index] is None:
            raise InvalidRecord(f"column {name!r} is a conflict column: NULL is no key, since it equals nothing")
        return canonicals[at](row[index])

    def encode_keyed(record: Any) -> Encoded:
        entry = encode(record)
        row = entry.payload
        entry.key = part(row, 0) if len(parts) == 1 else tuple(part(row, at) for at in range(len(parts)))
        return entry

    return encode_keyed


def _as_it_is(value: Any) -> Hashable:
    return value  # type: ignore[no-any-return]


def _hashable(value: Any) -> Hashable:
    if is_series(value):
        return tuple(map(_hashable, value))
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value  # type: ignore[no-any-return]


def _canonical_uuid(value: UUID | str) -> Hashable:
    return UUID(value) if isinstance(value, str) else value


def _canonical_float(value: float) -> Hashable:
    return value if value == value else "NaN"  # noqa: PLR0124 - which only NaN is not


# What the server holds to be equal, and Python not.
_CANONICAL: Final[dict[str, Callable[[Any], Hashable]]] = {
    **dict.fromkeys(("int2", "int4", "int8", "text", "varchar", "bytea", "date", "timestamptz"), _as_it_is),
    "uuid": _canonical_uuid,
    "citext": str.casefold,
    "bpchar": lambda text: text.rstrip(" "),
    "float4": _canonical_float,
    "float8": _canonical_float,
}
