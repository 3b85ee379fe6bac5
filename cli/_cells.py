"""Text and JSON values into what a PostgreSQL column takes. Before: a format's reader. After: `PostgresSink.put`.

Only the form is changed, never the value: what a column could not hold exactly is refused here or by the sink.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

Convert = Callable[[Any], Any]
"""Raises ValueError whose text ends the sentence `'cell' ...`."""

_WHOLE: Final = re.compile(r"\s*[+-]?[0-9]+\s*")
_INTERVAL: Final = re.compile(
    r"(?:(?P<days>[+-]?\d+) days?,? ?)?(?:(?P<sign>[+-])?(?P<h>\d+):(?P<m>\d\d)(?::(?P<s>\d\d(?:\.\d+)?))?)?"
)
_TRUE: Final = frozenset({"t", "true", "y", "yes", "on", "1"})
_FALSE: Final = frozenset({"f", "false", "n", "no", "off", "0"})


def _whole(text: str) -> int:
    # int() alone would also take 1_000 and the digits of every alphabet.
    if text.isdecimal() and text.isascii():
        return int(text)
    if _WHOLE.fullmatch(text):
        return int(text)
    raise ValueError("is not a whole number")


def _float(text: str) -> float:
    try:
        if "_" not in text:
            return float(text)
    except ValueError:
        pass
    raise ValueError("is not a number")


def _numeric(text: str) -> Decimal:
    try:
        if "_" not in text:
            return Decimal(text)
    except InvalidOperation:
        pass
    raise ValueError("is not a number")


def _bool(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("is neither true nor false")


def _iso(read: Callable[[str], Any], what: str) -> Convert:
    def convert(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            raise ValueError(f"is not {what} as in ISO 8601") from None

    return convert


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError("is not a UUID") from None


def _bytea(text: str) -> bytes:
    try:
        if text.startswith("\\x"):
            return bytes.fromhex(text[2:])
    except ValueError:
        pass
    raise ValueError("is not bytes in PostgreSQL's hex form, \\x...")


def _interval(text: str) -> timedelta:
    found = _INTERVAL.fullmatch(text.strip())
    if found is None or not text.strip():
        raise ValueError("is not an interval such as  3 days 04:05:06")
    clock = timedelta(hours=int(found["h"] or 0), minutes=int(found["m"] or 0), seconds=float(found["s"] or 0))
    return timedelta(days=int(found["days"] or 0)) + (-clock if found["sign"] == "-" else clock)


def _json_text(text: str) -> str:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    return text


_FROM_TEXT: Final[dict[str, Convert]] = {
    "bool": _bool,
    "int2": _whole,
    "int4": _whole,
    "int8": _whole,
    "oid": _whole,
    "float4": _float,
    "float8": _float,
    "numeric": _numeric,
    "uuid": _uuid,
    "bytea": _bytea,
    "date": _iso(date.fromisoformat, "a date"),
    "time": _iso(time.fromisoformat, "a time"),
    "timetz": _iso(time.fromisoformat, "a time"),
    "timestamp": _iso(datetime.fromisoformat, "a date and time"),
    "timestamptz": _iso(datetime.fromisoformat, "a date and time"),
    "interval": _interval,
    "json": _json_text,
    "jsonb": _json_text,
}
"""By the type's name in pg_type. A type that is not here takes the text as it is."""


def from_text(base: str, element: str | None) -> Convert | None:
    """Give what converts a cell's text for a column of this type; `None` if it goes as it is.

    Args:
        base: the type's own name, such as `int4`.
        element: the same of an array's elements. A cell holds an array as a JSON list.
    """
    if element is None:
        return _FROM_TEXT.get(base)
    convert = _from_json_list(element)

    def convert_cell(text: str) -> Any:
        return convert(json.loads(_json_text(text)))

    return convert_cell


def from_json(base: str, element: str | None) -> Convert | None:
    """Give what converts a JSON value that is not null for a column of this type; `None` if it goes as it is."""
    if element is not None:
        return _from_json_list(element)
    if base in ("json", "jsonb"):
        return _to_json
    of_text = _FROM_TEXT.get(base)
    if of_text is None:
        return None
    is_float = base in ("float4", "float8")

    def convert(value: Any) -> Any:
        if isinstance(value, str):
            return of_text(value)
        return float(value) if is_float and isinstance(value, Decimal) else value

    return convert


def from_arrow(base: str, element: str | None) -> Convert | None:
    """Give what converts a value of a Parquet or Arrow file that is not null; `None` if it goes as it is.

    Text is read as in a CSV's cell. Everything else has a type of its own, and the sink checks it.
    """
    of_text = from_text(base, element)
    of_list = None if element is None else _from_json_list(element)

    def convert(value: Any) -> Any:
        if isinstance(value, str) and of_text is not None:
            return of_text(value)
        if of_list is not None and isinstance(value, list):
            return of_list(value)
        return _uuid_of_bytes(value) if base == "uuid" and isinstance(value, bytes) else value  # pyright: ignore[reportUnknownVariableType] - of anything

    return None if of_text is None else convert


def _uuid_of_bytes(value: bytes) -> UUID:
    try:
        return UUID(bytes=value)
    except ValueError:
        raise ValueError("is not the 16 bytes of a UUID") from None


def _to_json(value: Any) -> str:
    return json.dumps(value, default=float, ensure_ascii=False)


def _from_json_list(element: str) -> Convert:
    inner = from_json(element, None)

    def convert(value: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError("is not a list")  # noqa: TRY004 - a value from the input, told like all others
        return [_item(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - of anything

    def _item(item: Any) -> Any:
        if isinstance(item, list):
            return convert(item)
        return item if item is None or inner is None else inner(item)

    return convert
