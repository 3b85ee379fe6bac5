"""pgvector's types, which asyncpg does not know. Before: the catalog's columns. After: the rules, and the pool.

A vector is packed as the server reads it when it is put: floats of Python's would take eight times the room meanwhile,
and a list may be changed by its owner. Connections of the sink's own are taught to hand that on.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from ._postgres_types import Rule, is_series, type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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


class Packed(bytes):
    """A `vector` as the server reads it."""

    __slots__ = ()
    code: ClassVar = "f"
    """How struct packs each number."""
    largest: ClassVar = 3.4028234663852886e38
    """Beyond it, packing rounds to infinity, which the server refuses."""

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Self:
        """Pack what was checked."""
        return cls(_HEAD.pack(len(numbers), 0) + struct.pack(f">{len(numbers)}{cls.code}", *numbers))

    @property
    def dimensions(self) -> int:
        """How many numbers it has."""
        return int(_HEAD.unpack_from(self)[0])

    def numbers(self) -> list[float]:
        """Unpack them."""
        return [*struct.unpack_from(f">{self.dimensions}{self.code}", self, _HEAD.size)]


class PackedHalf(Packed):
    """A `halfvec` as the server reads it."""

    __slots__ = ()
    code: ClassVar = "e"
    largest: ClassVar = 65_504.0


VECTORS: Final[dict[str, type[Packed]]] = {"vector": Packed, "halfvec": PackedHalf}
"""By the type's name in pg_type."""


def vector_rule(name: str, column_type: str) -> Rule:
    """Return what a column of vectors takes: lists, tuples, and arrays of numpy's.

    Args:
        name: the type's name.
        column_type: the column's type as SQL writes it, perhaps with a number of dimensions.
    """
    packed = VECTORS[name]
    told = _DIMENSIONS.search(column_type)
    dimensions = None if told is None else int(told[1])

    def pack(value: Any) -> Packed:
        numbers: Any = value if is_series(value) else _numbers_of(value)
        _check_numbers(numbers, packed.largest)
        return packed.of(numbers)

    def check(value: Packed) -> int:
        if dimensions is not None and value.dimensions != dimensions:
            raise ValueError(f"has {value.dimensions} dimensions")
        return len(value)

    return Rule(_takes, check, change=lambda given: None if given is packed else pack)


def _takes(kind: type[Any]) -> bool:
    return issubclass(kind, (list, tuple, Packed)) or hasattr(kind, "tolist")


def _numbers_of(value: Any) -> Any:
    # Packed for the type that the column had when the row was put, or an array.
    return value.numbers() if isinstance(value, Packed) else value.tolist()


def _check_numbers(numbers: Any, largest: float) -> None:
    # An array of no dimension is one number.
    if not is_series(numbers) or not 1 <= len(numbers) <= _MOST_DIMENSIONS:
        raise ValueError(f"is no row of 1 to {_MOST_DIMENSIONS:,} numbers")
    strange = {type_of(number) for number in numbers} - {float, int}
    if strange:
        raise ValueError(f"has {strange.pop().__qualname__} in it")
    if not all(-largest <= number <= largest for number in numbers):
        raise ValueError("has a number in it that is not finite or too large")


def _unpacked(name: str) -> Callable[[bytes], list[float]]:
    """Return what reads a vector that the server handed back."""
    packed = VECTORS[name]
    return lambda data: packed(data).numbers()


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
            await connection.set_type_codec(
                name, schema=schema, encoder=bytes, decoder=_unpacked(name), format="binary"
            )
