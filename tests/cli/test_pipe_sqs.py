from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sinkwell.sinks.testing import AwsEndpoint, FailEntries, Refuse, Throttle

if TYPE_CHECKING:
    from tests.cli.conftest import Command

Queue = tuple[str, ...]
SEND = "SendMessageBatch"


def bodies(aws: AwsEndpoint, queue: Queue) -> list[str]:
    return [message.body for message in aws.sqs.messages(queue[3])]


async def test_a_json_line_is_a_messages_body_as_it_stands(command: Command, aws: AwsEndpoint, queue: Queue) -> None:
    lines = ['{"b": 1.0,  "a": "é"}', '"text"', "7"]
    ended = await command.run("pipe", "-", *queue, stdin="\n".join(lines))
    assert ended.code == 0, ended.errors
    assert sorted(bodies(aws, queue)) == sorted(lines)


async def test_a_csv_row_is_a_json_object_of_its_cells(command: Command, aws: AwsEndpoint, queue: Queue) -> None:
    command.write("t.csv", "id,note\n1,NA\n2,é\n")
    ended = await command.run("pipe", "t.csv", *queue, "--null", "NA")
    assert ended.code == 0, ended.errors
    assert sorted(bodies(aws, queue)) == ['{"id":"1","note":null}', '{"id":"2","note":"é"}']


async def test_all_arrive_though_sqs_throttles_and_fails_messages(
    command: Command, aws: AwsEndpoint, queue: Queue
) -> None:
    aws.plan.always(SEND, Throttle(), probability=0.1, seed=1)
    aws.plan.always(SEND, FailEntries(0.1), seed=2)
    lines = [json.dumps({"id": number}) for number in range(500)]
    ended = await command.run("pipe", "-", *queue, stdin="\n".join(lines))
    assert ended.code == 0, ended.errors
    assert sorted(bodies(aws, queue)) == sorted(lines)
    assert int(ended.figure("requests")) == len(aws.requests(SEND))
    assert int(ended.figure("throttles")) > 0
    assert int(ended.figure("retries")) > 0


async def test_what_sqs_refuses_is_a_dead_letter_with_its_line(
    command: Command, aws: AwsEndpoint, queue: Queue
) -> None:
    refuses_seven = FailEntries(
        code="InvalidMessageContents", sender_fault=True, only=lambda e: e["MessageBody"] == "7"
    )
    aws.plan.always(SEND, refuses_seven)
    ended = await command.run("pipe", "-", *queue, "--dead-letters", "dead.ndjson", stdin="5\n{\n6\n7\n8\n")
    unreadable, refused = command.letters()
    assert (unreadable["line"], unreadable["reason"], unreadable["record"]) == (2, "unreadable", "{")
    assert (refused["line"], refused["reason"], refused["record"], refused["attempts"]) == (4, "rejected", 7, 1)
    assert "InvalidMessageContents" in refused["error"]
    assert sorted(bodies(aws, queue)) == ["5", "6", "8"]
    assert (ended.code, ended.figure("dead"), ended.figure("rejected")) == (1, "2", "1")


async def test_a_fifo_queue_gets_its_groups_and_ids_from_the_records(command: Command, aws: AwsEndpoint) -> None:
    url = aws.sqs.create_queue("orders.fifo")
    options = ("--sink", "sqs", "--queue-url", url, "--endpoint-url", aws.url)
    fields = ("--group-id-field", "user", "--deduplication-id-field", "id")
    lines = ['{"user": "a", "id": 1}', '{"user": "b", "id": 2}', '{"user": "a", "id": 3}', '{"id": 4}']
    ended = await command.run("pipe", "-", *options, *fields, stdin="\n".join(lines))
    found = [(message.group_id, message.body) for message in aws.sqs.messages(url)]
    assert [body for group, body in found if group == "a"] == [lines[0], lines[2]]
    assert [body for group, body in found if group == "b"] == [lines[1]]
    assert "line 4: invalid: its field 'user' must be text or a whole number" in ended.errors


async def test_the_environment_counts_before_the_env_file_and_options_before_both(
    command: Command, aws: AwsEndpoint
) -> None:
    names = ("by_file", "by_environment", "by_option")
    file, environment, option = (aws.sqs.create_queue(name) for name in names)
    command.write(".env", f"SINKWELL_SQS_ENDPOINT_URL={aws.url}\nSINKWELL_SQS_QUEUE_URL={file}\n")
    await command.run("pipe", "-", "--sink", "sqs", stdin="1\n")
    command.env["SINKWELL_SQS_QUEUE_URL"] = environment
    await command.run("pipe", "-", "--sink", "sqs", stdin="2\n")
    await command.run("pipe", "-", "--sink", "sqs", "--queue-url", option, stdin="3\n")
    assert [[one.body for one in aws.sqs.messages(url)] for url in (file, environment, option)] == [["1"], ["2"], ["3"]]


async def test_policy_options_reach_the_sink(command: Command, aws: AwsEndpoint, queue: Queue) -> None:
    lines = "\n".join(map(str, range(40)))
    ended = await command.run("pipe", "-", *queue, "--max-records", "4", "--rate-records", "40", stdin=lines)
    assert ended.code == 0, ended.errors
    assert max(len(request.entries) for request in aws.requests(SEND)) <= 4
    assert float(ended.figure("seconds")) >= 0.8


async def test_records_that_run_out_of_attempts_are_dead_and_say_how_many(
    command: Command, aws: AwsEndpoint, queue: Queue
) -> None:
    aws.plan.always(SEND, Refuse("InternalFailure", status=500))
    await command.run("pipe", "-", *queue, "--max-attempts", "2", "--dead-letters", "dead.ndjson", stdin="1\n")
    (letter,) = command.letters()
    assert (letter["attempts"], letter["reason"] in ("expired", "unknown")) == (2, True)


async def test_fair_queues_take_their_tenant_from_a_field(command: Command, aws: AwsEndpoint, queue: Queue) -> None:
    command.env["SINKWELL_SQS_FAIR_QUEUES"] = "true"
    ended = await command.run("pipe", "-", *queue, "--group-id-field", "user", stdin='{"user": "a"}\n{"user": "b"}')
    assert ended.code == 0, ended.errors
    url = aws.requests(SEND)[0].document["QueueUrl"]
    assert sorted(str(message.group_id) for message in aws.sqs.messages(url)) == ["a", "b"]
