from __future__ import annotations

from typing import TYPE_CHECKING

from sinkwell.sinks.testing import AwsEndpoint, FailEntries, Throttle

if TYPE_CHECKING:
    from tests.cli.conftest import Command


def texts(aws: AwsEndpoint, topic_arn: str) -> list[str]:
    return [message.message for message in aws.sns.messages(topic_arn)]


async def test_lines_are_published_though_sns_throttles_and_fails_messages(command: Command, aws: AwsEndpoint) -> None:
    topic_arn = aws.sns.create_topic("events")
    aws.plan.always("PublishBatch", Throttle("Throttled"), probability=0.1, seed=1)
    aws.plan.always("PublishBatch", FailEntries(0.1), seed=2)
    lines = [f'{{"id": {number},  "a": "é"}}' for number in range(200)]
    options = ("--sink", "sns", "--topic-arn", topic_arn, "--endpoint-url", aws.url)
    ended = await command.run("pipe", "-", *options, stdin="\n".join(lines))
    assert ended.code == 0, ended.errors
    assert sorted(texts(aws, topic_arn)) == sorted(lines)


async def test_a_fifo_topic_gets_its_groups_from_the_records(command: Command, aws: AwsEndpoint) -> None:
    topic_arn = aws.sns.create_topic("events.fifo")
    command.write("t.csv", "user,id\na,1\nb,2\na,3\n")
    command.write(".env", f"SINKWELL_SNS_ENDPOINT_URL={aws.url}\nSINKWELL_SNS_TOPIC_ARN={topic_arn}\n")
    ended = await command.run("pipe", "t.csv", "--sink", "sns", "--group-id-field", "user")
    assert ended.code == 0, ended.errors
    found = [(message.group_id, message.message) for message in aws.sns.messages(topic_arn)]
    assert [text for group, text in found if group == "a"] == ['{"user":"a","id":"1"}', '{"user":"a","id":"3"}']


async def test_a_fifo_topic_without_groups_is_told_before_anything_is_sent(command: Command, aws: AwsEndpoint) -> None:
    topic_arn = aws.sns.create_topic("events.fifo")
    options = ("--sink", "sns", "--topic-arn", topic_arn, "--endpoint-url", aws.url)
    ended = await command.run("pipe", "-", *options, stdin="1\n")
    assert ended.code == 2
    assert "--group-id-field" in ended.errors
    assert aws.log == []
