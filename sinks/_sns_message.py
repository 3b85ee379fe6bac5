"""One message for SNS: what the caller writes, and the checks and the count that SNS would make of it.

Before: `SnsSink.put`. After: the entry's payload, which goes into a request as it is.
Sources: Publish and PublishBatch (SNS API reference), "Message attributes" and "Large message payloads" (developer
guide), as they read in November 2026.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast
from uuid import uuid4

from sinkwell.core import Encoded, InvalidRecord, RecordTooLarge

from ._aws_message import AttributeValue, MessageAttribute, checked_id, checked_text, encode_attributes
from ._sns_form import Payload, form_of, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_BYTES = 262_144
"""The most bytes of a message, and of a request's messages together, of a topic without a MaximumMessageSize."""
MOST_BYTES = 1_048_576
"""The most that a topic's MaximumMessageSize can be."""
# "Less than 100", says the reference; a hundred are taken.
MAX_SUBJECT = 100

_ARN = re.compile(r"arn:[a-z0-9-]+:sns:([a-z0-9-]+):(\d{12}|\d+):([A-Za-z0-9_-]{1,256}(?:\.fifo)?)", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
# "No line breaks or control characters": Unicode's line and paragraph separators break lines too.
_NOT_IN_SUBJECT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class SnsAttribute(MessageAttribute):
    """A message attribute with a data type of its own, as `SnsAttribute("String.Array", '["a", "b"]')`."""

    __slots__ = ()


@dataclass(slots=True, frozen=True)
class SnsMessage:
    """A message with more than its text.

    Attributes:
        message: the text; with `structure="json"`, a JSON object in text.
        subject: the subject of an email, at most 100 characters; other subscribers see it beside the message.
        attributes: by name; a `str` is sent as String, a number as Number, `bytes` as Binary.
        structure: `"json"` for a message of its own for each protocol: the object's keys are protocols, its values
            texts, and `"default"` is for all that it does not name.
        group_id: messages of one group keep their order in a FIFO topic, which needs it. A standard topic only hands
            it on to standard SQS queues, where it turns on fair queues.
        deduplication_id: FIFO topics only; a second message with the same id within five minutes is taken and dropped.
            Without one, each message gets its own, unless the topic makes one of the message.
        topic_arn: another topic than the sink's, in the same region.
    """

    message: str
    subject: str | None = None
    attributes: Mapping[str, AttributeValue] | None = None
    structure: Literal["json"] | None = None
    group_id: str | None = None
    deduplication_id: str | None = None
    topic_arn: str | None = None


@dataclass(slots=True, frozen=True)
class Topic:
    """What a topic demands of a message.

    Attributes:
        arn: its name.
        is_fifo: whether it keeps the order of a group.
        is_known: whether the rest was read from the topic; otherwise it is what the most generous topic allows.
        makes_deduplication_ids: content-based deduplication is on.
        max_bytes: its MaximumMessageSize: of one message, and of all in a request.
        max_request_bytes: less than that, once the topic has refused a request of less.
    """

    arn: str
    is_fifo: bool
    is_known: bool = False
    makes_deduplication_ids: bool = False
    max_bytes: int = MOST_BYTES
    max_request_bytes: int = MOST_BYTES

    @classmethod
    def unread(cls, arn: str) -> Topic:
        """Return what the ARN alone tells: the name of a FIFO topic, and of no other, ends in `.fifo`."""
        return cls(arn, is_fifo=arn.endswith(".fifo"))

    @classmethod
    def read(cls, arn: str, attributes: Mapping[str, str]) -> Topic:
        """Return what `GetTopicAttributes` told. It tells a size only where somebody has set one."""
        size = attributes.get("MaximumMessageSize", "")
        return cls(
            arn,
            is_fifo=arn.endswith(".fifo"),
            is_known=True,
            makes_deduplication_ids=attributes.get("ContentBasedDeduplication") == "true",
            max_bytes=int(size) if size.isascii() and size.isdecimal() else DEFAULT_BYTES,
        )

    @property
    def name(self) -> str:
        """The last part of its ARN."""
        return self.arn.rpartition(":")[2]

    @property
    def region(self) -> str:
        """The region it is in."""
        return self.arn.split(":")[3]

    def __str__(self) -> str:
        """Return how messages call it."""
        return f"SNS topic {self.name!r}"


def is_topic_arn(arn: object) -> bool:
    """Whether it is the ARN of a topic, and not of one of its subscriptions."""
    return isinstance(arn, str) and _ARN.fullmatch(arn) is not None


def encode_text(text: str, topic: Topic) -> Encoded:
    """Check and count plain text for a standard topic.

    Raises:
        InvalidRecord: SNS would refuse it.
    """
    size = _within(_text_size(text, "the message", topic), topic)
    return Encoded(Payload(b"Message=" + quoted(text)), size, None, topic.arn)


def encode_message(message: SnsMessage, topic: Topic) -> Encoded:
    """Check and count a message, and choose its deduplication id if it needs one.

    Raises:
        InvalidRecord: SNS would refuse it, and with it all of the request.
    """
    fields: dict[str, object] = {"Message": message.message}
    size = _text_size(message.message, "the message", topic)
    if message.structure is not None:
        fields["MessageStructure"] = _checked_structure(message, topic)
    if message.subject is not None:
        fields["Subject"] = _checked_subject(message.subject, topic)
        # Nothing says whether SNS counts it. If not, a message within 400 bytes of the limit is refused too early.
        size += len(message.subject.encode())
    if message.attributes:
        fields["MessageAttributes"], attributes_size = encode_attributes(message.attributes, topic, _text_size)
        size += attributes_size
    fields |= _fifo_fields(message, topic) if topic.is_fifo else _standard_fields(message, topic)
    is_undecided = topic.is_fifo and not topic.is_known and message.deduplication_id is None
    payload = Payload(form_of(fields), _new_id() if is_undecided else "")
    return Encoded(payload, _within(size, topic), message.group_id if topic.is_fifo else None, topic.arn)


def _new_id() -> str:
    """Return an id that stays the same however often the message is sent, so that SNS has it once."""
    return uuid4().hex


def _fifo_fields(message: SnsMessage, topic: Topic) -> dict[str, object]:
    if message.group_id is None:
        raise InvalidRecord(f"{topic} is FIFO and needs a group_id: put SnsMessage(message, group_id=...)")
    fields: dict[str, object] = {"MessageGroupId": checked_id(message.group_id, "group_id", topic)}
    if message.deduplication_id is not None:
        fields["MessageDeduplicationId"] = checked_id(message.deduplication_id, "deduplication_id", topic)
    elif topic.is_known and not topic.makes_deduplication_ids:
        fields["MessageDeduplicationId"] = _new_id()
    return fields


def _standard_fields(message: SnsMessage, topic: Topic) -> dict[str, object]:
    if message.deduplication_id is not None:
        raise InvalidRecord(f"{topic} is not FIFO: leave deduplication_id out, or send to a FIFO topic")
    return {} if message.group_id is None else {"MessageGroupId": checked_id(message.group_id, "group_id", topic)}


# What a caller gave is checked as `object` below: annotations bind nobody, and SNS would refuse ten messages for one.


def _within(size: int, topic: Topic) -> int:
    if size > topic.max_bytes:
        raise too_large(size, topic)
    return size


def too_large(size: int, topic: Topic) -> RecordTooLarge:
    """Return what is said of a message that the topic does not take, alone or with others."""
    return RecordTooLarge(
        f"a message of {size:,} bytes is above the {topic.max_bytes:,} of {topic}: "
        "split it, or store it elsewhere and send where"
    )


def _text_size(given: object, what: str, topic: Topic) -> int:
    """Return how many bytes SNS counts for a text that it takes: any UTF-8, control characters too."""
    text = checked_text(given, what, topic)
    if text.isascii():
        return len(text)
    if _SURROGATE.search(text):
        raise InvalidRecord(f"{what} for {topic} holds a lone surrogate, which has no UTF-8: remove it")
    return len(text.encode())


def _checked_subject(given: object, topic: Topic) -> str:
    text = checked_text(given, "the subject", topic)
    if len(text) > MAX_SUBJECT or _NOT_IN_SUBJECT.search(text):
        raise InvalidRecord(
            f"the subject for {topic} must be at most {MAX_SUBJECT} characters, without line breaks and control "
            "characters"
        )
    return text


def _checked_structure(message: SnsMessage, topic: Topic) -> str:
    if message.structure != "json":
        raise InvalidRecord(f'structure for {topic} must be "json", or left out')
    problem = _structure_problem(message.message)
    if problem is not None:
        raise InvalidRecord(f'the message for {topic} has structure="json" and {problem}')
    return "json"


def _structure_problem(text: str) -> str | None:
    """Say what SNS would refuse of a message with a text for each protocol, or would silently leave out."""
    try:
        found: object = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return "is no JSON"
    if not isinstance(found, _Pairs):
        return "is no JSON object"
    pairs = cast("list[tuple[str, object]]", found)
    names = {name for name, _ in pairs}
    if len(names) < len(pairs):
        return "names a key twice"
    if not all(isinstance(value, str) for _, value in pairs):
        return "holds a value that is not text, which SNS would leave out"
    return None if "default" in names else 'has no "default" key'


class _Pairs(list[tuple[str, object]]):
    """A JSON object as it is written, doubled keys included."""
