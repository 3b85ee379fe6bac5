"""Lines into SQS messages. Before: a format's reader. After: `SqsSink`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from sinkwell.core import ConfigError, InvalidRecord
from sinkwell.sinks.sqs import SqsMessage, SqsSettings, SqsSink

from ._csv import CsvReader
from ._ndjson import is_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._lines import Line
    from ._sinks import Setup


class SqsFeed:
    """A JSON line is a message's body as it is; a CSV row is one as a JSON object of its cells."""

    def __init__(self, setup: Setup) -> None:
        given = setup.settings()
        self._group_field = cast("str | None", given.pop("group_id_field", None))
        self._deduplication_field = cast("str | None", given.pop("deduplication_id_field", None))
        self._reader = setup.reader
        settings = SqsSettings.load(**given)  # type: ignore[arg-type]
        if settings.queue_url.endswith(".fifo") and self._group_field is None:
            raise ConfigError("a FIFO queue needs a group for each message: name the field with --group-id-field")
        self.name = f"SQS queue {settings.queue_url.rstrip('/').rpartition('/')[2]}"
        self.sink = SqsSink(
            settings.queue_url,
            endpoint_url=settings.endpoint_url,
            region_name=settings.region_name,
            allow_http=settings.allow_http,
            strict_order=settings.strict_order,
            policy=settings.policy(),
        )

    def shape(self) -> Callable[[Line], Any]:
        """Give what makes a message of a line."""
        if self._group_field is None and self._deduplication_field is None:
            return self._body
        return self._message

    def _body(self, line: Line) -> str:
        if isinstance(self._reader, CsvReader):
            return json.dumps(self._reader.named(line.value), ensure_ascii=False, separators=(",", ":"))
        return line.text

    def _message(self, line: Line) -> SqsMessage:
        values = self._reader.named(line.value) if isinstance(self._reader, CsvReader) else line.value
        group = _field(values, self._group_field)
        return SqsMessage(self._body(line), group_id=group, deduplication_id=_field(values, self._deduplication_field))


def _field(values: Any, name: str | None) -> str | None:
    if name is None:
        return None
    value = values.get(name) if is_object(values) else None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidRecord(f"its field {name!r} must be text or a whole number")
    return str(value)
