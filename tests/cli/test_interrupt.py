"""Ctrl-C: a real signal to the real command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

from sinkwell.sinks.testing import AwsEndpoint, Hang, Throttle
from tests.cli.conftest import ended

if TYPE_CHECKING:
    from sinkwell.sinks.testing import AwsRequest
    from tests.cli.conftest import Command

SEND = "SendMessageBatch"
Queue = tuple[str, ...]
DEAD = ("--dead-letters", "dead.ndjson")


def lines(count: int, first: int = 1) -> bytes:
    return b"".join(b"%d\n" % number for number in range(first, first + count))


async def test_what_is_on_its_way_arrives_and_a_pipe_loses_nothing(
    command: Command, aws: AwsEndpoint, queue: Queue
) -> None:
    process = await command.start("pipe", "-", *queue, *DEAD)
    assert process.stdin is not None
    process.stdin.write(lines(25))
    await process.stdin.drain()
    await aws.arrival(SEND, 3)
    process.send_signal(signal.SIGINT)
    told = await ended(process)
    there = {int(message.body) for message in aws.sqs.messages(queue[3])}
    dead = {letter["record"] for letter in command.letters()}
    assert there | dead == set(range(1, 26))
    assert not there & dead
    assert {letter["reason"] for letter in command.letters()} <= {"abandoned", "interrupted"}
    assert told.code == 130
    assert "Interrupted." in told.out


async def test_what_was_taken_from_a_pipe_and_not_put_is_dead_and_not_lost(
    command: Command, aws: AwsEndpoint, queue: Queue
) -> None:
    """The room is 20 records, so that nearly all that was read has not been put: in hand, in blocks, in a half line."""
    aws.plan.always(SEND, Throttle())
    command.env["SINKWELL_SQS_MAX_PENDING_RECORDS"] = "20"
    content = b"".join(b'{"id": %d}\n' % number for number in range(50_000))
    reading, writing = os.pipe()
    process = await command.start("pipe", "-", *queue, *DEAD, "--grace", "0", stdin=reading)
    written = asyncio.get_running_loop().run_in_executor(None, write_all, writing, content)
    await aws.arrival(SEND, 3)
    process.send_signal(signal.SIGINT)
    await process.wait()
    rest = await asyncio.to_thread(read_all, reading)
    await written
    letters = sorted(command.letters(), key=lambda letter: letter["line"])
    lines = (letter["record"] for letter in letters)
    taken = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    assert content.removesuffix(rest).decode().rstrip("\n") == taken
    assert {letter["reason"] for letter in letters} == {"abandoned", "interrupted"}
    assert len(letters) > 2_000


def write_all(writing: int, content: bytes) -> None:
    with os.fdopen(writing, "wb") as file:
        file.write(content)


def read_all(reading: int) -> bytes:
    with os.fdopen(reading, "rb") as file:
        return file.read()


async def test_records_that_sqs_did_not_take_in_time_are_dead_letters_and_only_those_on_the_wire_are_unknown(
    command: Command, aws: AwsEndpoint, queue: Queue
) -> None:
    """One request at a time: that the tenth is there says that the command has read nine refusals, each final for now.

    With retries in the grace it was chance whether a request was on the wire when the grace was over.
    """
    aws.plan.next(SEND, *[Throttle()] * 9, Hang())
    command.write("t.ndjson", lines(100))
    command.env["SINKWELL_SQS_BACKOFF_BASE"] = command.env["SINKWELL_SQS_BACKOFF_CAP"] = "60"
    process = await command.start("pipe", "t.ndjson", *queue, *DEAD, "--grace", "0.5", "--concurrency", "1")
    await aws.arrival(SEND, 10)
    process.send_signal(signal.SIGINT)
    told = await ended(process)
    refused, hung = aws.requests(SEND)[:9], aws.requests(SEND)[9]
    assert [request.ending for request in refused] == ["answered"] * 9
    assert by_outcome(command) == {"not_written": bodies(*refused), "unknown": bodies(hung)}
    assert {(letter["reason"], letter["attempts"]) for letter in command.letters()} == {("abandoned", 1)}
    assert [letter["line"] for letter in command.letters()] == list(range(1, 101))
    assert (told.code, told.figure("dead"), told.figure("abandoned")) == (130, "100", "100")
    assert not aws.sqs.messages(queue[3])


def bodies(*requests: AwsRequest) -> list[int]:
    return sorted(int(entry["MessageBody"]) for request in requests for entry in request.entries)


def by_outcome(command: Command) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for letter in command.letters():
        found.setdefault(letter["outcome"], []).append(letter["record"])
    return {outcome: sorted(records) for outcome, records in found.items()}


async def test_a_request_without_an_answer_is_told_as_unknown(command: Command, aws: AwsEndpoint, queue: Queue) -> None:
    aws.plan.always(SEND, Hang(applied=True))
    process = await command.start("pipe", "-", *queue, *DEAD, "--grace", "60")
    assert process.stdin is not None
    process.stdin.write(b"1\n")
    await aws.arrival(SEND, 1)
    process.send_signal(signal.SIGINT)
    await asyncio.sleep(0.3)
    process.send_signal(signal.SIGINT)
    told = await ended(process)
    (letter,) = command.letters()
    assert (letter["outcome"], letter["record"]) == ("unknown", 1)
    assert told.code == 130


async def test_a_file_can_be_gone_on_with_after_the_last_line_that_was_read(
    command: Command, aws: AwsEndpoint, queue: Queue
) -> None:
    command.write("t.ndjson", lines(30_000))
    process = await command.start("pipe", "t.ndjson", *queue, *DEAD, "--rate-requests", "50", "--grace", "1")
    await aws.arrival(SEND, 20)
    process.send_signal(signal.SIGTERM)
    told = await ended(process)
    there = {int(message.body) for message in aws.sqs.messages(queue[3])}
    dead = {letter["record"] for letter in command.letters()}
    words = " ".join(told.out.split())
    last = int(words.partition("The last line that was read is ")[2].partition(". ")[0].replace(",", ""))
    assert there | dead == set(range(1, last + 1))
    assert last < 30_000
    assert told.code == 143


async def test_waiting_for_a_first_line_can_be_interrupted(command: Command, aws: AwsEndpoint, queue: Queue) -> None:
    process = await command.start("pipe", "-", *queue, "--format", "csv")
    # Its second thread reads the input.
    while len(os.listdir(f"/proc/{process.pid}/task")) < 2:  # noqa: ASYNC110, PTH208 - nothing tells but the kernel
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = await ended(process)
    assert (told.code, told.errors) == (130, "")
    assert "Interrupted before anything was sent." in told.out


async def test_a_dead_letter_file_that_fails_stops_the_run_and_is_told(
    command: Command, aws: AwsEndpoint, queue: Queue
) -> None:
    text = json.dumps("x" * 100)[:-1]
    told = await command.run("pipe", "-", *queue, "--dead-letters", "/dev/full", stdin=f"{text}\n" * 5_000 + "1\n")
    assert told.code == 1
    assert "can't write to /dev/full: No space left on device" in " ".join(told.out.split())
    assert "line 1: unreadable" in told.errors
