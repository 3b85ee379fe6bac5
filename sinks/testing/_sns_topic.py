"""One SNS topic: what was published, what counts as a duplicate, who is subscribed. Pure; the time is handed in."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._duplicates import Arrivals, duplicate_key
from ._sns_rules import DEFAULT_BYTES, MOST_BYTES, Published
from ._wire import AwsError, serial_uuid

if TYPE_CHECKING:
    from ._sqs_rules import Attribute
    from ._wire import Document

_FIRST_SEQUENCE_NUMBER = 10_000_000_000_000_000_000


@dataclass(slots=True, eq=False)
class StoredPublish:
    """A message that AWS really has.

    Attributes:
        message_id: as it was answered.
        message: the text.
        subject: the subject, if it has one.
        structure: `"json"` for a text for each protocol.
        attributes: name to data type and value (as bytes).
        group_id: of a FIFO topic, or for fair queues.
        deduplication_id: as sent, or the message's SHA-256 where the topic goes by content.
        sequence_number: empty on a standard topic.
        request_number: which request of the endpoint's log carried it.
        arrived_at: the event loop's time.
    """

    message_id: str
    message: str
    subject: str | None
    structure: str | None
    attributes: dict[str, Attribute]
    group_id: str | None
    deduplication_id: str | None
    sequence_number: str
    request_number: int
    arrived_at: float

    def text_for(self, protocol: str) -> str:
        """What a subscriber gets who speaks this protocol."""
        if self.structure != "json":
            return self.message
        texts: dict[str, object] = json.loads(self.message)
        own = texts.get(protocol)
        return own if isinstance(own, str) else str(texts["default"])


@dataclass(slots=True, frozen=True)
class Subscription:
    """A queue that gets what is published.

    Attributes:
        arn: its own name.
        queue_arn: the queue's.
        is_raw: whether the queue gets the bare message, and not JSON around it.
    """

    arn: str
    queue_arn: str
    is_raw: bool


@dataclass(slots=True, eq=False)
class Topic:
    """One topic."""

    arn: str
    given: dict[str, str]
    published: list[StoredPublish] = field(default_factory=list[StoredPublish])
    published_count: int = 0
    subscriptions: list[Subscription] = field(default_factory=list[Subscription])
    _seen: Arrivals[StoredPublish] = field(default_factory=Arrivals[StoredPublish])

    @property
    def is_fifo(self) -> bool:
        """Whether it is a FIFO topic."""
        return self.arn.endswith(".fifo")

    @property
    def is_content_based(self) -> bool:
        """Whether it deduplicates by the message where no id is given."""
        return self.given.get("ContentBasedDeduplication") == "true"

    @property
    def max_bytes(self) -> int:
        """The most bytes of a request's messages together."""
        return int(self.given.get("MaximumMessageSize", DEFAULT_BYTES))

    def attributes(self) -> dict[str, str]:
        """What GetTopicAttributes tells; a MaximumMessageSize only where one was set."""
        fifo = {"ContentBasedDeduplication": "false", "FifoThroughputScope": "Topic"} if self.is_fifo else {}
        return {
            "TopicArn": self.arn,
            "Owner": "000000000000",
            "DisplayName": "",
            "SubscriptionsConfirmed": str(len(self.subscriptions)),
            **fifo,
            **self.given,
        }

    def accept(
        self, published: Published, now: float, request_number: int, serial: int, *, remembers: bool
    ) -> tuple[StoredPublish, bool]:
        """Store a message that broke no rule, and tell whether it is new: a duplicate gives back the first one."""
        key = None
        if self.is_fifo:
            is_per_group = self.given.get("FifoThroughputScope") == "MessageGroup"
            own = published.deduplication_id
            key = duplicate_key(published.message, own, published.group_id, is_per_group=is_per_group)
            first = self._seen.find(key, now)
            if first is not None:
                return first, False
        stored = StoredPublish(
            message_id=serial_uuid(serial),
            message=published.message,
            subject=published.subject,
            structure=published.structure,
            attributes=published.attributes,
            group_id=published.group_id,
            deduplication_id=key[1] if key else published.deduplication_id,
            sequence_number=str(_FIRST_SEQUENCE_NUMBER + serial * 1000) if self.is_fifo else "",
            request_number=request_number,
            arrived_at=now,
        )
        if key is not None:
            self._seen.add(key, stored)
        self.published_count += 1
        if remembers:
            self.published.append(stored)
        return stored, True


def check_topic_attributes(attributes: dict[str, str]) -> None:
    """The attributes that have a range.

    Raises:
        AwsError: if one is outside it.
    """
    size = attributes.get("MaximumMessageSize")
    if size is not None and not (size.isdecimal() and 1024 <= int(size[:9]) <= MOST_BYTES):  # noqa: PLR2004 - 1 KiB
        raise AwsError("InvalidParameter", "Invalid parameter: Attributes Reason: MaximumMessageSize")
    scope = attributes.get("FifoThroughputScope")
    if scope is not None and scope not in {"Topic", "MessageGroup"}:
        raise AwsError("InvalidParameter", "Invalid parameter: Attributes Reason: FifoThroughputScope")


def envelope(stored: StoredPublish, topic_arn: str) -> str:
    """What a queue gets whose subscription is not raw."""
    document: Document = {"Type": "Notification", "MessageId": stored.message_id, "TopicArn": topic_arn}
    if stored.subject is not None:
        document["Subject"] = stored.subject
    document["Message"] = stored.text_for("sqs")
    if stored.sequence_number:
        document["SequenceNumber"] = stored.sequence_number
    if stored.attributes:
        document["MessageAttributes"] = {
            name: {"Type": each.data_type, "Value": (b64encode(each.value) if each.is_binary else each.value).decode()}
            for name, each in stored.attributes.items()
        }
    return json.dumps(document, ensure_ascii=False)
