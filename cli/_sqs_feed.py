"""Lines into SQS messages. Before: a format's reader. After: `SqsSink`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinkwell.sinks.sqs import SqsMessage, SqsSettings, SqsSink

from ._message import MessageFeed, group_fields, messages

if TYPE_CHECKING:
    from ._sinks import Setup


def sqs_feed(setup: Setup) -> MessageFeed:
    """Make a feed: a JSON line is a message's body as it is; a CSV row is one as a JSON object of its cells."""
    settings = setup.load(SqsSettings.load)
    fields = group_fields(setup, "queue", settings.queue_url)
    name = f"SQS queue {settings.queue_url.rstrip('/').rpartition('/')[2]}"
    sink = SqsSink(**settings.own(), policy=settings.policy())
    return MessageFeed(name, sink, messages(setup.reader, SqsMessage, fields))
