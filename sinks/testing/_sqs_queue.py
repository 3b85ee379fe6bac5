"""One SQS queue: what arrived, what may be received, what counts as a duplicate. Pure; the time is handed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._duplicates import Arrivals, duplicate_key
from ._sqs_rules import MAX_BATCH_BYTES, Attribute, Sent
from ._wire import AwsError, serial_uuid

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_SEQUENCE_NUMBER = 18_850_000_000_000_000_000

_DEFAULTS = {
    "VisibilityTimeout": "30",
    "MaximumMessageSize": str(MAX_BATCH_BYTES),
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
}
_FIFO_DEFAULTS = {
    "FifoQueue": "true",
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}


_RANGES = {
    "MaximumMessageSize": (1024, MAX_BATCH_BYTES),
    "DelaySeconds": (0, 900),
    "VisibilityTimeout": (0, 43_200),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
}


def check_queue_attributes(attributes: dict[str, str]) -> None:
    """The attributes that have a range.

    Raises:
        AwsError: if one is outside it.
    """
    for name, (least, most) in _RANGES.items():
        value = attributes.get(name)
        if value is not None and not (value.isdecimal() and least <= int(value[:9]) <= most):
            raise AwsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")


@dataclass(slots=True, eq=False)
class StoredMessage:
    """A message that AWS really has.

    Attributes:
        message_id: as it was answered.
        body: the text.
        attributes: name to data type and value (as bytes).
        group_id: of a FIFO queue, or of a fair one.
        deduplication_id: as sent, or the body's SHA-256 where the queue goes by content.
        sequence_number: empty on a standard queue.
        request_number: which request of the endpoint's log carried it.
        arrived_at: the event loop's time.
        receives: how often it was received.
        is_deleted: whether a consumer deleted it.
    """

    message_id: str
    body: str
    attributes: dict[str, Attribute]
    system_attributes: dict[str, Attribute]
    group_id: str | None
    deduplication_id: str | None
    sequence_number: str
    request_number: int
    arrived_at: float
    visible_at: float
    receives: int = 0
    first_received_at: float = 0.0
    receipt_handle: str = ""
    is_deleted: bool = False


class Throttling:
    """So many requests a second, one second's worth at once; a bucket of tokens that time fills."""

    def __init__(self, requests_per_second: float, now: float) -> None:
        self._rate = requests_per_second
        self._tokens = max(1.0, requests_per_second)
        self._filled_at = now

    def admits(self, now: float) -> bool:
        """Take a token if there is one."""
        self._tokens = min(max(1.0, self._rate), self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(slots=True, eq=False)
class Queue:
    """One queue."""

    name: str
    given: dict[str, str]
    created_at: float
    # Everything that ever arrived, in order; emptied by PurgeQueue only.
    arrived: list[StoredMessage] = field(default_factory=list[StoredMessage])
    arrived_count: int = 0
    throttling: Throttling | None = None
    purged_at: float | None = None
    # Neither deleted nor purged, in order of arrival.
    _live: dict[str, StoredMessage] = field(default_factory=dict[str, StoredMessage])
    _seen: Arrivals[StoredMessage] = field(default_factory=Arrivals[StoredMessage])
    _receipts: dict[str, StoredMessage] = field(default_factory=dict[str, StoredMessage])

    @property
    def is_fifo(self) -> bool:
        """Whether it is a FIFO queue."""
        return self.name.endswith(".fifo")

    @property
    def is_content_based(self) -> bool:
        """Whether it deduplicates by the body where no id is given."""
        return self.given.get("ContentBasedDeduplication") == "true"

    @property
    def max_message_bytes(self) -> int:
        """The queue's own limit for each message."""
        return int(self.given.get("MaximumMessageSize", MAX_BATCH_BYTES))

    def attributes(self, now: float) -> dict[str, str]:
        """What GetQueueAttributes tells."""
        waiting = list(self._live.values())
        delayed = sum(1 for message in waiting if not message.receives and message.visible_at > now)
        hidden = sum(1 for message in waiting if message.receives and message.visible_at > now)
        return {
            **_DEFAULTS,
            **(_FIFO_DEFAULTS if self.is_fifo else {}),
            **self.given,
            "QueueArn": f"arn:aws:sqs:us-east-1:000000000000:{self.name}",
            "CreatedTimestamp": str(int(self.created_at)),
            "LastModifiedTimestamp": str(int(self.created_at)),
            "ApproximateNumberOfMessages": str(len(waiting) - delayed - hidden),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
            "ApproximateNumberOfMessagesNotVisible": str(hidden),
        }

    def accept(self, sent: Sent, now: float, request_number: int, serial: int, *, remembers: bool) -> StoredMessage:
        """Store a message that broke no rule; on a FIFO queue a duplicate gives back the first one instead."""
        key = None
        if self.is_fifo:
            is_per_group = self.given.get("DeduplicationScope") == "messageGroup"
            key = duplicate_key(sent.body, sent.deduplication_id, sent.group_id, is_per_group=is_per_group)
            first = self._seen.find(key, now)
            if first is not None:
                return first
        delay = int(self.given.get("DelaySeconds", "0")) if sent.delay is None else sent.delay
        message = StoredMessage(
            message_id=serial_uuid(serial),
            body=sent.body,
            attributes=sent.attributes,
            system_attributes=sent.system_attributes,
            group_id=sent.group_id,
            deduplication_id=key[1] if key else sent.deduplication_id,
            sequence_number=str(_FIRST_SEQUENCE_NUMBER + serial * 256) if self.is_fifo else "",
            request_number=request_number,
            arrived_at=now,
            visible_at=now + delay,
        )
        if key is not None:
            self._seen.add(key, message)
        self.arrived_count += 1
        if remembers:
            self.arrived.append(message)
            self._live[message.message_id] = message
        return message

    def receive(self, count: int, visibility: float, now: float) -> list[StoredMessage]:
        """Take visible messages, in order; a FIFO group with a message in flight gives no other."""
        received: list[StoredMessage] = []
        for message in self._visible(now):
            message.receives += 1
            message.first_received_at = message.first_received_at or now
            message.visible_at = now + visibility
            message.receipt_handle = f"{message.message_id}#{message.receives}"
            self._receipts[message.receipt_handle] = message
            received.append(message)
            if len(received) == count:
                break
        return received

    def _visible(self, now: float) -> Iterator[StoredMessage]:
        blocked: set[str | None] = set()
        for message in list(self._live.values()):
            if message.visible_at > now:
                blocked.add(message.group_id)
            elif not (self.is_fifo and message.group_id in blocked):
                yield message

    def delete(self, receipt_handle: str) -> bool:
        """Delete what was received under this handle; False if the handle is none of ours."""
        message = self._receipts.get(receipt_handle)
        if message is None:
            return False
        message.is_deleted = True
        self._live.pop(message.message_id, None)
        return True

    def purge(self, now: float) -> None:
        """Forget all messages; what was sent lately still counts for deduplication."""
        self.purged_at = now
        self.arrived.clear()
        self._live.clear()
        self._receipts.clear()
