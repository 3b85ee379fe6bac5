"""Most rows are plain: each value of the column's usual type. Before: `put`. After: the core, or `RowEncoder`.

A row's checks are a few comparisons; calling a function for each value takes four times as long as they do. So the
table gets a function of its own, as `dataclasses` makes one for a class, with the checks one below the other. Its text
is made of the templates below, column numbers and sizes: nothing that a user or the server wrote. It refuses nothing:
whatever is not plain, or might be wrong, goes to `checked`, which knows every type and every refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sinkwell.core import Encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._postgres_table import Column
    from ._postgres_types import Rule


@dataclass(slots=True, frozen=True)
class Plain:
    """What a column's plain value `{v}` is.

    Attributes:
        kind: its exact type.
        doubt: when it may be wrong nevertheless.
        size: its bytes beyond those that the column's rule counts for every value.
    """

    kind: type
    doubt: str = "False"
    size: str = ""


def _whole(bits: int, *, signed: bool = True) -> Plain:
    least = -(1 << bits - 1) if signed else 0
    return Plain(int, f"not {least} <= {{v}} <= {(1 << bits - signed) - 1}")


_TEXT: Final = Plain(str, r'"\0" in {v}', "len({v}) if {v}.isascii() else len({v}.encode())")

_PLAIN: Final[dict[str, Plain]] = {
    "bool": Plain(bool),
    "int2": _whole(16),
    "int4": _whole(32),
    "int8": _whole(64),
    "oid": _whole(32, signed=False),
    "float4": Plain(float, "not -3e38 < {v} < 3e38"),
    "float8": Plain(float),
    "numeric": Plain(Decimal, size="16"),
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "citext", "xml", "enum", "json", "jsonb"), _TEXT),
    "bytea": Plain(bytes, size="len({v})"),
    "uuid": Plain(UUID),
    "date": Plain(date),
    "time": Plain(time, "{v}.tzinfo is not None"),
    "timetz": Plain(time, "{v}.utcoffset() is None"),
    "timestamp": Plain(datetime, "{v}.tzinfo is not None"),
    "timestamptz": Plain(datetime, "{v}.tzinfo is not UTC and {v}.utcoffset() is None"),
    "interval": Plain(timedelta),
}
"""By the type's name in pg_type. A table with a column of any other type has no plain rows."""

_NAMES: Final = {"Encoded": Encoded, "UTC": UTC} | {plain.kind.__name__: plain.kind for plain in _PLAIN.values()}

_TEMPLATE: Final = """
def encode(record):
    row = record if type(record) is tuple else values(record)
    try:
        {values}, = row
        size = {size}
{checks}
    except ValueError:
        pass  # another length, or a lone surrogate
    else:
        return Encoded(row, size)
    return checked(row)
"""

_CHECK: Final = """
        {unless_null} type({v}) is not {kind} or {doubt}:
            return checked(row)
"""
_UNLESS_NULL: Final = """if {v} is None:
            size -= {fixed}
        elif"""
_SIZE: Final = """
        else:
            size += {size}
"""


def plain_encoder(
    columns: Sequence[Column],
    rules: Sequence[Rule],
    *,
    unchecked: frozenset[str],
    size: int,
    values: Callable[[object], tuple[Any, ...]],
    checked: Callable[[tuple[Any, ...]], Encoded],
) -> Callable[[object], Encoded] | None:
    """Make the table's function for plain rows; `None` if it has none.

    Args:
        columns: what a row has values for.
        rules: what each of them takes.
        unchecked: types that are left to the client's encoder.
        size: bytes of a row of nulls.
        values: puts what is not a tuple in the columns' order.
        checked: encodes or refuses a row that is not plain.
    """
    if any(column.element is not None or column.base in unchecked or column.base not in _PLAIN for column in columns):
        return None
    checks = ""
    for number, (column, rule) in enumerate(zip(columns, rules, strict=True)):
        checks += _check(f"v{number}", _PLAIN[column.base], rule.size, is_nullable=column.nullable)
    text = _TEMPLATE.format(
        values=", ".join(f"v{number}" for number in range(len(columns))),
        size=size + sum(rule.size for rule in rules),
        checks=checks,
    )
    names: dict[str, Any] = {**_NAMES, "values": values, "checked": checked}
    exec(text, names)  # noqa: S102 - of our own templates and numbers only: halves what a row costs before it is sent
    return names["encode"]  # type: ignore[no-any-return]


def _check(v: str, plain: Plain, fixed: int, *, is_nullable: bool) -> str:
    text = _CHECK.format(
        v=v,
        unless_null=_UNLESS_NULL.format(v=v, fixed=fixed) if is_nullable else "if",
        kind=plain.kind.__name__,
        doubt=plain.doubt.format(v=v),
    )
    return text + _SIZE.format(size=plain.size.format(v=v)).lstrip("\n") if plain.size else text
