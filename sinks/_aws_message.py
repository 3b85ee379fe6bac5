"""What messages of SQS and of SNS have in common: attributes, ids of groups and of duplicates, text.

Before: `_sqs_message`, `_sns_message`. After: fields of the entry's payload. `to` is the queue or topic; its `str` is
how sentences call it. Sources: MessageAttributeValue (SQS and SNS API references), "Message metadata" (SQS developer
guide) and "Message attributes" (SNS developer guide), as they read in November 2026.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from sinkwell.core import InvalidRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ID = re.compile(r"[!-~]{1,128}")
_NAME = re.compile(r"(?!aws\.|amazon\.)[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.IGNORECASE | re.ASCII)
_DATA_TYPE = re.compile(r"(String|Number|Binary)(\.[A-Za-z0-9_.-]+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_LONGEST_NAME = 256
_NUMBER_DIGITS = 38
_NUMBER_EXPONENTS = range(-128, 127)

T = TypeVar("T")


@dataclass(slots=True, frozen=True)
class MessageAttribute:
    """A message attribute with a data type of its own.

    Attributes:
        data_type: `String`, `Number` or `Binary`, with a label after a dot if you like: `Number.temperature`.
        value: text, or bytes for `Binary`.
    """

    data_type: str
    value: str | bytes


AttributeValue = str | int | float | Decimal | bytes | MessageAttribute

# What a caller gave is `object` below: annotations bind nobody, and one bad message would fail ten.


def checked_text(text: object, what: str, to: object) -> str:
    """Return a text that is not empty.

    Raises:
        InvalidRecord: it is none, or empty.
    """
    if not isinstance(text, str):
        raise InvalidRecord(f"{what} for {to} must be str, not {type(text).__name__}: use encode= or decode it")
    if not text:
        raise InvalidRecord(f"{what} for {to} is empty, which AWS refuses")
    return text


def checked_id(value: object, name: str, to: object) -> str:
    """Return an id of a group, or of a message's duplicates.

    Raises:
        InvalidRecord: AWS would refuse it, and in a FIFO batch all of the request.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidRecord(f"{name} for {to} must be 1 to 128 ASCII letters, digits or punctuation, without spaces")
    return value


def encode_attributes(
    attributes: Mapping[str, AttributeValue], to: T, text_size: Callable[[object, str, T], int]
) -> tuple[dict[str, object], int]:
    """Check and count attributes: the bytes of each one's name, data type and value.

    Args:
        attributes: as the caller gave them.
        to: the queue or topic.
        text_size: checks a text (the first argument; the second is what sentences call it) and counts its bytes.

    Raises:
        InvalidRecord: AWS would refuse one of them.
    """
    fields: dict[str, object] = {}
    size = 0
    for place, (name, value) in enumerate(attributes.items(), start=1):
        if not _is_like(_NAME, name):
            raise InvalidRecord(
                f"the name of attribute {place} for {to} must be 1-{_LONGEST_NAME} ASCII letters, digits, _ - and "
                "single dots inside, and not begin with AWS. or Amazon."
            )
        fields[name], value_size = _encode_attribute(_typed(value, name, to), name, to, text_size)
        size += len(name) + value_size
    return fields, size


def _typed(value: AttributeValue, name: str, to: object) -> MessageAttribute:
    match value:
        case MessageAttribute():
            return value
        case str():
            return MessageAttribute("String", value)
        case bytes():
            return MessageAttribute("Binary", value)
        case int() | float() | Decimal() if not isinstance(value, bool):
            return MessageAttribute("Number", _number_text(value))
        case _:
            raise InvalidRecord(
                f"attribute {name!r} for {to} must be str, number, bytes or an attribute with a data type, not "
                f"{type(value).__name__}"
            )


def _number_text(value: float | Decimal) -> str:
    try:
        return str(value)
    except ValueError:  # thousands of digits, which Python won't write out
        return ""


def _encode_attribute(
    attribute: MessageAttribute, name: str, to: T, text_size: Callable[[object, str, T], int]
) -> tuple[dict[str, object], int]:
    data_type, value = attribute.data_type, attribute.value
    what = f"attribute {name!r}"
    if not _is_like(_DATA_TYPE, data_type):
        raise InvalidRecord(f"{what} for {to}: data_type must be String, Number or Binary, or one with .label")
    if data_type.startswith("Binary"):
        if not isinstance(value, bytes) or not value:
            raise InvalidRecord(f"{what} for {to} is Binary and must be bytes, at least one")
        return {"DataType": data_type, "BinaryValue": value}, len(data_type) + len(value)
    if isinstance(value, bytes):
        raise InvalidRecord(f"{what} for {to} is {data_type.partition('.')[0]} and must be str, not bytes")
    if data_type.startswith("Number") and not _is_number(value):
        raise InvalidRecord(f"{what} for {to} must be a number of at most {_NUMBER_DIGITS} digits, below 1E+127")
    return {"DataType": data_type, "StringValue": value}, len(data_type) + text_size(value, what, to)


def _is_like(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and len(text) <= _LONGEST_NAME and pattern.fullmatch(text) is not None


def _is_number(text: object) -> bool:
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        return False
    number = Decimal(text)
    digits = "".join(map(str, number.as_tuple().digits)).strip("0")
    return not digits or (len(digits) <= _NUMBER_DIGITS and number.adjusted() in _NUMBER_EXPONENTS)
