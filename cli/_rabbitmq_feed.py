"""Lines into RabbitMQ messages. Before: a format's reader. After: `RabbitMQSink`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sinkwell.core import ConfigError
from sinkwell.sinks.rabbitmq import RabbitMQMessage, RabbitMQSettings, RabbitMQSink

from ._message import MessageFeed, messages

if TYPE_CHECKING:
    from ._sinks import Setup


def rabbitmq_feed(setup: Setup) -> MessageFeed:
    """Make a feed: a JSON line is a message's body as it is; a CSV row is one as a JSON object of its cells."""
    settings = setup.load(RabbitMQSettings.load)
    fields = setup.fields("routing_key")
    if not (settings.exchange or settings.routing_key or fields):
        raise ConfigError(
            "the default exchange needs the queue's name: give --routing-key or --routing-key-field, or --exchange"
        )
    message = partial(RabbitMQMessage, content_type="application/json")
    return MessageFeed(
        f"RabbitMQ exchange {settings.exchange}" if settings.exchange else "RabbitMQ",
        RabbitMQSink(**settings.own(), policy=settings.policy()),
        messages(setup.reader, message, fields, is_needed=True),
    )
