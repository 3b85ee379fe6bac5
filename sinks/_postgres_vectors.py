"""pgvector's types, which asyncpg does not know. Before: the catalog's columns. After: the rules, and the pool.

A vector is packed as the server reads it when it is put: floats of Python's would take eight times the room meanwhile,
and a list may be changed by its owner. Connections of the sink's own are taught to hand that on.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ._postgres_types import Rule, is_series, type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._postgres_connect import Bare, Connection
    from ._postgres_table import Column

_MOST_DIMENSIONS: Final = 16_000
_HEAD: Final = struct.Struct(">HH")
_DIMENSIONS: Final = re.compile(r"\((\d+)\)")
# Only the extension's: another's type of this name may have any form.
_SCHEMA: Final = """
SELECT n.nspname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'vector'
"""


class _Kind(NamedTuple):
    """How one number of a vector is packed, the largest that is, and its bytes."""

    code: str
    largest: float
    size: int


# Beyond the largest, packing rounds to infinity, which the server refuses.
VECTORS: Final = {"vector": _Kind("f", 3.4028234663852886e38, 4), "halfvec": _Kind("e", 65_504.0, 2)}
"""By the type's name in pg_type."""


class Packed(bytes):
    """A vector as the server reads it."""

    __slots__ = ()


def vector_rule(name: str, column_type: str) -> Rule:
    """Return what a column of vectors takes: lists, tuples, and arrays of numpy's.

    Args:
        name: the type's name.
        column_type: the column's type as SQL writes it, perhaps with a number of dimensions.
    """
    kind = VECTORS[name]
    told = _DIMENSIONS.search(column_type)
    dimensions = None if told is None else int(told[1])

    def pack(value: Any) -> Packed:
        numbers: Any = value if is_series(value) else value.tolist()
        _check_numbers(numbers, kind)
        return Packed(_HEAD.pack(len(numbers), 0) + struct.pack(f">{len(numbers)}{kind.code}", *numbers))

    def check(value: Packed) -> int:
        count = (len(value) - _HEAD.size) // kind.size
        if dimensions is not None and count != dimensions:
            raise ValueError(f"has {count} dimensions")
        return len(value)

    return Rule(_takes, check, change=lambda given: None if issubclass(given, Packed) else pack)


def _takes(kind: type[Any]) -> bool:
    return issubclass(kind, (list, tuple, Packed)) or hasattr(kind, "tolist")


def _check_numbers(numbers: Any, kind: _Kind) -> None:
    # An array of no dimension is one number.
    if not is_series(numbers) or not 1 <= len(numbers) <= _MOST_DIMENSIONS:
        raise ValueError(f"is no row of 1 to {_MOST_DIMENSIONS:,} numbers")
    strange = {type_of(number) for number in numbers} - {float, int}
    if strange:
        raise ValueError(f"has {strange.pop().__qualname__} in it")
    if not all(-kind.largest <= number <= kind.largest for number in numbers):
        raise ValueError("has a number in it that is not finite or too large")


def unpacked(name: str) -> Callable[[bytes], list[float]]:
    """Return what reads a vector that the server handed back."""
    kind = VECTORS[name]

    def unpack(data: bytes) -> list[float]:
        return [*struct.unpack_from(f">{_HEAD.unpack_from(data)[0]}{kind.code}", data, _HEAD.size)]

    return unpack


def vectors_among(columns: Iterable[Column]) -> set[str]:
    """Return the names of pgvector's types in columns, and in what these hold."""
    found: set[str] = set()
    for column in columns:
        found |= {name for name in (column.base, column.element) if name in VECTORS}
        found |= vectors_among(column.parts)
    return found


async def teach(connection: Connection | Bare, names: Iterable[str]) -> None:
    """Let a connection write and read these types, if they are the extension's."""
    # In one transaction: behind a pooler the questions would else be put to several sessions.
    async with connection.transaction():
        schema = await connection.fetchval(_SCHEMA)
        if schema is None:
            return
        for name in names:
            await connection.set_type_codec(name, schema=schema, encoder=bytes, decoder=unpacked(name), format="binary")
