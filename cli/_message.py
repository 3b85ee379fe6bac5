"""A line as a queue's message: its body, and fields that say where it belongs. Before: a reader. After: a feed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sinkwell.core import InvalidRecord

from ._csv import CsvReader
from ._ndjson import is_object

if TYPE_CHECKING:
    from ._lines import Line
    from ._sources import Reader


def body_of(reader: Reader, line: Line) -> str:
    """Give a JSON line as it is, and a CSV row as a JSON object of its cells."""
    if isinstance(reader, CsvReader):
        return json.dumps(reader.named(line.value), ensure_ascii=False, separators=(",", ":"))
    return line.text


def field_of(reader: Reader, line: Line, name: str | None) -> str | None:
    """Give a field's value as text; `None` if no field is named.

    Raises:
        InvalidRecord: the record has no such field, or it is neither text nor a whole number.
    """
    if name is None:
        return None
    values: Any = reader.named(line.value) if isinstance(reader, CsvReader) else line.value
    value = values.get(name) if is_object(values) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRecord(f"its field {name!r} must be text or a whole number")
    return str(value)
