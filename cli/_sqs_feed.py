"""Lines into SQS messages. Before: a format's reader. After: `SqsSink`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sinkwell.core import ConfigError
from sinkwell.sinks.sqs import SqsMessage, SqsSettings, SqsSink

from ._message import body_of, field_of

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
            fair_queues=settings.fair_queues,
            policy=settings.policy(),
        )

    def shape(self) -> Callable[[Line], Any]:
        """Give what makes a message of a line."""
        if self._group_field is None and self._deduplication_field is None:
            return self._body
        return self._message

    def _body(self, line: Line) -> str:
        return body_of(self._reader, line)

    def _message(self, line: Line) -> SqsMessage:
        return SqsMessage(
            self._body(line),
            group_id=field_of(self._reader, line, self._group_field),
            deduplication_id=field_of(self._reader, line, self._deduplication_field),
        )
