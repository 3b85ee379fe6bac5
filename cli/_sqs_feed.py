"""Lines into SQS messages. Before: a format's reader. After: `SqsSink`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sinkwell.core import ConfigError
from sinkwell.sinks.sqs import SqsMessage, SqsSettings, SqsSink

from ._message_shape import MessageShape

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._lines import Line
    from ._sinks import Setup


class SqsFeed:
    """A queue, and lines as its messages."""

    def __init__(self, setup: Setup) -> None:
        given = setup.settings()
        group_field = cast("str | None", given.pop("group_id_field", None))
        deduplication_field = cast("str | None", given.pop("deduplication_id_field", None))
        self._shape = MessageShape(
            setup.reader, SqsMessage, group_field=group_field, deduplication_field=deduplication_field
        )
        settings = SqsSettings.load(**given)  # type: ignore[arg-type]
        if settings.queue_url.endswith(".fifo") and group_field is None:
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
        return self._shape.shape()
