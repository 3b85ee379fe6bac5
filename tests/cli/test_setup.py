"""A wrong setup: one sentence that names what to do, exit code 2, and nothing sent."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from sinkwell.sinks.testing import AwsEndpoint
    from tests.cli.conftest import Command, Query

QUEUE = ("--sink", "sqs", "--queue-url", "https://sqs.eu-west-1.amazonaws.com/123456789012/orders")
TOPIC = "arn:aws:sns:eu-west-1:123456789012:events"
AMQP = ("--sink", "rabbitmq", "--routing-key", "q")
TABLE = ("--sink", "postgres", "--table", "cli.t")

WRONG = [
    (("none.csv", *QUEUE), "can't read none.csv: No such file or directory"),
    (("folder.csv", *QUEUE), "can't read folder.csv: Is a directory"),
    (("t.csv", "--sink", "rabbit"), "--sink rabbit is not known: it is one of sqs, sns, dynamodb, kafka, postgres"),
    (("t.csv", "--sink", "sns"), "--topic-arn (or SINKWELL_SNS_TOPIC_ARN) is not set"),
    (("t.csv", *QUEUE, "--topic-arn", "x"), "--topic-arn is for --sink sns, and not for sqs"),
    (("t.csv", "--sink", "sns", "--topic-arn", "x"), "--topic-arn must be the topic's ARN"),
    (("t.csv", "--sink", "sqs"), "--queue-url (or SINKWELL_SQS_QUEUE_URL) is not set"),
    (("t.csv", "--sink", "kafka", "--topic", "t"), "--bootstrap-servers (or SINKWELL_KAFKA_BOOTSTRAP_SERVERS) is not"),
    (
        ("t.csv", "--sink", "kafka", "--topic", "t", "--bootstrap-servers", "127.0.0.1:9"),
        "Connect call failed ('127.0.0.1', 9): check host and port, and that a broker runs there",
    ),
    (("t.csv", *TABLE), "--dsn (or SINKWELL_POSTGRES_DSN) is not set"),
    (("t.csv", *QUEUE, "--table", "t", "--dsn", "x"), "--dsn, --table is for --sink postgres, and not for sqs"),
    (("t.csv", "--sink", "sqs", "--queue-url", "x"), "--queue-url must be the queue's URL"),
    (
        ("t.csv", *QUEUE, "--max-records", "11"),
        "--max-records (11) is above what sqs:orders allows in one request (10)",
    ),
    (("t.csv", *QUEUE, "--linger", "500"), "--linger (500.0) must be shorter than --delivery-timeout (120.0)"),
    (
        ("t.csv", *QUEUE, "--attempt-timeout", "-1"),
        "make no policy: --attempt-timeout (-1.0) must be a number of seconds",
    ),
    (("t.csv", *QUEUE, "--concurrency", "lots"), "must be a number, as 8, or two, as 2-64"),
    (("t.csv", *QUEUE, "--env-file", "none"), "the settings file 'none' does not exist"),
    (("t.csv", *QUEUE, "--delimiter", ",,"), "--delimiter ',,' must be one character"),
    (("t.csv", *QUEUE, "--dead-letters", "no/dead"), "can't write dead letters to no/dead: No such file or directory"),
    (("t.csv", *QUEUE, "--dead-letters", "t.csv"), "t.csv is not empty"),
    (("t.dat", *QUEUE), "the name of t.dat does not tell its format"),
    (("twice.csv", *QUEUE), "the header in line 1 of twice.csv names a column twice (a)"),
    (("unnamed.csv", *QUEUE), "the header in line 1 of unnamed.csv leaves a column without a name"),
    (("broken.csv", *QUEUE), "the header in line 1 of broken.csv is no CSV"),
    (
        ("damaged.csv.gz", *QUEUE),
        "there is no record to begin with: damaged.csv.gz can't be read any further: Error -3",
    ),
    (("empty.csv", *TABLE, "--dsn", "postgresql://h/d"), "the CSV is empty: its first line must name the columns"),
    (("many.csv", *QUEUE, "--format", "ndjson"), "is --format right?"),
    (("t.csv", *TABLE, "--dsn", "mysql://u:sesame@h/d"), "dsn must begin with postgresql://"),
    (
        ("t.csv", *TABLE, "--dsn", "postgresql://u:sesame@127.0.0.1:9/d"),
        "Connect call failed ('127.0.0.1', 9): check host and port of the dsn, and that the server runs",
    ),
    (
        ("t.csv", *AMQP, "--url", "amqp://u:sesame@127.0.0.1:9/"),
        "Connect call failed ('127.0.0.1', 9): check host and port of the url, and that the broker runs",
    ),
    (("t.csv", *AMQP, "--url", "http://u:sesame@h/"), "--url must be a URI like amqps://user:password@host:5671/vhost"),
    (("t.csv", *AMQP, "--topic", "t"), "--topic is for --sink kafka, and not for rabbitmq"),
    (("t.csv", "--sink", "rabbitmq", "--url", "amqp://u:sesame@h/"), "give --routing-key or --routing-key-field"),
    (
        ("t.csv", "--sink", "sns", "--topic-arn", TOPIC, "--endpoint-url", "http://127.0.0.1:9"),
        "check --endpoint-url, --region and network",
    ),
]


@pytest.mark.parametrize(("arguments", "sentence"), WRONG, ids=[sentence for _, sentence in WRONG])
async def test_a_wrong_setup_is_told_in_one_sentence(
    command: Command, arguments: tuple[str, ...], sentence: str
) -> None:
    for name, text in {"t.csv": "a\n1\n", "t.dat": "1", "twice.csv": "a,a\n1,2\n", "unnamed.csv": "a,\n1,2\n"}.items():
        command.write(name, text)
    command.write("broken.csv", '"a"b,c\n1,2\n')
    command.write("damaged.csv.gz", b"\x1f\x8bcanary")
    command.write("empty.csv", "")
    command.write("many.csv", "a,b\n" * 30_000)
    (command.folder / "folder.csv").mkdir()
    ended = await command.run("pipe", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert sentence in ended.errors
    assert len(ended.errors.splitlines()) == 1
    assert "sesame" not in ended.errors
    assert "canary" not in ended.errors


async def test_a_misspelt_variable_is_refused_with_the_nearest_right_name(command: Command) -> None:
    command.env["SINKWELL_SQS_QEUE_URL"] = "x"
    ended = await command.run("pipe", "-", "--sink", "sqs")
    assert "SINKWELL_SQS_QEUE_URL is not a setting: did you mean SINKWELL_SQS_QUEUE_URL?" in ended.errors
    assert ended.code == 2


async def test_a_missing_table_or_column_is_named(command: Command, query: Query) -> None:
    await query("CREATE TABLE t (id int4)")
    command.write("t.csv", "id,colour\n1,red\n")
    no_table = await command.run("pipe", "t.csv", "--sink", "postgres", "--table", "cli.x")
    no_column = await command.run("pipe", "t.csv", *TABLE)
    not_in_file = await command.run("pipe", "t.csv", *TABLE, "--columns", "id,size")
    assert (no_table.code, no_column.code, not_in_file.code) == (2, 2, 2)
    assert 'table "cli"."x" does not exist' in no_table.errors
    assert "has no column 'colour'" in no_column.errors
    assert "the CSV's header has no column 'size'" in not_in_file.errors


async def test_a_queue_that_is_not_there_is_named(command: Command, aws: AwsEndpoint) -> None:
    url = f"{aws.url}/000000000000/none"
    ended = await command.run("pipe", "-", "--sink", "sqs", "--queue-url", url, "--endpoint-url", aws.url, stdin="1\n")
    assert ended.code == 2
    assert "SQS queue 'none'" in ended.errors


def test_without_its_extra_the_command_says_what_to_install() -> None:
    code = "import sys; sys.modules['typer'] = None; import sinkwell.cli.main"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ('The sinkwell command needs typer: run  pip install "sinkwell[cli]"\n', 1)


def test_a_sink_whose_client_is_missing_says_what_to_install() -> None:
    code = "import sys; sys.modules['asyncpg'] = None; from sinkwell.cli.main import app; app()"
    words = [sys.executable, "-c", code, "pipe", "-", *TABLE, "--dsn", "postgresql://h/d", "--columns", "a"]
    done = subprocess.run(words, input='{"a": 1}', capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "sinkwell[postgres]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_its_extra_a_parquet_file_is_told_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['pyarrow'] = None; from sinkwell.cli.main import app; app()"
    words = [sys.executable, "-c", code, "pipe", "t.parquet", *TABLE, "--dsn", "postgresql://h/d"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == 'sinkwell: reading Parquet and Arrow needs pyarrow: run  pip install "sinkwell[parquet]"\n'
