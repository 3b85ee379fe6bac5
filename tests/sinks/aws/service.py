"""The three services, each described once: so that what all of them promise is written once, and held to each."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import aioboto3

from sinkwell.core import Backoff, Batch, Policy
from sinkwell.sinks._aws import AwsSettings
from sinkwell.sinks._dynamodb_destination import DynamoDBDestination
from sinkwell.sinks._dynamodb_table import KeyAttribute, Table
from sinkwell.sinks._json import json_text
from sinkwell.sinks._sns_destination import SnsDestination
from sinkwell.sinks._sqs_destination import SqsDestination
from sinkwell.sinks.dynamodb import DynamoDBSink
from sinkwell.sinks.sns import SnsMessage, SnsReceipt, SnsSink
from sinkwell.sinks.sqs import SqsMessage, SqsReceipt, SqsSink
from sinkwell.sinks.testing import QueueGone, Throttle, ThrottleWrites, TopicGone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinkwell.core import Encoded
    from sinkwell.sinks.testing import AwsEndpoint

KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
QUICK = Policy(attempt_timeout=0.5, delivery_timeout=8.0, backoff=Backoff(base=0.005, cap=0.02), concurrency=4)


class Service:
    """What the tests must know of a service."""

    name: str  # as in its module, its client and `aws.<name>`
    title: str  # as its errors say it
    place: str  # what it calls the place that it writes to
    sink: type[Any]
    destination: type[Any]
    writes: str  # the action that writes a batch
    reads: str  # the action that tells a place's attributes
    gone: Any  # the fault of a place that was deleted, its code and its status
    gone_code: str
    gone_status = 400
    denied_code: str
    throttling: Any  # the fault of a request that is throttled whole
    faraway: str  # a place called "orders" in AWS itself
    region: dict[str, str]  # what its sessions and sinks must be told of it: nothing if the place's name says it
    destination_options: dict[str, Any]

    def __repr__(self) -> str:
        """Return the name that a test's id shows."""
        return self.name

    def create(self, aws: AwsEndpoint, name: str = "orders", **attributes: str) -> str:
        """Make a place, and return what its sink is given to write to it."""
        made: str = getattr(getattr(aws, self.name), f"create_{self.place}")(name, **attributes)
        return made

    def texts(self, aws: AwsEndpoint, place: str) -> list[str]:
        """Return the text of each record that is there."""
        raise NotImplementedError

    def record(self, text: str) -> Any:
        """Return the plainest record that has this text."""
        return text

    def sent(self, entry: dict[str, Any]) -> str:
        """Return the text of a request's entry."""
        raise NotImplementedError

    def full_of(self, text: str) -> Any:
        """Return a record that has this text wherever one may stand."""
        raise NotImplementedError

    def make_destination(self, place: str, *, policy: Policy | None = None, **options: Any) -> Any:
        known = {"session": None, "endpoint_url": None, "region_name": "us-east-1", "transport": "direct"}
        settings = AwsSettings(**{name: options.pop(name, default) for name, default in known.items()})
        return self.destination(
            place, settings=settings, policy=policy or Policy(), **self.destination_options | options
        )

    async def open_unread(self, destination: Any) -> None:
        """Open a destination that takes its place's attributes for read."""
        raise NotImplementedError


class Messaging(Service):
    """A service of messages, whose places may be FIFO."""

    message: Any
    receipt: Any
    place_option: str  # the argument of a sink and of a message that names its place
    text_field: str  # of a request's entry
    text_attribute: str  # of a message, and of what the endpoint keeps of it
    destination_options = {"encode": json_text, "strict_order": True}  # noqa: RUF012 - never changed

    def texts(self, aws: AwsEndpoint, place: str) -> list[str]:
        return [self.text_of(stored) for stored in self.stored(aws, place)]

    def stored(self, aws: AwsEndpoint, place: str) -> list[Any]:
        messages: list[Any] = getattr(aws, self.name).messages(place)
        return messages

    def text_of(self, message: Any) -> str:
        text: str = getattr(message, self.text_attribute)
        return text

    def sent(self, entry: dict[str, Any]) -> str:
        text: str = entry[self.text_field]
        return text

    def message_to(self, place: str, text: str, **fields: Any) -> Any:
        """Return a message that names its place."""
        return self.message(text, **{self.place_option: place}, **fields)


