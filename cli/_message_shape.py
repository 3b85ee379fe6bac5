"""Lines into messages of SQS and SNS. Before: a format's reader. After: the sink's `put`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from sinkwell.core import InvalidRecord

from ._csv import CsvReader
from ._ndjson import NdjsonReader, is_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._lines import Line

M_co = TypeVar("M_co", covariant=True)


class MakesMessage(Protocol[M_co]):
    """A message's class: its text first, the rest by name."""

    def __call__(self, text: str, /, *, group_id: str | None, deduplication_id: str | None) -> M_co:
        """Make a message."""
        ...


class MessageShape(Generic[M_co]):
    """A JSON line is a message's text as it is; a CSV row is one as a JSON object of its cells."""

    def __init__(
        self,
        reader: CsvReader | NdjsonReader,
        make: MakesMessage[M_co],
        *,
        group_field: str | None,
        deduplication_field: str | None,
    ) -> None:
        self._reader = reader
        self._make = make
        self._group_field = group_field
        self._deduplication_field = deduplication_field

    def shape(self) -> Callable[[Line], Any]:
        """Give what makes a message of a line."""
        if self._group_field is None and self._deduplication_field is None:
            return self._text
        return self._message

    def _text(self, line: Line) -> str:
        if isinstance(self._reader, CsvReader):
            return json.dumps(self._reader.named(line.value), ensure_ascii=False, separators=(",", ":"))
        return line.text

    def _message(self, line: Line) -> M_co:
        values = self._reader.named(line.value) if isinstance(self._reader, CsvReader) else line.value
        group, deduplication_id = _field(values, self._group_field), _field(values, self._deduplication_field)
        return self._make(self._text(line), group_id=group, deduplication_id=deduplication_id)


def _field(values: Any, name: str | None) -> str | None:
    if name is None:
        return None
    value = values.get(name) if is_object(values) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRecord(f"its field {name!r} must be text or a whole number")
    return str(value)
