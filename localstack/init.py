# ruff: noqa: INP001 - a script, mounted on its own into LocalStack
"""Creates the queues, topics and tables that Sinkwell's tests and examples use. Run it as often as you like.

Three ways lead here: LocalStack runs it when it is ready (docker-compose.yml mounts it under `ready.d`); the tests
call `create_messaging` and `create_tables`; and `python localstack/init.py` does both, for the addresses in
SINKWELL_MESSAGING_URL (SQS and SNS, by default LocalStack's) and SINKWELL_DYNAMODB_URL (by default DynamoDB Local's).
"""

import json
import os
from typing import Any

import boto3
from botocore.config import Config

REGION = "us-east-1"

QUEUE = "sinkwell-orders"
# Its sender chooses the deduplication ids.
FIFO_QUEUE = "sinkwell-orders.fifo"
SMALL_QUEUE = "sinkwell-small"
SMALL_QUEUE_BYTES = 1024

TOPIC = "sinkwell-events"
FIFO_TOPIC = "sinkwell-events.fifo"
# What a topic is sent can be read in the queue that is subscribed to it.
TOPIC_QUEUES = {TOPIC: "sinkwell-events-received", FIFO_TOPIC: "sinkwell-events-received.fifo"}

# Name -> its key attributes, all strings: the hash key, then the range key if it has one.
TABLES = {"sinkwell-users": ("user_id",), "sinkwell-events": ("device_id", "event_id")}


def client(service: str, endpoint_url: str) -> Any:
    """A boto3 client with the credentials that emulators take from anybody."""
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - no secret, see above
        config=Config(retries={"mode": "standard", "total_max_attempts": 8}),
    )


def create_messaging(endpoint_url: str) -> None:
    """The queues and topics, on anything that speaks SQS and SNS."""
    sqs, sns = client("sqs", endpoint_url), client("sns", endpoint_url)
    for name, attributes in (
        (QUEUE, {}),
        (FIFO_QUEUE, {"FifoQueue": "true", "ContentBasedDeduplication": "false"}),
        (SMALL_QUEUE, {"MaximumMessageSize": str(SMALL_QUEUE_BYTES)}),
    ):
        sqs.create_queue(QueueName=name, Attributes=attributes)
    for topic, queue in TOPIC_QUEUES.items():
        kind = {"FifoTopic": "true", "ContentBasedDeduplication": "false"} if topic.endswith(".fifo") else {}
        topic_arn = sns.create_topic(Name=topic, Attributes=kind)["TopicArn"]
        _subscribe(sqs, sns, topic_arn, queue)


def create_tables(endpoint_url: str) -> None:
    """The tables, on anything that speaks DynamoDB."""
    dynamodb = client("dynamodb", endpoint_url)
    for name, keys in TABLES.items():
        try:
            dynamodb.create_table(
                TableName=name,
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
                KeySchema=[
                    {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)
                ],
                BillingMode="PAY_PER_REQUEST",
            )
        except dynamodb.exceptions.ResourceInUseException:
            continue  # it is there
    for name in TABLES:
        dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def _subscribe(sqs: Any, sns: Any, topic_arn: str, queue: str) -> None:
    url = sqs.create_queue(QueueName=queue, Attributes={"FifoQueue": "true"} if queue.endswith(".fifo") else {})[
        "QueueUrl"
    ]
    queue_arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn, Attributes={"RawMessageDelivery": "true"})


def main() -> None:
    """Everything, where the environment says."""
    create_messaging(os.environ.get("SINKWELL_MESSAGING_URL", "http://127.0.0.1:4566"))
    create_tables(os.environ.get("SINKWELL_DYNAMODB_URL", "http://127.0.0.1:8000"))


# LocalStack runs its hooks through exec() with an empty namespace, where the name is that of the builtins.
if __name__ in {"__main__", "builtins"}:
    main()
