"""A message's properties and headers as AMQP 0-9-1 bytes. Before: the message's checks. After: its header frame.

pamqp's own encoder is not used for these two: it sends every float as 32 bits, so that 0.1 arrives as another number,
and cuts a header's name at 128 bytes in silence. The tests read ours back with pamqp's decoder.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from struct import pack
from typing import TYPE_CHECKING, Final, cast

from sinkwell.core import InvalidRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHORT: Final = 255
"""The most bytes of a short string: a routing key, an exchange, most properties."""
_NAME: Final = 128
_DEEP: Final = 32

# In the order in which the bytes follow one another, each with its bit (AMQP 0-9-1, basic class).
PROPERTIES: Final = {
    "content_type": 15,
    "content_encoding": 14,
    "headers": 13,
    "delivery_mode": 12,
    "priority": 11,
    "correlation_id": 10,
    "reply_to": 9,
    "expiration": 8,
    "message_id": 7,
    "timestamp": 6,
    "type": 5,
    "user_id": 4,
    "app_id": 3,
}


def properties(parts: Mapping[str, bytes]) -> bytes:
    """Return flags and values of what is given, each value encoded already."""
    flags = sum(1 << PROPERTIES[name] for name in parts)
    return pack(">H", flags) + b"".join(parts[name] for name in PROPERTIES if name in parts)


def short(value: object, what: str) -> bytes:
    """Encode a short string.

    Raises:
        InvalidRecord: it is no text, too long, or holds a lone surrogate.
    """
    data = _utf8(value, what)
    if len(data) > SHORT:
        raise InvalidRecord(f"{what} has {len(data):,} bytes in UTF-8: AMQP takes at most {SHORT}")
    return bytes((len(data),)) + data


def seconds(value: object, what: str) -> bytes:
    """Encode a moment, in whole seconds, as AMQP counts time."""
    if not isinstance(value, datetime):
        raise InvalidRecord(f"{what} must be a datetime, not {type(value).__name__}")
    if value.tzinfo is None:
        raise InvalidRecord(f"{what} must say its time zone: datetime.now(UTC)")
    since = int(value.astimezone(UTC).timestamp())
    if since < 0:
        raise InvalidRecord(f"{what} is before 1970, which AMQP has no number for")
    return pack(">Q", since)


def table(values: object, what: str, depth: int = 0) -> bytes:
    """Encode headers, or a table inside them.

    Raises:
        InvalidRecord: a name or a value has no AMQP form. The sentence names its type, not its value.
    """
    if not isinstance(values, dict):
        raise InvalidRecord(f"{what} must be a dict, not {type(values).__name__}")
    parts: list[bytes] = []
    for name, value in cast("dict[object, object]", values).items():
        data = _utf8(name, f"a name in {what}")
        if not 0 < len(data) <= _NAME:
            raise InvalidRecord(f"a name in {what} has {len(data):,} bytes: AMQP takes 1 to {_NAME}")
        parts += (bytes((len(data),)), data, _value(value, f"{what}[{name!r}]", depth))
    return _long(b"".join(parts))


def _value(value: object, what: str, depth: int) -> bytes:  # noqa: C901 - one case for each type that AMQP has
    if depth > _DEEP:
        raise InvalidRecord(f"{what} is nested more than {_DEEP} deep, or holds itself")
    match value:
        case None:
            return b"V"
        case bool():
            return b"t\x01" if value else b"t\x00"
        case int():
            return _integer(value, what)
        case float():
            return b"d" + pack(">d", value)
        case str():
            return b"S" + _long(_utf8(value, what))
        case bytes() | bytearray():
            return b"x" + _long(bytes(value))
        case datetime():
            return b"T" + seconds(value, what)
        case Decimal():
            return _decimal(value, what)
        case dict():
            return b"F" + table(cast("object", value), what, depth + 1)
        case list() | tuple():
            items = cast("Sequence[object]", value)
            return b"A" + _long(b"".join(_value(item, what, depth + 1) for item in items))
        case _:
            raise InvalidRecord(f"{what} is a {type(value).__name__}, which AMQP has no form for")


def _integer(value: int, what: str) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return b"I" + pack(">i", value)
    if -(1 << 63) <= value < 1 << 63:
        return b"l" + pack(">q", value)
    raise InvalidRecord(f"{what} is a whole number beyond 64 bits: send it as text")


def _decimal(value: Decimal, what: str) -> bytes:
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent >= -SHORT and value.adjusted() < 10:  # noqa: PLR2004 - 2**31 has ten digits
        scale = max(0, -exponent)
        number = int(value.scaleb(scale)) if scale else int(value)
        if 0 <= number < 1 << 31:  # RabbitMQ reads it unsigned, Python's clients signed: only these agree
            return b"D" + pack(">BI", scale, number)
    raise InvalidRecord(f"{what} is a Decimal that AMQP's 31 bits can't hold: send it as text")


def _long(data: bytes) -> bytes:
    return pack(">I", len(data)) + data


def _utf8(value: object, what: str) -> bytes:
    if not isinstance(value, str):
        raise InvalidRecord(f"{what} must be str, not {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InvalidRecord(f"{what} holds a lone surrogate, which has no UTF-8 form") from None
