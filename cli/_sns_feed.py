"""Lines into SNS messages. Before: a format's reader. After: `SnsSink`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinkwell.sinks.sns import SnsMessage, SnsSettings, SnsSink

from ._message import MessageFeed, group_fields, messages

if TYPE_CHECKING:
    from ._sinks import Setup


def sns_feed(setup: Setup) -> MessageFeed:
    """Make a feed: a JSON line is a message's text as it is; a CSV row is one as a JSON object of its cells."""
    settings = setup.load(SnsSettings.load)
    fields = group_fields(setup, "topic", settings.topic_arn)
    sink = SnsSink(**settings.own(), policy=settings.policy())
    return MessageFeed(
        f"SNS topic {settings.topic_arn.rpartition(':')[2]}", sink, messages(setup.reader, SnsMessage, fields)
    )
