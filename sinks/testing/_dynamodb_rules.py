"""What DynamoDB takes as a value, how it counts it, and its words for what it refuses. Pure: no state, no clock.

Sources: "Supported data types", "Item sizes" and "Quotas" (developer guide), BatchWriteItem (API reference), answers
recorded from AWS, and DynamoDB Local 3, against which the count was measured to the byte.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ._fields import document_of, list_of, text_of
from ._wire import AwsError, Document

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ITEM_BYTES = 409_600
MAX_LEVELS = 32
MAX_NAME_BYTES = 65_535
MAX_DIGITS = 38

_INVALID = "One or more parameter values were invalid: "
_NUMBER = re.compile(r"([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d{1,9}))?", re.ASCII)
_TYPES = {"S", "N", "B", "BOOL", "NULL", "L", "M", "SS", "NS", "BS"}
_EMPTY_SETS = {
    "SS": _INVALID + "An string set  may not be empty",
    "NS": _INVALID + "An number set  may not be empty",
    "BS": _INVALID + "Binary sets should not be empty",
}


def refusal(message: str) -> AwsError:
    """The error of a whole request that breaks a rule."""
    return AwsError("ValidationException", message)


def read_item(given: Any) -> dict[str, Document]:
    """Understand an item or a key, and return it as DynamoDB keeps it: its numbers in their plain form.

    Raises:
        AwsError: if a rule is broken; so do all functions here.
    """
    item = {name: _read_value(_checked_name(name), value, 1) for name, value in document_of(given).items()}
    if item_size(item) > MAX_ITEM_BYTES:
        raise refusal("Item size has exceeded the maximum allowed size")
    return item


def _checked_name(name: str) -> str:
    size = len(_utf8(name))
    if not size:
        raise refusal("Empty attribute name")
    if size > MAX_NAME_BYTES:
        raise refusal("Attribute name is too large, must be less than 65536 bytes")
    return name


def _read_value(name: str, given: Any, level: int) -> Document:
    value = document_of(given)
    kinds = [kind for kind in value if kind in _TYPES]
    if len(kinds) != 1:
        amount = "has more than one datatypes set" if kinds else "is empty"
        raise refusal(f"Supplied AttributeValue {amount}, must contain exactly one of the supported datatypes")
    if level > MAX_LEVELS:
        raise refusal(
            "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond "
            "supported limit"
        )
    kind = kinds[0]
    return {kind: _read_kind(kind, value, name, level)}


def _read_kind(kind: str, value: Document, name: str, level: int) -> Any:
    match kind:
        case "S":
            return text_of(value, kind) or ""
        case "N":
            return plain_number(text_of(value, kind) or "")
        case "B":
            binary_of(text_of(value, kind) or "")
            return value[kind]
        case "BOOL":
            return bool(value[kind])
        case "NULL":
            if value[kind] is not True:
                raise refusal(_INVALID + "Null attribute value types must have the value of true")
            return True
        case "L":
            return [_read_value(name, inner, level + 1) for inner in list_of(value, kind) or ()]
        case "M":
            inner = document_of(value[kind])
            return {key: _read_value(_checked_name(key), item, level + 1) for key, item in inner.items()}
        case _:
            return _read_set(kind, list_of(value, kind) or [])


def _read_set(kind: str, members: list[Any]) -> list[str]:
    if not members:
        raise refusal(_EMPTY_SETS[kind])
    if not all(isinstance(member, str) for member in members):
        raise AwsError("SerializationException", "NUMBER_VALUE can not be converted to String")
    if kind == "NS":
        numbers = [plain_number(member) for member in members]
        if len(set(numbers)) < len(numbers):
            raise refusal("Input collection contains duplicates")
        return numbers
    unique = {binary_of(member) if kind == "BS" else member for member in members}
    if len(unique) < len(members):
        listed = ", ".join(members) + ("]of type BS" if kind == "BS" else "]")
        raise refusal(f"{_INVALID}Input collection [{listed} contains duplicates")
    return members


def plain_number(text: str) -> str:
    """The number without exponent and needless zeros: how DynamoDB gives it back."""
    sign, digits, exponent = _parse(text)
    if not digits:
        return "0"
    return f"{Decimal((sign == '-', tuple(map(int, digits)), exponent)):f}"


def _parse(text: str) -> tuple[str, str, int]:
    """Sign, significant digits, and the exponent of the last of them; no digits for zero."""
    match = _NUMBER.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        suffix = f": {text}" if text else ""
        raise refusal(f"The parameter cannot be converted to a numeric value{suffix}")
    digits = (match[2] + match[3]).lstrip("0")
    if not digits:
        return "", "", 0
    significant = digits.rstrip("0")
    exponent = int(match[4] or 0) - len(match[3]) + len(digits) - len(significant)
    if len(significant) > MAX_DIGITS:
        raise refusal("Attempting to store more than 38 significant digits in a Number")
    magnitude = exponent + len(significant) - 1
    if not -130 <= magnitude <= 125:  # noqa: PLR2004 - the range as the developer guide gives it
        which, than = ("overflow", "larger") if magnitude > 0 else ("underflow", "smaller")
        sentence = f"Attempting to store a number with magnitude {than} than supported range"
        raise refusal(f"Number {which}. {sentence}")
    return match[1], significant, exponent


def number_size(text: str) -> int:
    """What a number counts: a byte, one for each pair of digits, one more where the decimal point splits a pair."""
    sign, digits, exponent = _parse(text)
    if not digits:
        return 1
    magnitude = exponent + len(digits) - 1
    splits_a_pair = len(digits) % 2 == 0 and magnitude % 2 == 0
    return 1 + math.ceil(len(digits) / 2) + splits_a_pair + (sign == "-")


def binary_of(text: str) -> bytes:
    """The bytes of a Base64 text."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise AwsError("SerializationException", "Base64 encoded length is unexpected") from None


def item_size(item: Document) -> int:
    """What an item counts: the UTF-8 of its names, and its values."""
    return sum(len(_utf8(name)) + _value_size(value) for name, value in item.items())


def _value_size(value: Document) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(_utf8(content))
        case "N":
            return number_size(content)
        case "B":
            return len(binary_of(content))
        case "BOOL" | "NULL":
            return 1
        case "L":
            return 3 + len(content) + sum(map(_value_size, content))
        case "M":
            return 3 + len(content) + item_size(content)
        case _:
            return _sum_of(kind[0], content)


def _sum_of(kind: str, members: Iterable[str]) -> int:
    return sum(_value_size({kind: member}) for member in members)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
