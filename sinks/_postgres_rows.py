"""One row on its way into a batch: paired with the columns, checked, measured. Before: `put`. After: the core."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final

from sinkwell.core import Encoded, InvalidRecord

from ._postgres_nested import rule_of
from ._postgres_plain import plain_encoder
from ._postgres_spec import Row
from ._postgres_types import Change, Check, is_mapping, is_series, type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._postgres_table import Column, Table

# Combinations of types are few unless many columns are nullable: then old ones are worked out again when needed.
_MOST_PLANS: Final = 1_000
# COPY's bytes: the number of fields before a row, the length before each field.
_ROW_BYTES: Final = 2
_FIELD_BYTES: Final = 4

Values = tuple[Any, ...]
Plan = tuple[int, tuple[tuple[int, Change], ...], tuple[tuple[int, Check], ...]]
"""For one combination of types: the fixed bytes, and by position what changes a value and what checks it then."""


class RowEncoder:
    """Turns rows into tuples in the columns' order, for one reading of the table.

    Args:
        table: as it was read.
        called: what a `Row` names it.
        unchecked: types that are left to the client's encoder.
    """

    def __init__(self, table: Table, *, called: str = "", unchecked: frozenset[str] = frozenset()) -> None:
        self._table = table
        self._called = called
        self._columns = table.columns
        self._names = tuple(column.name for column in table.columns)
        self._unchecked = unchecked
        self._rules = tuple(rule_of(column, unchecked=unchecked) for column in table.columns)
        # By the tuple of a row's types; whatever is in here was accepted.
        self._plans: dict[tuple[type, ...], Plan] = {}
        # By dataclass; whatever is in here has exactly the columns as its fields.
        self._getters: dict[type, Callable[[Any], Values]] = {}
        self._by_name = _several(itemgetter, self._names)

    def encoder(self) -> Callable[[object], Encoded]:
        """Return the function that checks and measures one row. It runs for every row, so all it needs is local.

        It raises `InvalidRecord` if the row does not fit the columns, naming the column and the types, never the value.
        """
        checked, values = self._checked(), self._values

        def encode(record: object) -> Encoded:
            return checked(record if type(record) is tuple else values(record))  # pyright: ignore[reportUnknownArgumentType] - of anything

        nulls = _ROW_BYTES + _FIELD_BYTES * len(self._columns)
        plain = plain_encoder(
            self._columns, self._rules, unchecked=self._unchecked, size=nulls, values=values, checked=checked
        )
        return plain or encode

    def _checked(self) -> Callable[[Values], Encoded]:
        """Return the function for rows that are not plain: it takes or refuses any."""
        plan_of, make_plan = self._plans.get, self._plan

        def encode(row: Values) -> Encoded:
            kinds = (*map(type, row),)
            size, changes, checks = plan_of(kinds) or make_plan(kinds)
            index = 0
            try:
                if changes:
                    values = list(row)
                    for index, change in changes:
                        values[index] = change(values[index])
                    row = tuple(values)
                for index, check in checks:
                    size += check(row[index])
            except ValueError as problem:
                raise _refused_value(self._columns[index], kinds[index], problem) from None
            return Encoded(row, size)

        return encode

    def _values(self, record: object) -> Values:
        """Put the values in the columns' order: (1) a dict, (2) a list or any tuple, (3) a dataclass, (4) a `Row`."""
        if is_mapping(record):
            return self._of_mapping(record)
        if is_series(record):
            return tuple(record)
        if isinstance(record, Row):
            if record.table not in (None, self._called):
                raise InvalidRecord(f"table {record.table!r} is none of this sink's: give it to the sink as well")
            values: object = record.values
            return tuple(values) if is_series(values) else self._values(values)
        kind = type_of(record)
        getter = self._getters.get(kind)
        if getter is None:
            if not is_dataclass(kind):
                raise InvalidRecord(f"a row is a tuple, a list, a dict or a dataclass, and not {kind.__qualname__}")
            self._require_names({field.name for field in fields(kind)}, kind.__qualname__)
            getter = self._getters[kind] = _several(attrgetter, self._names)
        return getter(record)

    def _of_mapping(self, record: Mapping[Any, Any]) -> Values:
        if len(record) == len(self._names):
            try:
                return self._by_name(record)
            except KeyError:
                pass  # told below, with every name
        self._require_names(set(record), "the row")
        return self._by_name(record)

    def _require_names(self, names: set[Any], what: str) -> None:
        """Refuse a row whose names are not exactly the columns: nothing is left to a default or dropped in silence."""
        missing = [name for name in self._names if name not in names]
        unknown = sorted((repr(name) for name in names.difference(self._names) if isinstance(name, str)), key=str)
        if missing:
            raise InvalidRecord(f"{what} has no value for column {', '.join(map(repr, missing))}")
        if len(names) > len(self._names):
            raise InvalidRecord(f"{what} has values that no column takes: {', '.join(unknown) or 'unnamed ones'}")

    def _plan(self, kinds: tuple[type, ...]) -> Plan:
        if len(kinds) != len(self._columns):
            raise InvalidRecord(f"the row has {len(kinds)} values for {len(self._columns)} columns")
        size = _ROW_BYTES + _FIELD_BYTES * len(kinds)
        checks: list[tuple[int, Check]] = []
        changes: list[tuple[int, Change]] = []
        for index, (kind, column, rule) in enumerate(zip(kinds, self._columns, self._rules, strict=True)):
            if kind is type(None):
                if not column.nullable:
                    raise InvalidRecord(f"column {column.name!r} is NOT NULL, and COPY applies no default to None")
                continue
            if not rule.takes(kind):
                raise InvalidRecord(f"column {column.name!r} is {column.type} and does not take {kind.__qualname__}")
            size += rule.size
            change, check = rule.change(kind), rule.check_of(kind)
            if change is not None:
                changes.append((index, change))
            if check is not None:
                checks.append((index, check))
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        plan = self._plans[kinds] = (size, tuple(changes), tuple(checks))
        return plan


def _refused_value(column: Column, kind: type, problem: ValueError) -> InvalidRecord:
    return InvalidRecord(
        f"column {column.name!r} is {column.type} and does not take {kind.__qualname__} that {problem}"
    )


def _several(getter: Any, names: tuple[str, ...]) -> Callable[[Any], Values]:
    """Make an itemgetter or attrgetter that gives a tuple also for a single name."""
    if len(names) > 1:
        return getter(*names)  # type: ignore[no-any-return]
    get = getter(*names)
    return lambda record: (get(record),)
