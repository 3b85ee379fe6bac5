"""Lines into Kafka records. Before: a format's reader. After: `KafkaSink`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from sinkwell.core import InvalidRecord
from sinkwell.sinks.kafka import KafkaRecord, KafkaSettings, KafkaSink

from ._csv import CsvReader
from ._ndjson import is_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._lines import Line
    from ._sinks import Setup


class KafkaFeed:
    """A JSON line is a record's value as it is; a CSV row is one as a JSON object of its cells."""

    def __init__(self, setup: Setup) -> None:
        given = setup.settings()
        self._key_field = cast("str | None", given.pop("key_field", None))
        self._reader = setup.reader
        settings = KafkaSettings.load(**given)  # type: ignore[arg-type]
        self.name = f"Kafka topic {settings.topic}"
        self.sink = KafkaSink(**settings.options(), policy=settings.policy())

    def shape(self) -> Callable[[Line], Any]:
        """Give what makes a record of a line."""
        return self._value if self._key_field is None else self._record

    def _value(self, line: Line) -> str:
        if isinstance(self._reader, CsvReader):
            return json.dumps(self._reader.named(line.value), ensure_ascii=False, separators=(",", ":"))
        return line.text

    def _record(self, line: Line) -> KafkaRecord:
        values = self._reader.named(line.value) if isinstance(self._reader, CsvReader) else line.value
        key = values.get(self._key_field or "") if is_object(values) else None
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise InvalidRecord(f"its field {self._key_field!r} must be text or a whole number")
        return KafkaRecord(self._value(line), key=str(key))
