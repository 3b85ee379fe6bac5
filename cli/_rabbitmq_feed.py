"""Lines into RabbitMQ messages. Before: a format's reader. After: `RabbitMQSink`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sinkwell.core import ConfigError
from sinkwell.sinks.rabbitmq import RabbitMQMessage, RabbitMQSettings, RabbitMQSink

from ._message import body_of, field_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._lines import Line
    from ._sinks import Setup


class RabbitMQFeed:
    """A JSON line is a message's body as it is; a CSV row is one as a JSON object of its cells."""

    def __init__(self, setup: Setup) -> None:
        given = setup.settings()
        self._routing_key_field = cast("str | None", given.pop("routing_key_field", None))
        self._reader = setup.reader
        settings = RabbitMQSettings.load(**given)  # type: ignore[arg-type]
        if not settings.exchange and not settings.routing_key and self._routing_key_field is None:
            raise ConfigError(
                "the default exchange needs the queue's name: give --routing-key or --routing-key-field, or --exchange"
            )
        self.name = f"RabbitMQ exchange {settings.exchange}" if settings.exchange else "RabbitMQ"
        self.sink = RabbitMQSink(
            settings.url,
            settings.exchange,
            settings.routing_key,
            persistent=settings.persistent,
            mandatory=settings.mandatory,
            ordered=settings.ordered,
            strict_order=settings.strict_order,
            max_message_bytes=settings.max_message_bytes,
            policy=settings.policy(),
        )

    def shape(self) -> Callable[[Line], Any]:
        """Give what makes a message of a line."""
        return self._message

    def _message(self, line: Line) -> RabbitMQMessage:
        return RabbitMQMessage(
            body_of(self._reader, line),
            field_of(self._reader, line, self._routing_key_field),
            content_type="application/json",
        )
