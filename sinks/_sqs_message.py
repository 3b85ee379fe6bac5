"""One message for SQS: what the caller writes, and the checks and the count that SQS would make of it.

Before: `SqsSink.put`. After: the entry's payload, which goes into a request as it is.
Sources: SendMessageBatch and MessageAttributeValue (SQS API reference), "Amazon SQS message quotas" and "Message
metadata" (developer guide), as they read in November 2026.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast
from uuid import uuid4

from pydantic_core import to_json

from sinkwell.core import Encoded, InvalidRecord, RecordTooLarge

from ._aws_message import AttributeValue, MessageAttribute, checked_id, checked_text, encode_attributes
from ._sqs_digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BATCH_BYTES = 1_048_576
"""Also the most that a queue's MaximumMessageSize can be (1 MiB since August 2025, 256 KiB before)."""
MAX_ATTRIBUTES = 10
MAX_DELAY = 900

# A negated class also catches lone surrogates, which no server could be sent.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# AWS X-Ray developer guide, "Tracing header": fields in any order, of which Root is the trace.
_TRACE_HEADER = re.compile(r"(?:[!-:<-~]+;)*Root=1-[0-9a-f]{8}-[0-9a-f]{24}(?:;[!-:<-~]+)*;?", re.IGNORECASE | re.ASCII)


class SqsAttribute(MessageAttribute):
    """A message attribute with a data type of its own, as `SqsAttribute("Number.temperature", "21.5")`."""

    __slots__ = ()


@dataclass(slots=True, frozen=True)
class SqsMessage:
    """A message with more than a body.

    Attributes:
        body: the text.
        attributes: up to ten, by name; a `str` is sent as String, a number as Number, `bytes` as Binary.
        delay_seconds: 0 to 900; until then no consumer sees it. Standard queues only.
        group_id: FIFO queues need it: messages of one group keep their order. On a standard queue, with
            `fair_queues=True`: the tenant, none of which may hold back the others; there it keeps no order.
        deduplication_id: FIFO queues only; a second message with the same id within five minutes is taken and dropped.
            Without one, each message gets its own, unless the queue makes one of the body.
        queue_url: another queue than the sink's, in the same region.
        trace_header: of AWS X-Ray, `Root=1-...;Parent=...;Sampled=1`. It is not counted in the message's size.
    """

    body: str
    attributes: Mapping[str, AttributeValue] | None = None
    delay_seconds: int | None = None
    group_id: str | None = None
    deduplication_id: str | None = None
    queue_url: str | None = None
    trace_header: str | None = None


class Payload(NamedTuple):
    """A message as it goes into a request.

    Attributes:
        text: its fields in JSON, as they stand between an entry's braces.
        body_digest: MD5 of the body, which SQS's answer must tell.
        chosen_id: a deduplication id for a FIFO queue, in case that it does not make them itself: nobody knows yet.
    """

    text: bytes
    body_digest: str
    chosen_id: str = ""

    def decided(self, queue: Queue) -> Payload:
        """Return it for the queue, now that it was read."""
        chosen = f',"MessageDeduplicationId":"{self.chosen_id}"'.encode()
        return Payload(self.text if queue.makes_deduplication_ids else self.text + chosen, self.body_digest)

    @property
    def fields(self) -> dict[str, object]:
        """The fields as the client takes them."""
        fields: dict[str, object] = json.loads(b"{%b}" % self.text, object_hook=_with_bytes)
        return fields


@dataclass(slots=True, frozen=True)
class Queue:
    """What a queue demands of a message.

    Attributes:
        url: where it is.
        is_fifo: whether it keeps the order of a group.
        is_known: whether the rest was read from the queue; otherwise it is what holds for every queue.
        makes_deduplication_ids: content-based deduplication is on.
        max_message_bytes: its MaximumMessageSize.
    """

    url: str
    is_fifo: bool
    is_known: bool = False
    makes_deduplication_ids: bool = False
    max_message_bytes: int = MAX_BATCH_BYTES

    @classmethod
    def unread(cls, url: str) -> Queue:
        """Return what the URL alone tells: the name of a FIFO queue, and of no other, ends in `.fifo`."""
        return cls(url, is_fifo=url.rstrip("/").endswith(".fifo"))

    @classmethod
    def read(cls, url: str, attributes: Mapping[str, str]) -> Queue:
        """Return what `GetQueueAttributes` told."""
        size = attributes.get("MaximumMessageSize", "")
        return cls(
            url,
            is_fifo=url.rstrip("/").endswith(".fifo"),
            is_known=True,
            makes_deduplication_ids=attributes.get("ContentBasedDeduplication") == "true",
            max_message_bytes=int(size) if size.isascii() and size.isdecimal() else MAX_BATCH_BYTES,
        )

    @property
    def name(self) -> str:
        """The last part of its URL."""
        return self.url.rstrip("/").rpartition("/")[2]

    def __str__(self) -> str:
        """Return how messages call it."""
        return f"SQS queue {self.name!r}"


def encode_body(body: str, queue: Queue) -> Encoded:
    """Check and count plain text for a standard queue.

    Raises:
        InvalidRecord: SQS would refuse it.
    """
    # Plain, printable text, the usual case, needs no closer look.
    size = len(body) if body and body.isascii() and body.isprintable() else _text_size(body, "the body", queue)
    if size > queue.max_message_bytes:
        raise _too_large(size, queue)
    text = str.__str__(body)  # the plain text of an enum's member, too
    return Encoded(Payload(b'"MessageBody":' + to_json(text), digest_of(text.encode())), size, None, queue.url)


