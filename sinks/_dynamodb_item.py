"""A Python dict as a DynamoDB item: the typed form, the bytes that DynamoDB counts for it, and its JSON. Pure.

Before: `Put` and `Delete`. After: the entry's payload, which goes into a request as it is.
Sources: "Supported data types and naming rules" and "DynamoDB item sizes and formats" (developer guide), "Quotas" and
BatchWriteItem (API reference), as they read in November 2026; sizes to the byte as measured on DynamoDB Local 3.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from decimal import Decimal
from json import JSONEncoder
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Literal, cast, final

from sinkwell.core import InvalidRecord

from ._dynamodb_number import NotANumberError, number_of_decimal, number_of_float, number_of_int

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

AttributeMap = dict[str, dict[str, object]]
"""Attributes in DynamoDB's typed form, as the client takes them: `{"price": {"N": "9.99"}}`."""

Floats = Literal["refuse", "decimal"]

# The attribute itself is level 1.
MAX_LEVELS = 32
MAX_NAME_BYTES = 65_535
_LONGEST_SHOWN = 60
# Names of attributes that were checked: as text, as they stand in JSON before any value, before text and before a
# number, and their size. Never more than so many.
_MOST_NAMES = 1_000
_NUMBERS: dict[object, Callable[[Any], tuple[str, int]]] = {int: number_of_int, Decimal: number_of_decimal}
_NAMES: dict[object, tuple[str, str, str, str, int]] = {}


@final
class ItemEncoder:
    """Turns one dict into an item and counts it.

    Attributes:
        counted: the bytes that DynamoDB counts for the item: its names and values as they are stored.
    """

    __slots__ = ("_floats", "_has_odd_names", "_name", "counted")

    def __init__(self, floats: Floats) -> None:
        self._floats = floats
        # The top-level attribute that is being encoded: the only part of a path that messages show.
        self._name = ""
        # Whether a name is of a subclass of `str`, by which a dict can hold the same text twice.
        self._has_odd_names = False
        self.counted = 0

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

    def encode_json(self, item: Mapping[object, Any], wanted: Collection[str]) -> tuple[AttributeMap, str]:
        """Return the item's JSON, to the byte as botocore writes it, and at least the wanted attributes typed.

        What most attributes are, plain text and numbers, is done here in place: a call for each part of each attribute
        would take three times as long as all the rest of a record's way.

        Raises:
            InvalidRecord: DynamoDB would refuse it, and the whole request with it.
        """
        attributes: AttributeMap = {}
        # Each is `"name": {"S": "value"` without the brace that closes it, which stands between them.
        parts: list[str] = []
        counted = 0
        for name, value in item.items():
            text, start, start_text, start_number, size = _NAMES.get(name) or self._learnt(name)
            counted += size
            kind = type(value)  # pyright: ignore[reportUnknownVariableType] - of anything
            if kind is str and value.isascii():
                counted += len(value)
                parts.append(start_text + encode_basestring_ascii(value))
                if text in wanted:
                    attributes[text] = {"S": value}
            elif kind in _NUMBERS:
                try:
                    number, size = _NUMBERS[kind](value)
                except NotANumberError as problem:
                    self._name = text
                    raise self._refused(str(problem)) from None
                counted += size
                parts.append(f'{start_number}{number}"')
                if text in wanted:
                    attributes[text] = {"N": number}
            elif kind is bool and text not in wanted:
                counted += 1
                parts.append(start + ('{"BOOL": true' if value else '{"BOOL": false'))
            else:
                self._name = text
                attributes[text] = typed = self._value(value, 1)
                parts.append(start + _ENCODER.encode(typed)[:-1])
        self.counted += counted
        if self._has_odd_names and len({str.__str__(cast("str", name)) for name in item}) < len(item):
            raise InvalidRecord("two names of attributes are the same text: one is of a type of its own, as an enum's")
        return attributes, f"{{{'}, '.join(parts)}}}}}" if parts else "{}"

    def _learnt(self, name: object) -> tuple[str, str, str, str, int]:
        """Check a name of an attribute; those that are met again and again are kept."""
        self._has_odd_names |= type(name) is not str
        self._name = name if isinstance(name, str) else ""
        before = self.counted
        text = self._checked_name(name)
        size, self.counted = self.counted - before, before
        start = f"{encode_basestring_ascii(text)}: "
        known = (text, start, f'{start}{{"S": ', f'{start}{{"N": "', size)
        if len(_NAMES) < _MOST_NAMES and size <= _LONGEST_SHOWN:
            _NAMES[text] = known
        return known

    def _value(self, value: object, level: int) -> dict[str, object]:
        """Return one typed value; the cases stand in the order of how often they are met."""
        if level > MAX_LEVELS:
            raise self._refused(f"is nested deeper than {MAX_LEVELS} levels")
        match value:
            case str():
                return {"S": self._text(value)}
            case bool():
                self.counted += 1
                return {"BOOL": value}
            case int() | float() | Decimal():
                return {"N": self._number(value)}
            case None:
                self.counted += 1
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
        return text

    def _binary(self, value: bytes | bytearray | memoryview) -> bytes:
        data = bytes(value)
        self.counted += len(data)
        return data

    def _map(self, value: Mapping[object, object], level: int) -> dict[str, object]:
        self.counted += 3
        attributes: dict[str, object] = {}
        for name, inner in value.items():
            self.counted += 1
            attributes[self._checked_name(name)] = self._value(inner, level + 1)
        return {"M": attributes}

    def _list(self, value: Collection[object], level: int) -> dict[str, object]:
        self.counted += 3 + len(value)
        return {"L": [self._value(inner, level + 1) for inner in value]}

    def _set(self, value: Collection[object]) -> dict[str, object]:
        """Return a set's one type and its members: all text, all numbers or all bytes."""
        if not value:
            raise self._refused("is an empty set, which DynamoDB refuses: leave it out, or use an empty list")
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
        return text

    def _refused(self, why: str) -> InvalidRecord:
        shown = self._name.encode("ascii", "backslashreplace").decode()
        shown = shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "…"
        return InvalidRecord(f"attribute {shown!r} {why}")


def with_bytes(value: object) -> object:
    """Return a request or an answer that was read from JSON with its Base64 turned back into bytes.

    Raises:
        ValueError: it is no Base64.
    """
    if isinstance(value, list):
        return [with_bytes(inner) for inner in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, object]", value)
    # An attribute may have such a name as well; what it stands for is then a dict.
    if len(fields) == 1:
        binary, members = fields.get("B"), fields.get("BS")
        if isinstance(binary, str):
            return {"B": b64decode(binary, validate=True)}
        if isinstance(members, list):
            return {"BS": [b64decode(str(text), validate=True) for text in cast("list[object]", members)]}
    return {name: with_bytes(inner) for name, inner in fields.items()}


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


# Every part of an item is made by `ItemEncoder`: no cycle in it, and nothing but bytes that JSON has no form for.
_ENCODER = JSONEncoder(default=_base64, check_circular=False)


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