class Sqs(Messaging):
    name, title, place = "sqs", "SQS", "queue"
    sink, destination, message, receipt = SqsSink, SqsDestination, SqsMessage, SqsReceipt
    place_option, text_field, text_attribute = "queue_url", "MessageBody", "body"
    writes, reads = "SendMessageBatch", "GetQueueAttributes"
    gone, gone_code, denied_code = QueueGone(), "NonExistentQueue", "AccessDenied"
    throttling = Throttle()
    faraway = "https://sqs.eu-west-1.amazonaws.com/1/orders"
    region = {"region_name": "us-east-1"}  # noqa: RUF012 - never changed

    def full_of(self, text: str) -> SqsMessage:
        return SqsMessage(text, {"k": text})

    async def open_unread(self, destination: Any) -> None:
        destination._queues[destination._queue.url] = destination._queue
        await destination.open()


class Sns(Messaging):
    name, title, place = "sns", "SNS", "topic"
    sink, destination, message, receipt = SnsSink, SnsDestination, SnsMessage, SnsReceipt
    place_option, text_field, text_attribute = "topic_arn", "Message", "message"
    writes, reads = "PublishBatch", "GetTopicAttributes"
    gone, gone_code, gone_status, denied_code = TopicGone(), "NotFound", 404, "AuthorizationError"
    throttling = Throttle("Throttled")
    faraway = "arn:aws:sns:eu-west-1:123456789012:orders"
    region = {}  # noqa: RUF012 - an ARN tells it

    def full_of(self, text: str) -> SnsMessage:
        return SnsMessage(text, text, {"k": text})

    async def open_unread(self, destination: Any) -> None:
        destination._topics[destination._topic.arn] = destination._topic
        await destination.open()


class DynamoDB(Service):
    name, title, place = "dynamodb", "DynamoDB", "table"
    sink, destination = DynamoDBSink, DynamoDBDestination
    writes, reads = "BatchWriteItem", "DescribeTable"
    gone, gone_code, denied_code = QueueGone(), "ResourceNotFoundException", "AccessDeniedException"
    throttling = ThrottleWrites()
    faraway = "orders"
    region = {"region_name": "us-east-1"}  # noqa: RUF012 - never changed
    destination_options = {"table_names": (), "encode": None, "floats": "refuse"}  # noqa: RUF012 - never changed

    def create(self, aws: AwsEndpoint, name: str = "orders", **attributes: str) -> str:
        super().create(aws, name, **attributes)
        return name

    def texts(self, aws: AwsEndpoint, place: str) -> list[str]:
        return [next(iter(item["id"].values())) for item in aws.dynamodb.items(place)]

    def record(self, text: str) -> Any:
        return {"id": text}

    def sent(self, entry: dict[str, Any]) -> str:
        text: str = entry["PutRequest"]["Item"]["id"]["S"]
        return text

    def full_of(self, text: str) -> dict[str, str]:
        return {"id": text, "v": text}

    async def open_unread(self, destination: Any) -> None:
        names, destination._names = destination._names, ()
        await destination.open()
        destination._names = names
        destination._tables = {name: Table(name, (KeyAttribute("id", "S", 2048),)) for name in names}


SQS, SNS, DYNAMODB = Sqs(), Sns(), DynamoDB()
MESSAGING = [SQS, SNS]
EVERY = [SQS, SNS, DYNAMODB]


@cache
def session_of(service: Service) -> aioboto3.Session:
    """Return one session for all tests of a service: each reads megabytes of models."""
    return aioboto3.Session(**KEYS, **service.region)


def batch_of(destination: Any, records: Sequence[object]) -> Batch:
    return batch_of_encoded([destination.encode(record) for record in records])


def batch_of_encoded(encoded: Sequence[Encoded]) -> Batch:
    for entry in encoded:
        entry.attempts += 1
    return Batch(encoded[0].target, encoded, "full")
