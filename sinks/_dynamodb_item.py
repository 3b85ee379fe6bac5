"""A Python dict as a DynamoDB item: the typed form, and both of its sizes. Pure.

Before: `Put` and `Delete`. After: the entry's payload, which goes into a request as it is.
Sources: "Supported data types and naming rules" and "DynamoDB item sizes and formats" (developer guide), "Quotas" and
BatchWriteItem (API reference), as they read in November 2026; sizes to the byte as measured on DynamoDB Local 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Literal, cast, final

from sinkwell.core import InvalidRecord

from ._dynamodb_number import NotANumberError, number_of_decimal, number_of_float, number_of_int

if TYPE_CHECKING:
    from collections.abc import Collection

AttributeMap = dict[str, dict[str, object]]
"""Attributes in DynamoDB's typed form, as the client takes them: `{"price": {"N": "9.99"}}`."""

Floats = Literal["refuse", "decimal"]

# The attribute itself is level 1.
MAX_LEVELS = 32
MAX_NAME_BYTES = 65_535
_LONGEST_SHOWN = 60


@final
class ItemEncoder:
    """Turns one dict into an item and counts it twice.

    Attributes:
        counted: the bytes that DynamoDB counts for the item: its names and values as they are stored.
        wire: the bytes of its JSON in a request, where a character may take six and Base64 a third more.
    """

    __slots__ = ("_floats", "_name", "counted", "wire")

    def __init__(self, floats: Floats) -> None:
        self._floats = floats
        # The top-level attribute that is being encoded: the only part of a path that messages show.
        self._name = ""
        self.counted = 0
        self.wire = 2

    def encode(self, item: Mapping[object, object]) -> AttributeMap:
        """Return the item in the typed form.

        Raises:
            InvalidRecord: DynamoDB would refuse it, and the whole request with it.
        """
        attributes: AttributeMap = {}
        for name, value in item.items():
            self._name = name if isinstance(name, str) else ""
            checked = self._checked_name(name)
            attributes[checked] = self._value(value, 1)
        return attributes

    def _value(self, value: object, level: int) -> dict[str, object]:
        """Return one typed value; the cases stand in the order of how often they are met."""
        if level > MAX_LEVELS:
            raise self._refused(f"is nested deeper than {MAX_LEVELS} levels")
        match value:
            case str():
                return {"S": self._text(value)}
            case bool():
                self.counted += 1
                self.wire += 15
                return {"BOOL": value}
            case int() | float() | Decimal():
                return {"N": self._number(value)}
            case None:
                self.counted += 1
                self.wire += 14
                return {"NULL": True}
            case bytes() | bytearray() | memoryview():
                return {"B": self._binary(cast("bytes", value))}
            case Mapping():
                return self._map(cast("Mapping[object, object]", value), level)
            case list() | tuple():
                return self._list(cast("Collection[object]", value), level)
            case AbstractSet():
                return self._set(cast("Collection[object]", value))
            case _:
                raise self._refused(
                    f"is of type {type(value).__name__}, which DynamoDB has no type for: turn it into text, a number, "
                    "bytes, a list, a dict or a set"
                )

    def _text(self, value: str) -> str:
        text = str.__str__(value)  # the plain text of an enum's member, too
        try:
            self.counted += len(text) if text.isascii() else len(text.encode())
        except UnicodeEncodeError:
            raise self._refused("holds a lone surrogate, which is no character") from None
        self.wire += 7 + len(encode_basestring_ascii(text))
        return text

    def _number(self, value: float | Decimal) -> str:
        try:
            if isinstance(value, int):
                text, size = number_of_int(int(value))
            elif isinstance(value, Decimal):
                text, size = number_of_decimal(value)
            elif self._floats == "decimal":
                text, size = number_of_float(value)
            else:
                raise self._refused(
                    'is a float, which has no exact decimal form: use Decimal, or pass floats="decimal"'
                )
        except NotANumberError as problem:
            raise self._refused(str(problem)) from None
        self.counted += size
        self.wire += 9 + len(text)
        return text

    def _binary(self, value: bytes | bytearray | memoryview) -> bytes:
        data = bytes(value)
        self.counted += len(data)
        self.wire += 9 + (len(data) + 2) // 3 * 4
        return data

    def _map(self, value: Mapping[object, object], level: int) -> dict[str, object]:
        self.counted += 3
        self.wire += 9
        attributes: dict[str, object] = {}
        for name, inner in value.items():
            self.counted += 1
            attributes[self._checked_name(name)] = self._value(inner, level + 1)
        return {"M": attributes}

    def _list(self, value: Collection[object], level: int) -> dict[str, object]:
        self.counted += 3 + len(value)
        self.wire += 9 + 2 * len(value)
        return {"L": [self._value(inner, level + 1) for inner in value]}

    def _set(self, value: Collection[object]) -> dict[str, object]:
        """Return a set's one type and its members: all text, all numbers or all bytes."""
        if not value:
            raise self._refused("is an empty set, which DynamoDB refuses: leave it out, or use an empty list")
        # A member carries no type of its own: five bytes less than a value.
        self.wire += 10 - 5 * len(value)
        kinds = {_set_type(member) for member in value}
        if len(kinds) > 1 or None in kinds:
            raise self._refused("is a set of mixed types: DynamoDB has sets of text, of numbers and of bytes")
        kind = kinds.pop()
        if kind == "SS":
            members: list[object] = [self._text(cast("str", member)) for member in value]
        elif kind == "NS":
            members = [self._number(cast("Decimal", member)) for member in value]
        else:
            members = [self._binary(cast("bytes", member)) for member in value]
        if len(set(members)) < len(members):
            raise self._refused("is a set that holds one member twice, as a float and as a Decimal for example")
        return {kind or "": members}

    def _checked_name(self, name: object) -> str:
        if not isinstance(name, str):
            raise self._refused(f"has a name of type {type(name).__name__}: names are text")
        if not name:
            raise self._refused("has an empty name, which DynamoDB refuses")
        text = str.__str__(name)
        try:
            size = len(text) if text.isascii() else len(text.encode())
        except UnicodeEncodeError:
            raise self._refused("has a name with a lone surrogate") from None
        if size > MAX_NAME_BYTES:
            raise self._refused(f"has a name of {size:,} bytes, and DynamoDB takes {MAX_NAME_BYTES:,}")
        self.counted += size
        self.wire += 4 + len(encode_basestring_ascii(text))
        return text

    def _refused(self, why: str) -> InvalidRecord:
        shown = self._name.encode("ascii", "backslashreplace").decode()
        shown = shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "…"
        return InvalidRecord(f"attribute {shown!r} {why}")


def _set_type(member: object) -> str | None:
    match member:
        case str():
            return "SS"
        case bool():
            return None
        case int() | float() | Decimal():
            return "NS"
        case bytes() | bytearray() | memoryview():
            return "BS"
        case _:
            return None
