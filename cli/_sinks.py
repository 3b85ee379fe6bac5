"""The sinks that `--sink` can name. A new one is a module with a feed and a line in this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from sinkwell.core import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sinkwell.core import Sink

    from ._arrow_rows import ArrowReader
    from ._csv import CsvReader
    from ._lines import Line
    from ._ndjson import NdjsonReader


S = TypeVar("S")

_FIELD: Final = "_field"


@dataclass(slots=True, frozen=True, kw_only=True)
class Setup:
    """What a feed is made from.

    Attributes:
        options: what the command line gave, by the name of the setting; it counts before the environment.
        env_file: read after the environment; `None` for the `.env` here, if there is one.
        reader: what reads the input.
        first: the first record as a dead letter would show it; `None` if there is none.
        nulls: cells that mean that there is no value.
    """

    options: Mapping[str, object]
    env_file: Path | None
    reader: CsvReader | NdjsonReader | ArrowReader
    first: Any
    nulls: frozenset[str]

    def load(self, load: Callable[..., S]) -> S:
        """Read the sink's settings, with the `load` of their class."""
        options = {name: value for name, value in self.options.items() if not name.endswith(_FIELD)}
        return load(".env" if self.env_file is None else self.env_file, **options)

    def fields(self, *names: str) -> dict[str, str]:
        """Give the fields of a record that options such as `--key-field` name, by what they are for."""
        return {name: str(field) for name in names if (field := self.options.get(name + _FIELD)) is not None}


class Feed(Protocol):
    """A sink that is not open yet, and how lines become its records."""

    @property
    def name(self) -> str:
        """Where the records go, as progress calls it."""
        ...

    @property
    def sink(self) -> Sink[Any, Any]:
        """The sink."""
        ...

    def shape(self) -> Callable[[Line], Any]:
        """Give what makes a record of a line; asked for once, when the sink is open.

        What is given raises InvalidRecord if the line holds no record for this sink.
        """
        ...


@dataclass(slots=True, frozen=True)
class SinkKind:
    """One line of the table.

    Attributes:
        title: as people call it.
        options: settings that only this kind has, by name.
        feed: makes the feed; imports the sink's client only then.
        needs_columns: whether it wants to see a first record before it can be made.
        is_exact: whether JSON's numbers must keep every digit.
        takes_columns: whether its feed takes rows of Parquet and Arrow files.
    """

    title: str
    options: frozenset[str]
    feed: Callable[[Setup], Feed]
    needs_columns: bool = False
    is_exact: bool = False
    takes_columns: bool = False


def _sqs(setup: Setup) -> Feed:
    from ._sqs_feed import sqs_feed

    return sqs_feed(setup)


def _sns(setup: Setup) -> Feed:
    from ._sns_feed import sns_feed

    return sns_feed(setup)


def _dynamodb(setup: Setup) -> Feed:
    from ._dynamodb_feed import DynamoDBFeed

    return DynamoDBFeed(setup)


def _postgres(setup: Setup) -> Feed:
    from ._postgres_feed import PostgresFeed

    return PostgresFeed(setup)


def _kafka(setup: Setup) -> Feed:
    from ._kafka_feed import kafka_feed

    return kafka_feed(setup)


def _rabbitmq(setup: Setup) -> Feed:
    from ._rabbitmq_feed import rabbitmq_feed

    return rabbitmq_feed(setup)


SINKS: Final[Mapping[str, SinkKind]] = {
    "sqs": SinkKind(
        "Amazon SQS",
        frozenset({"queue_url", "endpoint_url", "region_name", "group_id_field", "deduplication_id_field"}),
        _sqs,
    ),
    "sns": SinkKind(
        "Amazon SNS",
        frozenset({"topic_arn", "endpoint_url", "region_name", "group_id_field", "deduplication_id_field"}),
        _sns,
    ),
    "dynamodb": SinkKind(
        "Amazon DynamoDB", frozenset({"table_name", "endpoint_url", "region_name"}), _dynamodb, is_exact=True
    ),
    "kafka": SinkKind("Apache Kafka", frozenset({"bootstrap_servers", "topic", "key_field"}), _kafka),
    "postgres": SinkKind(
        "PostgreSQL",
        frozenset({"dsn", "table", "columns"}),
        _postgres,
        needs_columns=True,
        is_exact=True,
        takes_columns=True,
    ),
    "rabbitmq": SinkKind("RabbitMQ", frozenset({"url", "exchange", "routing_key", "routing_key_field"}), _rabbitmq),
}


def kind_of(name: str, options: Mapping[str, object], flag_of: Callable[[str], str]) -> SinkKind:
    """Find a sink by name, and refuse options that are another's.

    Args:
        name: what `--sink` was given.
        options: the options that were given, by setting.
        flag_of: tells how a setting is written on the command line.

    Raises:
        ConfigError: there is no such sink, or an option is not for it.
    """
    kind = SINKS.get(name)
    if kind is None:
        raise ConfigError(f"--sink {name} is not known: it is one of {', '.join(SINKS)}")
    for other, owner in SINKS.items():
        foreign = sorted(flag_of(option) for option in owner.options - kind.options if option in options)
        if foreign:
            raise ConfigError(f"{', '.join(foreign)} is for --sink {other}, and not for {name}")
    return kind
