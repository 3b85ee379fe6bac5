"""Lines into SNS messages. Before: a format's reader. After: `SnsSink`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sinkwell.core import ConfigError
from sinkwell.sinks.sns import SnsMessage, SnsSettings, SnsSink

from ._message_shape import MessageShape

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._lines import Line
    from ._sinks import Setup


class SnsFeed:
    """A topic, and lines as its messages."""

    def __init__(self, setup: Setup) -> None:
        given = setup.settings()
        group_field = cast("str | None", given.pop("group_id_field", None))
        deduplication_field = cast("str | None", given.pop("deduplication_id_field", None))
        self._shape = MessageShape(
            setup.reader, SnsMessage, group_field=group_field, deduplication_field=deduplication_field
        )
        settings = SnsSettings.load(**given)  # type: ignore[arg-type]
        if settings.topic_arn.endswith(".fifo") and group_field is None:
            raise ConfigError("a FIFO topic needs a group for each message: name the field with --group-id-field")
        self.name = f"SNS topic {settings.topic_arn.rpartition(':')[2]}"
        self.sink = SnsSink(
            settings.topic_arn,
            endpoint_url=settings.endpoint_url,
            region_name=settings.region_name,
            allow_http=settings.allow_http,
            strict_order=settings.strict_order,
            policy=settings.policy(),
        )

    def shape(self) -> Callable[[Line], Any]:
        """Give what makes a message of a line."""
        return self._shape.shape()
