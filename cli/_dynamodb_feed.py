"""Lines into DynamoDB items. Before: a format's reader. After: `DynamoDBSink`."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from sinkwell.core import InvalidRecord
from sinkwell.sinks.dynamodb import DynamoDBSettings, DynamoDBSink

from ._csv import CsvReader
from ._ndjson import is_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._lines import Line
    from ._sinks import Setup


class DynamoDBFeed:
    """A JSON object is an item; a CSV row is one of texts, without the cells that mean that there is no value."""

    def __init__(self, setup: Setup) -> None:
        settings = setup.load(DynamoDBSettings.load)
        self._reader = setup.reader
        # Key attributes that are numbers: a cell is text, and a key of the wrong type is none.
        self._number_keys: tuple[str, ...] = ()
        self.name = f"DynamoDB table {settings.table_name.rpartition('/')[2]}"
        self.sink = DynamoDBSink(**settings.own(), policy=settings.policy())

    def shape(self) -> Callable[[Line], Any]:
        """Give what makes an item of a line."""
        self._number_keys = tuple(name for name, kind in self.sink.key.items() if kind == "N")
        return self._row if isinstance(self._reader, CsvReader) else _object

    def _row(self, line: Line) -> dict[str, Any]:
        assert isinstance(self._reader, CsvReader)
        item: dict[str, Any] = {name: cell for name, cell in self._reader.named(line.value).items() if cell is not None}
        for name in self._number_keys:
            if name in item:
                item[name] = _number(name, item[name])
        return item


def _object(line: Line) -> dict[str, Any]:
    if not is_object(line.value):
        raise InvalidRecord("an item must be a JSON object")
    return line.value


def _number(name: str, text: str) -> Decimal:
    try:
        if "_" not in text:
            return Decimal(text)
    except InvalidOperation:
        pass
    raise InvalidRecord(f"its key {name!r} is a number in the table, and the value is not a number")
