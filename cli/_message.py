"""A line as a message: its body, and fields that say where it belongs. Before: a reader. After: a feed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sinkwell.core import ConfigError, InvalidRecord

from ._csv import CsvReader
from ._ndjson import is_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sinkwell.core import Sink

    from ._lines import Line
    from ._sinks import Setup
    from ._sources import Reader

    Shape = Callable[[Line], Any]


@dataclass(slots=True, frozen=True)
class MessageFeed:
    """A feed whose lines become messages, whatever the sink finds when it is opened."""

    name: str
    sink: Sink[Any, Any]
    _shape: Shape

    def shape(self) -> Shape:
        """Give what makes a message of a line."""
        return self._shape


def messages(
    reader: Reader, message: Callable[..., object], fields: Mapping[str, str], *, is_needed: bool = False
) -> Shape:
    """Give what makes a message of a line.

    Args:
        reader: what has read the line.
        message: makes one of a body, and of fields' values by name.
        fields: by name, the field of a record whose value it is.
        is_needed: whether the body alone is no message, where there are no such fields.
    """
    if fields or is_needed:
        return partial(_message, reader, message, [*fields.items()])
    return partial(_body, reader)


def group_fields(setup: Setup, what: str, address: str) -> dict[str, str]:
    """Give the fields that a queue's or topic's messages have their group and deduplication id from.

    Raises:
        ConfigError: it is FIFO, and no field of the group is named.
    """
    fields = setup.fields("group_id", "deduplication_id")
    if address.endswith(".fifo") and "group_id" not in fields:
        raise ConfigError(f"a FIFO {what} needs a group for each message: name the field with --group-id-field")
    return fields


def _message(reader: Reader, message: Callable[..., object], fields: list[tuple[str, str]], line: Line) -> object:
    values: Any = reader.named(line.value) if isinstance(reader, CsvReader) else line.value
    return message(_body(reader, line), **{name: _text(values, field) for name, field in fields})


def _body(reader: Reader, line: Line) -> str:
    """Give a JSON line as it is, and a CSV row as a JSON object of its cells."""
    if isinstance(reader, CsvReader):
        return json.dumps(reader.named(line.value), ensure_ascii=False, separators=(",", ":"))
    return line.text


def _text(values: Any, field: str) -> str:
    value = values.get(field) if is_object(values) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRecord(f"its field {field!r} must be text or a whole number")
    return str(value)
