"""The options of `sinkwell pipe`: how each is written, what it says of itself, and which setting it gives."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

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


File = Annotated[str, typer.Argument(metavar="FILE", help="The file to read, gzipped or not; - for standard input.")]
SinkName = Annotated[
    str, typer.Option("--sink", metavar="sqs|sns|dynamodb|kafka|rabbitmq|postgres", help="Where the records go.")
]

FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="Default: by the name's suffix; ndjson for -.", rich_help_panel=_INPUT),
]
Delimiter = Annotated[
    str | None,
    typer.Option(help="Between a CSV's cells. Default: a comma, or a tab for .tsv.", rich_help_panel=_INPUT),
]
Null = Annotated[
    list[str] | None,
    typer.Option(
        "--null",
        metavar="TEXT",
        help="A CSV cell that means: no value, as NA. An empty one always does. May be repeated.",
        rich_help_panel=_INPUT,
    ),
]

DeadLetters = Annotated[
    Path | None,
    typer.Option(
        "--dead-letters",
        metavar="FILE",
        help="Write what was not delivered here, a JSON object a line.",
        rich_help_panel=_RUN,
    ),
]
ShowProgress = Annotated[
    bool,
    typer.Option(
        "--progress/--no-progress", help="A bar on a terminal, a line every 5 s elsewhere.", rich_help_panel=_RUN
    ),
]
Grace = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0.0, help="What is on its way has so long to arrive after Ctrl-C.", rich_help_panel=_RUN
    ),
]
EnvFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Settings, read after the environment. Default: .env, if it is there.",
        rich_help_panel=_RUN,
    ),
]

QueueUrl = Annotated[
    str | None,
    typer.Option(help="The queue." + _variable("SQS_QUEUE_URL"), rich_help_panel=_SQS, metavar="URL"),
]
EndpointUrl = Annotated[
    str | None,
    typer.Option(
        help="Another endpoint than AWS's own." + _variable("<SINK>_ENDPOINT_URL"), rich_help_panel=_AWS, metavar="URL"
    ),
]
Region = Annotated[
    str | None,
    typer.Option(
        "--region",
        help="Default: the one in the queue's URL or topic's ARN, then AWS's own settings."
        + _variable("<SINK>_REGION_NAME"),
        rich_help_panel=_AWS,
    ),
]
GroupIdField = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD", help="The field whose value is a message's group; FIFO needs one.", rich_help_panel=_FIFO
    ),
]
DeduplicationIdField = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="The field that tells a message from all others. Default: each line is a message of its own.",
        rich_help_panel=_FIFO,
    ),
]

TopicArn = Annotated[
    str | None,
    typer.Option(help="The topic, by ARN." + _variable("SNS_TOPIC_ARN"), rich_help_panel=_SNS, metavar="ARN"),
]

TableName = Annotated[
    str | None,
    typer.Option(
        help="The table, by name or ARN." + _variable("DYNAMODB_TABLE_NAME"), rich_help_panel=_DYNAMODB, metavar="NAME"
    ),
]

BootstrapServers = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT,…",
        help="Some of the brokers; they tell the others." + _variable("KAFKA_BOOTSTRAP_SERVERS"),
        rich_help_panel=_KAFKA,
    ),
]
Topic = Annotated[
    str | None,
    typer.Option(help="The topic. It must be there." + _variable("KAFKA_TOPIC"), rich_help_panel=_KAFKA),
]
KeyField = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD",
        help="The field whose value is a record's key. Default: records have none.",
        rich_help_panel=_KAFKA,
    ),
]

Dsn = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="postgresql://user:password@host/database; with a password, better in the environment or .env."
        + _variable("POSTGRES_DSN"),
        rich_help_panel=_POSTGRES,
    ),
]
Table = Annotated[
    str | None,
    typer.Option(help="As events or audit.events." + _variable("POSTGRES_TABLE"), rich_help_panel=_POSTGRES),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,…",
        help="The columns to write; the input's other ones are left out. Default: a CSV's header, the first "
        "record's keys." + _variable("POSTGRES_COLUMNS"),
        rich_help_panel=_POSTGRES,
    ),
]

Url = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="amqps://user:password@host/vhost; with a password, better in the environment or .env."
        + _variable("RABBITMQ_URL"),
        rich_help_panel=_RABBITMQ,
    ),
]
Exchange = Annotated[
    str | None,
    typer.Option(
        help="Default: the one where a routing key is a queue's name." + _variable("RABBITMQ_EXCHANGE"),
        rich_help_panel=_RABBITMQ,
    ),
]
RoutingKey = Annotated[
    str | None,
    typer.Option(help="Of every message." + _variable("RABBITMQ_ROUTING_KEY"), rich_help_panel=_RABBITMQ),
]
RoutingKeyField = Annotated[
    str | None,
    typer.Option(metavar="FIELD", help="The field whose value is a message's routing key.", rich_help_panel=_RABBITMQ),
]

MaxRecords = Annotated[
    int | None,
    typer.Option(help="The most records in a request.", rich_help_panel=_POLICY, metavar="N"),
]
MaxBytes = Annotated[
    int | None,
    typer.Option(help="The most bytes in a request.", rich_help_panel=_POLICY, metavar="N"),
]
Concurrency = Annotated[
    str | None,
    typer.Option(
        help="Requests in flight at once; 2-64 finds its own level.",
        rich_help_panel=_POLICY,
        metavar="N|MIN-MAX",
    ),
]
Linger = Annotated[
    float | None,
    typer.Option(help="The longest a record waits for company.", rich_help_panel=_POLICY, metavar="SECONDS"),
]
RateRecords = Annotated[
    float | None,
    typer.Option(help="The most records a second.", rich_help_panel=_POLICY, metavar="N"),
]
RateRequests = Annotated[
    float | None,
    typer.Option(help="The most requests a second.", rich_help_panel=_POLICY, metavar="N"),
]
RateUnits = Annotated[
    float | None,
    typer.Option(help="dynamodb: the most write units a second.", rich_help_panel=_POLICY, metavar="N"),
]
MaxAttempts = Annotated[
    int | None,
    typer.Option(help="Requests that may carry one record.", rich_help_panel=_POLICY, metavar="N"),
]
AttemptTimeout = Annotated[
    float | None,
    typer.Option(
        help="The longest one request may take.",
        rich_help_panel=_POLICY,
        metavar="SECONDS",
    ),
]
DeliveryTimeout = Annotated[
    float | None,
    typer.Option(
        help="From acceptance to the outcome, whatever happens.",
        rich_help_panel=_POLICY,
        metavar="SECONDS",
    ),
]
OnUnknown = Annotated[
    str | None,
    typer.Option(
        help="A request without an answer: send again, or call its records dead.",
        rich_help_panel=_POLICY,
        metavar="retry|fail",
    ),
]

FLAGS: Final = {"region_name": "--region"}
"""How a setting is written on the command line, where it is not simply its name."""


def flag_of(setting: str) -> str:
    """Give the option that sets a setting."""
    return FLAGS.get(setting, "--" + setting.replace("_", "-"))
