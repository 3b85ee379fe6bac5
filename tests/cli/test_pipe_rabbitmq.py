from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiormq
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.cli.conftest import Command
    from tests.servers import RabbitMQServer


@pytest.fixture
async def channel(rabbitmq_server: RabbitMQServer, command: Command) -> AsyncIterator[Any]:
    """The broker's other side; the command has its address in the environment."""
    command.env["SINKWELL_RABBITMQ_URL"] = rabbitmq_server.url
    async with aiormq.connect(rabbitmq_server.url) as connection:
        channel = await connection.channel()
        for queue in ("cli.one", "cli.two"):
            await channel.queue_declare(queue, durable=True)
        yield channel
        for queue in ("cli.one", "cli.two"):
            await channel.queue_delete(queue)


async def bodies(channel: Any, queue: str) -> list[str]:
    found: list[str] = []
    while (message := await channel.basic_get(queue, no_ack=True)).delivery.name == "Basic.GetOk":
        found.append(message.body.decode())
    return found


async def test_a_json_line_is_a_messages_body_as_it_stands(command: Command, channel: Any) -> None:
    lines = ['{"b": 1.0,  "a": "é"}', '"text"', "7"]
    ended = await command.run("pipe", "-", "--sink", "rabbitmq", "--routing-key", "cli.one", stdin="\n".join(lines))
    assert ended.code == 0, ended.errors
    assert sorted(await bodies(channel, "cli.one")) == sorted(lines)


async def test_a_field_says_which_queue_a_row_goes_to_and_an_unroutable_one_is_a_dead_letter(
    command: Command, channel: Any
) -> None:
    command.write("t.csv", "id,queue\n1,cli.one\n2,cli.two\n3,nowhere\n4,cli.one\n")
    options = ("--sink", "rabbitmq", "--routing-key-field", "queue", "--dead-letters", "dead.ndjson")
    ended = await command.run("pipe", "t.csv", *options)
    assert ended.code == 1
    assert sorted(await bodies(channel, "cli.one")) == ['{"id":"1","queue":"cli.one"}', '{"id":"4","queue":"cli.one"}']
    assert await bodies(channel, "cli.two") == ['{"id":"2","queue":"cli.two"}']
    (letter,) = command.letters()
    assert (letter["line"], letter["reason"]) == (4, "rejected")
    assert "NO_ROUTE" in letter["error"]


async def test_a_wrong_setup_is_told_before_anything_is_sent(command: Command, channel: Any) -> None:
    ended = await command.run("pipe", "-", "--sink", "rabbitmq", stdin="1\n")
    assert ended.code == 2
    assert "--routing-key" in ended.errors
    ended = await command.run("pipe", "-", "--sink", "rabbitmq", "--exchange", "missing", stdin="1\n")
    assert ended.code == 2
    assert "no exchange 'missing'" in ended.errors
