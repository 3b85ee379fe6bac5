"""What a person sees: help, progress, summary."""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import os
import pty
import re
import struct
import termios
from typing import TYPE_CHECKING

import pytest

from sinkwell.cli import main
from sinkwell.cli._options import flag_of
from sinkwell.sinks.testing import Throttle
from tests.cli.conftest import PROGRAM

if TYPE_CHECKING:
    from sinkwell.sinks.testing import AwsEndpoint
    from tests.cli.conftest import Command

SEND = "SendMessageBatch"
LINES = "\n".join(str(number) for number in range(1_000))


def pages(path: object) -> str:
    return re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", " ", str(path)))


async def test_help_names_every_option_and_shows_examples(command: Command) -> None:
    told = pages((await command.run("pipe", "--help")).out)
    parameters = set(inspect.signature(main.pipe).parameters) - {"file"}
    assert {flag_of(name) for name in parameters} <= set(re.findall(r"--[a-z-]+", told)) | {"--region"}
    assert "sinkwell pipe flights.csv.gz --sink postgres --table flights" in told
    assert "0 all delivered 1 some were not 2 the setup is wrong" in told
    assert "SINKWELL_SQS_QUEUE_URL" in told


async def test_every_option_of_the_command_reaches_the_job() -> None:
    parameters = set(inspect.signature(main.pipe).parameters)
    of_the_run = {
        *("file", "sink", "format", "delimiter", "null", "dead_letters", "progress", "grace", "env_file"),
    }
    assert parameters - of_the_run == main._SETTINGS


async def on_a_terminal(command: Command, *arguments: str, columns: int = 100) -> str:
    """What a terminal of that width is sent."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {**command.env, "TERM": "xterm-256color"}
    del env["COLUMNS"]
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, *arguments), cwd=command.folder, env=env, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    shown = asyncio.get_running_loop().run_in_executor(None, read_all, master)
    async with asyncio.timeout(60):
        assert await process.wait() == 0
        return (await shown).decode()


def read_all(master: int) -> bytes:
    shown = b""
    try:
        while block := os.read(master, 65_536):
            shown += block
    except OSError:  # what Linux answers when the last writer is gone
        pass
    os.close(master)
    return shown


@pytest.mark.parametrize("columns", [60, 100])
async def test_a_terminal_gets_a_bar_that_is_wiped_away_and_then_the_summary(
    command: Command, aws: AwsEndpoint, queue: tuple[str, ...], columns: int
) -> None:
    aws.plan.always(SEND, Throttle(), probability=0.2, seed=1)
    command.write("t.ndjson", LINES)
    shown = await on_a_terminal(command, "pipe", "t.ndjson", *queue, "--rate-requests", "80", columns=columns)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "t.ndjson → SQS queue orders" in plain
    assert "100% of 3,889 bytes read" in plain
    assert re.search(r"[1-9]\d* records +\d+/s +\d+ requests +[1-9]\d* retries +\d+ in flight +0 dead", pages(plain))
    assert shown.rstrip().count("\x1b[2K") > 3
    assert "All 1,000 records were delivered." in plain[plain.rindex("bytes read") :]


async def test_elsewhere_plain_lines_come_every_few_seconds(
    command: Command, aws: AwsEndpoint, queue: tuple[str, ...]
) -> None:
    command.write("t.ndjson", LINES)
    ended = await command.run("pipe", "t.ndjson", *queue, "--rate-requests", "18")
    (line,) = ended.errors.splitlines()
    assert re.fullmatch(
        r"t\.ndjson → SQS queue orders: \d+ records, [1-9]\d*/s, \d+ requests, 0 retries, \d in flight, 0 dead", line
    )
    assert "\x1b" not in ended.out + ended.errors


async def test_no_progress_is_shown_where_none_is_wanted(
    command: Command, aws: AwsEndpoint, queue: tuple[str, ...]
) -> None:
    command.write("t.ndjson", LINES)
    shown = await on_a_terminal(command, "pipe", "t.ndjson", *queue, "--no-progress")
    assert "in flight" not in shown
    assert "All 1,000 records were delivered." in shown


async def test_an_empty_input_is_no_failure(command: Command, queue: tuple[str, ...]) -> None:
    ended = await command.run("pipe", "-", *queue)
    assert ended.code == 0
    assert "There was no record in the input." in ended.out
