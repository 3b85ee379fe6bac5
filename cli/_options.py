"""The options of `sinkwell pipe`: how each is written, what it says of itself, and which setting it gives."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from typer.models import OptionInfo

_INPUT: Final = "Input"
_RUN: Final = "Run"
_SQS: Final = "Amazon SQS (--sink sqs)"
_SNS: Final = "Amazon SNS (--sink sns)"
_FIFO: Final = "FIFO queues and topics (--sink sqs, sns)"
_DYNAMODB: Final = "Amazon DynamoDB (--sink dynamodb)"
_AWS: Final = "Amazon (--sink sqs, sns, dynamodb)"
_KAFKA: Final = "Apache Kafka (--sink kafka)"
_POSTGRES: Final = "PostgreSQL (--sink postgres)"
_RABBITMQ: Final = "RabbitMQ (--sink rabbitmq)"
_POLICY: Final = "Policy (env: SINKWELL_<SINK>_ and the name, as SINKWELL_SQS_LINGER)"


class Format(StrEnum):
    """How records are written down."""

    ndjson = "ndjson"
    csv = "csv"
    parquet = "parquet"
    arrow = "arrow"


def _variable(name: str) -> str:
    """Name the variable that counts where the option is not given."""
    return f" (env: SINKWELL_{name})"


def _option(panel: str, metavar: str | None, words: str, *names: str) -> OptionInfo:
    """Describe an option; its default is the parameter's, and so is its name where none is given."""
    described: OptionInfo = typer.Option(*names, metavar=metavar, help=words, rich_help_panel=panel)
    return described


File = Annotated[str, typer.Argument(metavar="FILE", help="The file to read, gzipped or not; - for standard input.")]
SinkName = Annotated[
    str,
    typer.Option(
        "--sink", metavar="NAME", help="Where the records go: sqs, sns, dynamodb, kafka, rabbitmq or postgres."
    ),
]

FormatOption = Annotated[
    Format | None, _option(_INPUT, None, "Default: by the name's suffix; ndjson for -.", "--format")
]
Delimiter = Annotated[str | None, _option(_INPUT, None, "Between a CSV's cells. Default: a comma, or a tab for .tsv.")]
Null = Annotated[
    list[str] | None,
    _option(
        _INPUT, "TEXT", "A CSV cell that means: no value, as NA. An empty one always does. May be repeated.", "--null"
    ),
]

DeadLetters = Annotated[
    Path | None, _option(_RUN, "FILE", "Write what was not delivered here, a JSON object a line.", "--dead-letters")
]
ShowProgress = Annotated[
    bool, _option(_RUN, None, "A bar on a terminal, a line every 5 s elsewhere.", "--progress/--no-progress")
]
Grace = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0.0, help="What is on its way has so long to arrive after Ctrl-C.", rich_help_panel=_RUN
    ),
]
EnvFile = Annotated[
    Path | None, _option(_RUN, "FILE", "Settings, read after the environment. Default: .env, if it is there.")
]

QueueUrl = Annotated[str | None, _option(_SQS, "URL", "The queue." + _variable("SQS_QUEUE_URL"))]
EndpointUrl = Annotated[
    str | None, _option(_AWS, "URL", "Another endpoint than AWS's own." + _variable("<SINK>_ENDPOINT_URL"))
]
Region = Annotated[
    str | None,
    _option(
        _AWS,
        None,
        "Default: the one in the queue's URL or topic's ARN, then AWS's own settings."
        + _variable("<SINK>_REGION_NAME"),
        "--region",
    ),
]
GroupIdField = Annotated[
    str | None, _option(_FIFO, "FIELD", "The field whose value is a message's group; FIFO needs one.")
]
DeduplicationIdField = Annotated[
    str | None,
    _option(
        _FIFO, "FIELD", "The field that tells a message from all others. Default: each line is a message of its own."
    ),
]

TopicArn = Annotated[str | None, _option(_SNS, "ARN", "The topic, by ARN." + _variable("SNS_TOPIC_ARN"))]

TableName = Annotated[
    str | None, _option(_DYNAMODB, "NAME", "The table, by name or ARN." + _variable("DYNAMODB_TABLE_NAME"))
]

BootstrapServers = Annotated[
    str | None,
    _option(_KAFKA, "HOST:PORT,…", "Some of the brokers; they tell the others." + _variable("KAFKA_BOOTSTRAP_SERVERS")),
]
Topic = Annotated[str | None, _option(_KAFKA, None, "The topic. It must be there." + _variable("KAFKA_TOPIC"))]
KeyField = Annotated[
    str | None, _option(_KAFKA, "FIELD", "The field whose value is a record's key. Default: records have none.")
]

Dsn = Annotated[
    str | None,
    _option(
        _POSTGRES,
        "URI",
        "postgresql://user:password@host/database; with a password, better in the environment or .env."
        + _variable("POSTGRES_DSN"),
    ),
]
Table = Annotated[str | None, _option(_POSTGRES, None, "As events or audit.events." + _variable("POSTGRES_TABLE"))]
Columns = Annotated[
    str | None,
    _option(
        _POSTGRES,
        "A,B,…",
        "The columns to write; the input's other ones are left out. Default: a CSV's header, the first "
        "record's keys." + _variable("POSTGRES_COLUMNS"),
    ),
]

Url = Annotated[
    str | None,
    _option(
        _RABBITMQ,
        "URI",
        "amqps://user:password@host/vhost; with a password, better in the environment or .env."
        + _variable("RABBITMQ_URL"),
    ),
]
Exchange = Annotated[
    str | None,
    _option(
        _RABBITMQ, None, "Default: the one where a routing key is a queue's name." + _variable("RABBITMQ_EXCHANGE")
    ),
]
RoutingKey = Annotated[str | None, _option(_RABBITMQ, None, "Of every message." + _variable("RABBITMQ_ROUTING_KEY"))]
RoutingKeyField = Annotated[
    str | None, _option(_RABBITMQ, "FIELD", "The field whose value is a message's routing key.")
]

MaxRecords = Annotated[int | None, _option(_POLICY, "N", "The most records in a request.")]
MaxBytes = Annotated[int | None, _option(_POLICY, "N", "The most bytes in a request.")]
Concurrency = Annotated[
    str | None, _option(_POLICY, "N|MIN-MAX", "Requests in flight at once; 2-64 finds its own level.")
]
Linger = Annotated[float | None, _option(_POLICY, "SECONDS", "The longest a record waits for company.")]
RateRecords = Annotated[float | None, _option(_POLICY, "N", "The most records a second.")]
RateRequests = Annotated[float | None, _option(_POLICY, "N", "The most requests a second.")]
RateUnits = Annotated[float | None, _option(_POLICY, "N", "dynamodb: the most write units a second.")]
MaxAttempts = Annotated[int | None, _option(_POLICY, "N", "Requests that may carry one record.")]
AttemptTimeout = Annotated[float | None, _option(_POLICY, "SECONDS", "The longest one request may take.")]
DeliveryTimeout = Annotated[
    float | None, _option(_POLICY, "SECONDS", "From acceptance to the outcome, whatever happens.")
]
OnUnknown = Annotated[
    str | None, _option(_POLICY, "retry|fail", "A request without an answer: send again, or call its records dead.")
]

FLAGS: Final = {"region_name": "--region"}
"""How a setting is written on the command line, where it is not simply its name."""


def flag_of(setting: str) -> str:
    """Give the option that sets a setting."""
    return FLAGS.get(setting, "--" + setting.replace("_", "-"))
