from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

if TYPE_CHECKING:
    from tests.cli.conftest import Command
    from tests.servers import KafkaServer


@pytest.fixture
def topic(kafka_server: KafkaServer, command: Command) -> str:
    name = f"cli-{secrets.token_hex(4)}"
    admin = AdminClient({"bootstrap.servers": kafka_server.bootstrap_servers})
    admin.create_topics([NewTopic(name, 1)])[name].result(10)
    command.env["SINKWELL_KAFKA_BOOTSTRAP_SERVERS"] = kafka_server.bootstrap_servers
    return name


def held(server: KafkaServer, topic: str, count: int) -> list[tuple[bytes | None, bytes]]:
    consumer = Consumer({"bootstrap.servers": server.bootstrap_servers, "group.id": "cli"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = consumer.consume(count, timeout=10)
    consumer.close()
    return [(message.key(), message.value()) for message in messages]


async def test_a_json_line_is_a_records_value_as_it_stands(
    command: Command, kafka_server: KafkaServer, topic: str
) -> None:
    lines = ['{"b": 1.0,  "a": "é"}', '"text"', "7"]
    ended = await command.run("pipe", "-", "--sink", "kafka", "--topic", topic, stdin="\n".join(lines))
    assert ended.code == 0, ended.errors
    assert held(kafka_server, topic, 3) == [(None, line.encode()) for line in lines]


async def test_a_csv_rows_field_is_the_key_and_a_line_without_it_is_a_dead_letter(
    command: Command, kafka_server: KafkaServer, topic: str
) -> None:
    command.write("t.csv", "id,note\n1,NA\n,é\n2,x\n")
    arguments = ("--sink", "kafka", "--topic", topic, "--key-field", "id", "--null", "NA")
    ended = await command.run("pipe", "t.csv", *arguments, "--dead-letters", "dead.ndjson")
    assert ended.code == 1
    assert held(kafka_server, topic, 2) == [(b"1", b'{"id":"1","note":null}'), (b"2", b'{"id":"2","note":"x"}')]
    assert [letter["line"] for letter in command.letters()] == [3]


async def test_a_topic_that_is_not_there_is_a_wrong_setup(command: Command, topic: str) -> None:
    ended = await command.run("pipe", "-", "--sink", "kafka", "--topic", "nowhere", stdin="1")
    assert ended.code == 2
    assert "the topic nowhere can't be written to" in ended.errors
