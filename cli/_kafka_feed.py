"""Lines into Kafka records. Before: a format's reader. After: `KafkaSink`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinkwell.sinks.kafka import KafkaRecord, KafkaSettings, KafkaSink

from ._message import MessageFeed, messages

if TYPE_CHECKING:
    from ._sinks import Setup


def kafka_feed(setup: Setup) -> MessageFeed:
    """Make a feed: a JSON line is a record's value as it is; a CSV row is one as a JSON object of its cells."""
    settings = setup.load(KafkaSettings.load)
    sink = KafkaSink(**settings.options(), policy=settings.policy())
    return MessageFeed(f"Kafka topic {settings.topic}", sink, messages(setup.reader, KafkaRecord, setup.fields("key")))
