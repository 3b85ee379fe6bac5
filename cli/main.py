"""The `sinkwell` command: options in, an exit code out. What it does is in `_job.py` and what that names."""

import asyncio
import logging
import re
import sys
from importlib.metadata import version
from typing import Annotated

try:
    import typer
    from rich.console import Console
    from rich.text import Text
except ModuleNotFoundError as missing:
    sys.exit(f'The sinkwell command needs {missing.name}: run  pip install "sinkwell[cli]"')

from sinkwell.core import ConfigError

from . import _options as options
from ._job import Job
from ._summary import INTERRUPTED, SETUP_WRONG

app = typer.Typer(
    name="sinkwell", no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False
)

# Not a docstring: there each line's end would be one on the screen, however wide that is.
HELP = """Deliver every record of a file, or of another program's output, and account for each line.

NDJSON or CSV with a header, gzipped or not, and for PostgreSQL Parquet and Arrow, of any size: \
it is read no faster than it is delivered. \
A line that is no record, or a record that the provider refuses, becomes a dead letter and harms no other. \
The end is a table, and an exit code that can be relied on."""

EPILOG = """
[bold]Examples[/bold]

A CSV into the columns that its header names; what does not fit is put aside:

  sinkwell pipe flights.csv.gz --sink postgres --table flights \\
    --null NA --dead-letters dead.ndjson

A Parquet file of any size, by the columns of the same names:

  sinkwell pipe flights.parquet --sink postgres --table flights

JSON lines from another program into a queue, at most 500 a second:

  journalctl -f -o json | sinkwell pipe - --sink sqs \\
    --queue-url https://sqs.eu-west-1.amazonaws.com/123456789012/logs \\
    --rate-records 500

What was put aside, once it is mended:

  jq -c .record dead.ndjson | sinkwell pipe - --sink postgres --table flights

[bold]Settings[/bold]

An option counts before the environment, and that before .env. More can be set
there than has an option here, as SINKWELL_POSTGRES_BACKOFF_CAP: docs/pipe.md.

[bold]Exit codes[/bold]

0 all delivered   1 some were not   2 the setup is wrong, nothing was sent
130 interrupted by Ctrl-C   143 by SIGTERM
"""


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        typer.echo(f"sinkwell {version('sinkwell')}")
        raise typer.Exit


_VERSION = typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")


@app.callback()
def sinkwell(
    _version: Annotated[bool, _VERSION] = False,  # noqa: FBT002 - an option of the command
) -> None:
    """Put records one at a time; Sinkwell sends the largest, fewest and safest batches the provider allows."""


@app.command(help=HELP, epilog=EPILOG)
def pipe(  # noqa: PLR0917 - typer calls it by name
    file: options.File,
    sink: options.SinkName,
    format: options.FormatOption = None,  # noqa: A002 - the option's name
    delimiter: options.Delimiter = None,
    null: options.Null = None,
    dead_letters: options.DeadLetters = None,
    progress: options.ShowProgress = True,  # noqa: FBT002 - an option of the command
    grace: options.Grace = 10.0,
    env_file: options.EnvFile = None,
    queue_url: options.QueueUrl = None,
    topic_arn: options.TopicArn = None,
    endpoint_url: options.EndpointUrl = None,
    region_name: options.Region = None,
    group_id_field: options.GroupIdField = None,
    deduplication_id_field: options.DeduplicationIdField = None,
    table_name: options.TableName = None,
    bootstrap_servers: options.BootstrapServers = None,
    topic: options.Topic = None,
    key_field: options.KeyField = None,
    dsn: options.Dsn = None,
    table: options.Table = None,
    columns: options.Columns = None,
    url: options.Url = None,
    exchange: options.Exchange = None,
    routing_key: options.RoutingKey = None,
    routing_key_field: options.RoutingKeyField = None,
    max_records: options.MaxRecords = None,
    max_bytes: options.MaxBytes = None,
    concurrency: options.Concurrency = None,
    linger: options.Linger = None,
    rate_records: options.RateRecords = None,
    rate_requests: options.RateRequests = None,
    rate_units: options.RateUnits = None,
    max_attempts: options.MaxAttempts = None,
    attempt_timeout: options.AttemptTimeout = None,
    delivery_timeout: options.DeliveryTimeout = None,
    on_unknown: options.OnUnknown = None,
) -> None:
    """Deliver every record of a file, or of another program's output, and account for each line."""
    settings = {name: value for name, value in locals().items() if name in _SETTINGS and value is not None}
    job = Job(
        path=file,
        sink=sink,
        options=settings,
        format=None if format is None else format.value,
        delimiter=delimiter,
        nulls=tuple(null or ()),
        dead_letters=dead_letters,
        progress=progress,
        grace=grace,
        env_file=env_file,
    )
    raise typer.Exit(_run(job))


_SETTINGS = frozenset({
    *("queue_url", "topic_arn", "endpoint_url", "region_name", "group_id_field", "deduplication_id_field"),
    *("table_name", "dsn", "table", "columns", "bootstrap_servers", "topic", "key_field"),
    *("url", "exchange", "routing_key", "routing_key_field"),
    *("max_records", "max_bytes", "concurrency", "linger", "rate_records", "rate_requests", "rate_units"),
    *("max_attempts", "attempt_timeout", "delivery_timeout", "on_unknown"),
})  # fmt: skip


def _run(job: Job) -> int:
    errors = Console(stderr=True)
    # What they log of a failure, the sentence at the end or a dead letter tells.
    for client in ("aiormq", "aiokafka"):
        logging.getLogger(client).addHandler(logging.NullHandler())
    try:
        summary = asyncio.run(job.run(errors))
    except (ConfigError, ImportError) as error:
        # As Text, in which nothing is markup: a table called x would make an emoji of `postgres:x:`.
        errors.print(Text(f"sinkwell: {_in_options(str(error))}", style="red"), soft_wrap=not errors.is_terminal)
        return SETUP_WRONG
    except KeyboardInterrupt:  # before the run listens to it
        return INTERRUPTED
    summary.print(Console(), errors)
    return summary.exit_code


def _in_options(sentence: str) -> str:
    """Say it as one says it to somebody who types options, and not to a program that passes arguments."""
    if "did you mean" in sentence:
        return sentence
    sentence = _VARIABLE.sub(_with_option, sentence)
    sentence = _ARGUMENT.sub(lambda found: options.flag_of(found[1]), sentence)
    for words, better in _BETTER.items():
        sentence = sentence.replace(words, better)
    return re.sub(r"the variables (\S+) make no policy", r"the options, or the variables \1, make no policy", sentence)


def _with_option(variable: re.Match[str]) -> str:
    setting = variable[1].lower()
    return f"{options.flag_of(setting)} (or {variable[0]})" if setting in _SETTINGS else variable[0]


_VARIABLE = re.compile(r"SINKWELL_[A-Z]+_([A-Z_]+)")
_ARGUMENT = re.compile(rf"(?<![\w-])({'|'.join(sorted(_SETTINGS))})(?:=|(?= \(-?\d| must))")
_BETTER = {
    ", or pass session=": "",
    "check endpoint_url, region": "check --endpoint-url, --region",
    r"String should match pattern '^\d+(-\d+)?$'": "must be a number, as 8, or two, as 2-64",
}
