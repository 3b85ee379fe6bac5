"""SNS: its actions over the topics they change. Pure; the clock is handed in, nothing here waits.

Before me: `_endpoint.py` read a request. After me: `_sns_rules.py` judges, `_sns_topic.py` stores, `_sqs.py` gets what
is published to a topic that a queue is subscribed to.
"""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING

from ._fields import text_map_of, text_of
from ._sns_errors import sns_error_reply
from ._sns_rules import Published, check_published, check_sizes, entries_of, read_published
from ._sns_topic import StoredPublish, Subscription, Topic, check_topic_attributes, envelope
from ._sqs_rules import Sent
from ._wire import AwsError, AwsRequest, Document, EntryError, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._sqs import Sqs

_TOPIC_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}|[A-Za-z0-9_-]{1,251}\.fifo", re.ASCII)
_ARN_PARTS = 6
_PREFIX = "arn:aws:sns:us-east-1:000000000000:"


class Sns:
    """The topics, and what tests and demos ask of them."""

    name = "sns"
    prefix = "AmazonSNS"

    def __init__(self, clock: Callable[[], float], sqs: Sqs, *, remembers: bool = True) -> None:
        self._clock = clock
        self._sqs = sqs
        self._remembers = remembers
        self._topics: dict[str, Topic] = {}
        self._serials = count(1)
        self._actions: dict[str, Callable[[AwsRequest, Mapping[str, EntryError]], Document]] = {
            "CreateTopic": self._create,
            "DeleteTopic": self._delete,
            "GetTopicAttributes": self._get_attributes,
            "SetTopicAttributes": self._set_attributes,
            "Subscribe": self._subscribe,
            "Publish": self._publish,
            "PublishBatch": self._publish_batch,
        }

    # What tests ask.

    def create_topic(self, name: str, **attributes: str) -> str:
        """Create a topic without a request; returns its ARN.

        Raises:
            AwsError: as CreateTopic would.
        """
        if name.endswith(".fifo"):
            attributes.setdefault("FifoTopic", "true")
        if not _TOPIC_NAME.fullmatch(name) or (attributes.get("FifoTopic") == "true") != name.endswith(".fifo"):
            raise AwsError("InvalidParameter", "Invalid parameter: Topic Name")
        check_topic_attributes(attributes)
        arn = _PREFIX + name
        known = self._topics.get(arn)
        if known is not None and not attributes.items() <= known.attributes().items():
            reason = "Topic already exists with different attributes"
            raise AwsError("InvalidParameter", f"Invalid parameter: Attributes Reason: {reason}")
        self._topics.setdefault(arn, Topic(arn, dict(attributes)))
        return arn

    def set_attributes(self, topic_arn: str, **attributes: str) -> None:
        """Change a topic without a request.

        Raises:
            AwsError: as SetTopicAttributes would.
        """
        check_topic_attributes(attributes)
        self._topic_at(topic_arn).given.update(attributes)

    def subscribe(self, topic_arn: str, queue_url: str, *, is_raw: bool = False) -> str:
        """Hand what is published on to a queue of `aws.sqs`; returns the subscription's ARN.

        Raises:
            AwsError: if there is no such topic or queue.
        """
        return self._subscribe_queue(topic_arn, self._sqs.arn_of(queue_url), is_raw=is_raw)

    def messages(self, topic_arn: str) -> list[StoredPublish]:
        """Everything that was ever published to a topic, in that order.

        Raises:
            AwsError: if there is no such topic.
        """
        return list(self._topic_at(topic_arn).published)

    def count(self, topic_arn: str) -> int:
        """How many messages were ever published, also when the endpoint remembers nothing.

        Raises:
            AwsError: if there is no such topic.
        """
        return self._topic_at(topic_arn).published_count

    # What the endpoint asks.

    def perform(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        """Carry out one request and note in it what was applied; entries in `refused` fail without being applied.

        Raises:
            AwsError: if AWS would refuse the whole request.
        """
        action = self._actions.get(request.action)
        if action is None:
            raise AwsError("InvalidAction", f"The action {request.action} is not valid for this endpoint.")
        return action(request, refused)

    def error_reply(self, error: AwsError) -> Reply:
        """The answer that says the error in SNS's way."""
        return sns_error_reply(error)

    def _topic_at(self, arn: str | None) -> Topic:
        parts = (arn or "").split(":")
        if len(parts) < _ARN_PARTS:
            reason = f"An ARN must have at least {_ARN_PARTS} elements, not {len(parts)}"
            raise AwsError("InvalidParameter", f"Invalid parameter: TopicArn Reason: {reason}")
        topic = self._topics.get(arn or "")
        if topic is None:
            raise AwsError("NotFound")
        return topic

    def _topic_of(self, request: AwsRequest) -> Topic:
        return self._topic_at(text_of(request.document, "TopicArn"))

    def _publish_batch(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        topic = self._topic_of(request)
        batch = [read_published(entry) for entry in entries_of(request)]
        for published in batch:
            check_published(published, is_fifo=topic.is_fifo, is_content_based=topic.is_content_based)
        check_sizes(batch, topic.max_bytes, is_batch=True)
        successful: list[Document] = []
        failed: list[Document] = []
        for published in batch:
            error = refused.get(published.id)
            if error is None:
                successful.append({"Id": published.id, **self._accept(published, topic, request, published.id)})
            else:
                told = {"Code": error.code, "Message": error.message, "SenderFault": error.sender_fault}
                failed.append({"Id": published.id, **told})
        return {"Successful": successful, "Failed": failed}

    def _publish(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        topic = self._topic_of(request)
        published = read_published(request.document)
        check_published(published, is_fifo=topic.is_fifo, is_content_based=topic.is_content_based)
        check_sizes([published], topic.max_bytes, is_batch=False)
        return self._accept(published, topic, request, "")

    def _accept(self, published: Published, topic: Topic, request: AwsRequest, entry_id: str) -> Document:
        serial = next(self._serials)
        stored, is_new = topic.accept(published, self._clock(), request.number, serial, remembers=self._remembers)
        entry_id = entry_id or stored.message_id
        request.applied[entry_id] = stored.message_id
        if is_new:
            self._deliver(stored, topic, request.number)
        else:
            request.deduplicated.append(entry_id)
        result: Document = {"MessageId": stored.message_id}
        if stored.sequence_number:
            result["SequenceNumber"] = stored.sequence_number
        return result

    def _deliver(self, stored: StoredPublish, topic: Topic, request_number: int) -> None:
        for subscription in topic.subscriptions:
            sent = Sent(
                id="",
                body=stored.text_for("sqs") if subscription.is_raw else envelope(stored, topic.arn),
                attributes=stored.attributes if subscription.is_raw else {},
                system_attributes={},
                group_id=stored.group_id,
                deduplication_id=stored.deduplication_id,
                delay=None,
                size=0,
            )
            self._sqs.deliver(subscription.queue_arn, sent, request_number)

    def _subscribe(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        if text_of(request.document, "Protocol") != "sqs":
            raise AwsError("InvalidParameter", "Invalid parameter: Protocol Reason: only sqs is known here")
        attributes = text_map_of(request.document, "Attributes")
        queue_arn = text_of(request.document, "Endpoint") or ""
        is_raw = attributes.get("RawMessageDelivery") == "true"
        arn = self._subscribe_queue(text_of(request.document, "TopicArn"), queue_arn, is_raw=is_raw)
        return {"SubscriptionArn": arn}

    def _subscribe_queue(self, topic_arn: str | None, queue_arn: str, *, is_raw: bool) -> str:
        topic = self._topic_at(topic_arn)
        known = next((each for each in topic.subscriptions if each.queue_arn == queue_arn), None)
        if known is not None:
            return known.arn
        arn = f"{topic.arn}:{len(topic.subscriptions) + 1}"
        topic.subscriptions.append(Subscription(arn, queue_arn, is_raw))
        return arn

    def _create(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        attributes = text_map_of(request.document, "Attributes")
        name = text_of(request.document, "Name") or ""
        if name.endswith(".fifo") and attributes.get("FifoTopic") != "true":
            reason = "Fifo Topic names must end with .fifo and must be made with the FifoTopic attribute"
            raise AwsError("InvalidParameter", f"Invalid parameter: {reason}")
        return {"TopicArn": self.create_topic(name, **attributes)}

    def _delete(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        # Deleting what is not there is no error.
        self._topics.pop(text_of(request.document, "TopicArn") or "", None)
        return {}

    def _get_attributes(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        return {"Attributes": self._topic_of(request).attributes()}

    def _set_attributes(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        name = text_of(request.document, "AttributeName") or ""
        self.set_attributes(
            text_of(request.document, "TopicArn") or "", **{name: text_of(request.document, "AttributeValue") or ""}
        )
        return {}