def encode_message(message: SqsMessage, queue: Queue, *, fair_queues: bool = False) -> Encoded:
    """Check and count a message, and choose its deduplication id if it needs one.

    Raises:
        InvalidRecord: SQS would refuse it, alone or with the whole request it is in.
    """
    fields: dict[str, object] = {"MessageBody": message.body}
    size = _text_size(message.body, "the body", queue)
    if message.attributes:
        if len(message.attributes) > MAX_ATTRIBUTES:
            raise InvalidRecord(f"{len(message.attributes)} attributes for {queue}: SQS takes at most {MAX_ATTRIBUTES}")
        fields["MessageAttributes"], attributes_size = encode_attributes(message.attributes, queue, _text_size)
        size += attributes_size
    if size > queue.max_message_bytes:
        raise _too_large(size, queue)
    if message.trace_header is not None:
        header = {"DataType": "String", "StringValue": _checked_trace_header(message.trace_header, queue)}
        fields["MessageSystemAttributes"] = {"AWSTraceHeader": header}
    if queue.is_fifo:
        fields |= _fifo_fields(message, queue)
        is_undecided = not queue.is_known and message.deduplication_id is None
        return Encoded(_payload(fields, _new_id() if is_undecided else ""), size, message.group_id, queue.url)
    fields |= _standard_fields(message, queue, fair_queues=fair_queues)
    return Encoded(_payload(fields), size, None, queue.url)


def _new_id() -> str:
    """Return an id that stays the same however often the message is sent, so that SQS has it once."""
    return uuid4().hex


def _payload(fields: dict[str, object], chosen_id: str = "") -> Payload:
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), default=_base64)[1:-1].encode()
    return Payload(text, digest_of(cast("str", fields["MessageBody"]).encode()), chosen_id)


def _base64(value: bytes) -> str:
    return b64encode(value).decode()


def _with_bytes(fields: dict[str, object]) -> dict[str, object]:
    value = fields.get("BinaryValue")
    # An attribute may have that name as well; what it stands for is then no text.
    return fields | {"BinaryValue": b64decode(value)} if isinstance(value, str) else fields


def _fifo_fields(message: SqsMessage, queue: Queue) -> dict[str, object]:
    if message.group_id is None:
        raise InvalidRecord(f"{queue} is FIFO and needs a group_id: put SqsMessage(body, group_id=...)")
    if message.delay_seconds is not None:
        raise InvalidRecord(f"{queue} is FIFO, where delay_seconds is the queue's own setting: leave it out")
    fields: dict[str, object] = {"MessageGroupId": checked_id(message.group_id, "group_id", queue)}
    if message.deduplication_id is not None:
        fields["MessageDeduplicationId"] = checked_id(message.deduplication_id, "deduplication_id", queue)
    elif queue.is_known and not queue.makes_deduplication_ids:
        fields["MessageDeduplicationId"] = _new_id()
    return fields


def _standard_fields(message: SqsMessage, queue: Queue, *, fair_queues: bool) -> dict[str, object]:
    fields: dict[str, object] = {}
    if message.deduplication_id is not None:
        raise InvalidRecord(f"{queue} is not FIFO: leave deduplication_id out, or send to a FIFO queue")
    if message.group_id is not None:
        if not fair_queues:
            raise InvalidRecord(
                f"{queue} is not FIFO: leave group_id out, or send to a FIFO queue; if fair queues are what you want, "
                "which SQS bills higher, pass fair_queues=True"
            )
        fields["MessageGroupId"] = checked_id(message.group_id, "group_id", queue)
    if message.delay_seconds is not None:
        fields["DelaySeconds"] = _checked_delay(message.delay_seconds, queue)
    return fields


# What a caller gave is `object` below: annotations bind nobody, and SQS would refuse ten messages for one.


def _checked_delay(value: object, queue: Queue) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_DELAY:
        raise InvalidRecord(f"delay_seconds for {queue} must be a whole number from 0 to {MAX_DELAY}")
    return value


def _checked_trace_header(value: object, queue: Queue) -> str:
    if not isinstance(value, str) or not _TRACE_HEADER.fullmatch(value):
        raise InvalidRecord(
            f"trace_header for {queue} must be an X-Ray header: Root=1-<8 hex digits>-<24 hex digits>, and what else "
            "there is after a semicolon"
        )
    return value


def _text_size(given: object, what: str, queue: Queue) -> int:
    """Return how many bytes SQS counts for a text that it takes."""
    text = checked_text(given, what, queue)
    if text.isascii():
        # Printable text, the usual case, is recognised ten times as fast as by the expression.
        if not text.isprintable() and _FORBIDDEN.search(text):
            raise _forbidden(what, queue)
        return len(text)
    if _FORBIDDEN.search(text):
        raise _forbidden(what, queue)
    return len(text.encode())


def _forbidden(what: str, queue: Queue) -> InvalidRecord:
    return InvalidRecord(
        f"{what} for {queue} holds a character that SQS refuses (a control character, U+FFFE, U+FFFF or a lone "
        "surrogate): remove it, or send the text as Base64"
    )


def _too_large(size: int, queue: Queue) -> RecordTooLarge:
    return RecordTooLarge(
        f"a message of {size:,} bytes is above the {queue.max_message_bytes:,} of {queue}: "
        "split it, or store it elsewhere and send where"
    )
