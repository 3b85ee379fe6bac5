"""What a column takes, checked at `put`: a value that would fail its neighbours or be changed in silence is refused.

Before: `PostgresSink.put`. After: the core, which holds the row until its batch is copied. A rule looks at a value of
a type that it accepts and returns its bytes beyond the fixed part; types are looked up once for each combination of
types that a row shows, so that a row costs one look-up and only the checks that depend on values.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface, ip_network
from typing import Any, Final, TypeGuard
from uuid import UUID

from sinkwell.core import InvalidRecord

from ._json import json_text

Check = Callable[[Any], int]
"""Looks at one value and returns its variable bytes.

Raises:
    ValueError: the value can't be written as it is; the text tells why, without the value.
"""

Change = Callable[[Any], Any]
"""Turns one value into what is sent.

Raises:
    ValueError: it can't; the text tells why, without the value.
"""


def as_it_is(_kind: type) -> None:
    """Change nothing."""


@dataclass(slots=True, frozen=True)
class Rule:
    """What one type of the server takes.

    Attributes:
        takes: whether values of a Python type may be written. A type that is refused is named to the caller.
        check: looks at each value; `None` if the type says all.
        size: bytes that every value has.
        exact: by type, a cheaper check than `check`, or none at all.
        change: what turns values of an accepted type into what is checked and sent; `None` if nothing does.
    """

    takes: Callable[[type], bool]
    check: Check | None = None
    size: int = 0
    exact: Mapping[type, Check | None] = field(default_factory=dict[type, Check | None])
    change: Callable[[type], Change | None] = as_it_is

    def check_of(self, kind: type) -> Check | None:
        """Return what looks at values of one accepted type."""
        return self.exact.get(kind, self.check)


def _of(*accepted: type, but: tuple[type, ...] = ()) -> Callable[[type], bool]:
    def takes(kind: type) -> bool:
        return issubclass(kind, accepted) and not issubclass(kind, but)

    return takes


def _is_whole(kind: type) -> bool:
    return kind is not bool and hasattr(kind, "__index__")


def _whole(bits: int, *, signed: bool = True) -> Rule:
    least = -(1 << bits - 1) if signed else 0
    most = (1 << bits - signed) - 1

    def check_int(value: int) -> int:
        if least <= value <= most:
            return 0
        raise ValueError(f"is outside of {least:,} to {most:,}")

    def check(value: Any) -> int:
        return check_int(operator.index(value))

    return Rule(_is_whole, check, bits // 8, {int: check_int})


def _float(exact_bits: int, largest: float, size: int) -> Rule:
    exact = 1 << exact_bits

    def check(value: Any) -> int:
        if isinstance(value, int):
            if not -exact <= value <= exact:
                raise ValueError("is a whole number that a float can't hold exactly")
        elif largest < abs(value) != float("inf"):
            raise ValueError("is too large")
        return 0

    return Rule(_of(float, int, but=(bool,)), check, size, exact={float: None} if largest == float("inf") else {})


def _check_text(value: str) -> int:
    if "\0" in value:
        raise ValueError("has a NUL in it")
    if value.isascii():
        return len(value)
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("has a lone surrogate in it") from None


def _check_numeric(value: Decimal | int) -> int:
    return value.bit_length() // 8 + 8 if isinstance(value, int) else 16


def _check_aware(value: datetime) -> int:
    if value.tzinfo is UTC or value.utcoffset() is not None:
        return 0
    raise ValueError("has no time zone")


def _check_naive(value: datetime | time) -> int:
    if value.tzinfo is not None:
        raise ValueError("has a time zone")
    return 0


def _check_aware_time(value: time) -> int:
    if value.utcoffset() is None:
        raise ValueError("has no fixed time zone")
    return 0


def _check_uuid(value: UUID | str) -> int:
    if isinstance(value, str):
        try:
            UUID(value)
        except ValueError:
            raise ValueError("is not of a UUID's form") from None
    return 0


def _length(value: bytes | bytearray | memoryview) -> int:
    return value.nbytes if isinstance(value, memoryview) else len(value)


def type_of(value: object) -> type[Any]:
    """Return its type, as one that type checkers know nothing of."""
    return type(value)


def is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    """Tell whether it has values by name."""
    return isinstance(value, Mapping)


def is_series(value: object) -> TypeGuard[Collection[Any]]:
    """Tell whether it has values in order, and is no text."""
    return isinstance(value, (list, tuple))


def rough_size(value: Any) -> int:
    """Estimate the bytes of a value that no rule of ours knows."""
    if isinstance(value, (str, bytes, bytearray)):
        return len(value)
    if is_mapping(value):
        return 4 + sum(8 + rough_size(key) + rough_size(item) for key, item in value.items())
    if is_series(value):
        return 4 + sum(8 + rough_size(item) for item in value)
    return 16


def _to_json(value: object) -> str:
    try:
        return json_text(value)
    except InvalidRecord as error:
        raise ValueError(f"can't become JSON ({error})") from None


def _check_inet(value: object) -> int:
    if isinstance(value, str):
        try:
            ip_interface(value)
        except ValueError:
            raise ValueError("is not of an IP address's form") from None
    return 12


def _check_cidr(value: object) -> int:
    try:
        ip_network(value)  # type: ignore[arg-type]
    except ValueError:
        raise ValueError("is not of a network's form, or has bits to the right of its mask") from None
    return 12


_NETWORKS: Final = (IPv4Network, IPv6Network)
_ADDRESSES: Final = (IPv4Address, IPv6Address, *_NETWORKS)  # an interface is an address
_TEXT: Final = Rule(_of(str), _check_text)
# Text is JSON already; anything else becomes it.
_JSON: Final = Rule(
    _of(object, but=(bytes, bytearray, memoryview)),
    _check_text,
    change=lambda kind: None if issubclass(kind, str) else _to_json,
)

RULES: Final[dict[str, Rule]] = {
    "bool": Rule(_of(bool), None, 1),
    "int2": _whole(16),
    "int4": _whole(32),
    "int8": _whole(64),
    "oid": _whole(32, signed=False),
    # Between the largest float32 and halfway to the next power of two, asyncpg rounds; beyond, it refuses.
    "float4": _float(24, 3.4028235677973366e38, 4),
    "float8": _float(53, float("inf"), 8),
    "numeric": Rule(_of(Decimal, int, but=(bool,)), _check_numeric),
    "text": _TEXT,
    "varchar": _TEXT,
    "bpchar": _TEXT,
    "name": _TEXT,
    "citext": _TEXT,
    "xml": _TEXT,
    "enum": _TEXT,
    "json": _JSON,
    "jsonb": _JSON,
    # Mutable ones are copied.
    "bytea": Rule(
        _of(bytes, bytearray, memoryview), _length, change=lambda kind: None if issubclass(kind, bytes) else bytes
    ),
    "inet": Rule(_of(str, *_ADDRESSES), _check_inet, 8),
    "cidr": Rule(_of(str, *_NETWORKS), _check_cidr, 8),
    "uuid": Rule(_of(UUID, str), _check_uuid, 16),
    "date": Rule(_of(date, but=(datetime,)), None, 4),
    "time": Rule(_of(time), _check_naive, 8),
    "timetz": Rule(_of(time), _check_aware_time, 12),
    "timestamp": Rule(_of(datetime), _check_naive, 8),
    "timestamptz": Rule(_of(datetime), _check_aware, 8),
    "interval": Rule(_of(timedelta), None, 16),
}
"""By the type's name in pg_type. A type that is not here goes through unchecked: the client's encoder decides."""
