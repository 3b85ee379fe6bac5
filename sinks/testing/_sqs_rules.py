"""What SQS takes and what it refuses, in its own words. Pure: no state, no clock.

Sources: the SQS API reference (SendMessageBatch, MessageAttributeValue, "quotas-messages"), botocore's service model,
and answers recorded from AWS. Rules for which no answer of AWS was at hand are marked "not recorded".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._fields import document_of, text_of, whole_of
from ._wire import AwsError, Document, EntryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_ENTRIES = 10
MAX_BATCH_BYTES = 1_048_576
MAX_ATTRIBUTES = 10
MAX_DELAY = 900

_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_GROUP_ID = re.compile(r"[!-~]{1,128}")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,256}", re.ASCII)
_DATA_TYPE = re.compile(r"(String|Number|Binary)(\.[!-~]+)?")
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ALLOWED_CHARACTERS = (
    "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | "
    "#x10000 to #x10FFFF"
)
_WRONG_QUEUE_TYPE = "The request include parameter that is not valid for this queue type"
_NEEDS_DEDUPLICATION = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)


@dataclass(slots=True)
class Attribute:
    """One message attribute: its data type, its value as the bytes that count, and whether it came as BinaryValue."""

    data_type: str
    value: bytes
    is_binary: bool = False


@dataclass(slots=True)
class Sent:
    """One message as it was sent, before any rule was applied to it."""

    id: str
    body: str
    attributes: dict[str, Attribute]
    system_attributes: dict[str, Attribute]
    group_id: str | None
    deduplication_id: str | None
    delay: int | None
    size: int


def read_sent(given: Any) -> Sent:
    """Understand one message of a request.

    Raises:
        AwsError: if a field has another type than AWS's model says; that fails the whole request.
    """
    entry = document_of(given)
    body = text_of(entry, "MessageBody") or ""
    attributes = read_attributes(entry.get("MessageAttributes"))
    return Sent(
        id=text_of(entry, "Id") or "",
        body=body,
        attributes=attributes,
        system_attributes=read_attributes(entry.get("MessageSystemAttributes")),
        group_id=text_of(entry, "MessageGroupId"),
        deduplication_id=text_of(entry, "MessageDeduplicationId"),
        delay=whole_of(entry, "DelaySeconds"),
        size=utf8_bytes(body) + sum(_attribute_bytes(name, value) for name, value in attributes.items()),
    )


def read_attributes(given: Any) -> dict[str, Attribute]:
    return {name: _read_attribute(document_of(value)) for name, value in document_of(given).items()} if given else {}


def _read_attribute(given: Document) -> Attribute:
    data_type = text_of(given, "DataType") or ""
    binary = text_of(given, "BinaryValue")
    if binary is None:
        return Attribute(data_type, (text_of(given, "StringValue") or "").encode("utf-8", "surrogatepass"))
    try:
        return Attribute(data_type, base64.b64decode(binary, validate=True), is_binary=True)
    except (binascii.Error, ValueError):
        raise AwsError("SerializationException", "BinaryValue is not Base64.") from None


def utf8_bytes(text: str) -> int:
    """How many bytes AWS counts for it."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _attribute_bytes(name: str, attribute: Attribute) -> int:
    return utf8_bytes(name) + utf8_bytes(attribute.data_type) + len(attribute.value)


def check_ids(entries: Sequence[Any], entry_type: str) -> None:
    """The rules every batch action shares: how many entries, and their Ids.

    Raises:
        AwsError: in AWS's order, the first rule that is broken.
    """
    if not entries:
        raise AwsError("EmptyBatchRequest", f"There should be at least one {entry_type} in the request.")
    if len(entries) > MAX_ENTRIES:
        sentence = f"Maximum number of entries per request are {MAX_ENTRIES}. You have sent {len(entries)}."
        raise AwsError("TooManyEntriesInBatchRequest", sentence)
    seen: set[str] = set()
    for entry in entries:
        entry_id = text_of(document_of(entry), "Id")
        if entry_id is None or not _ENTRY_ID.fullmatch(entry_id):
            raise AwsError("InvalidBatchEntryId")
        if entry_id in seen:
            raise AwsError("BatchEntryIdsNotDistinct", f"Id {entry_id} repeated.")
        seen.add(entry_id)


def check_batch_size(batch: Sequence[Sent]) -> None:
    """The sum over the batch, which knows nothing of the queue's own MaximumMessageSize.

    Raises:
        AwsError: if the batch is too long.
    """
    size = sum(sent.size for sent in batch)
    if size > MAX_BATCH_BYTES:
        sentence = f"Batch requests cannot be longer than {MAX_BATCH_BYTES} bytes. You have sent {size} bytes."
        raise AwsError("BatchRequestTooLong", sentence)


def check_fifo(sent: Sent, *, is_content_based: bool, is_batch: bool) -> None:
    """What a FIFO queue wants of each message; one that lacks it fails its whole batch (recorded).

    Raises:
        AwsError: the first rule that is broken.
    """
    if sent.group_id is None:
        # Recorded: the batch action gives the one code, the single action the other.
        code = "InvalidParameterValue" if is_batch else "MissingParameter"
        raise AwsError(code, "The request must contain the parameter MessageGroupId.")
    _check_fifo_id("MessageGroupId", sent.group_id)
    if sent.deduplication_id is None and not is_content_based:
        raise AwsError("InvalidParameterValue", _NEEDS_DEDUPLICATION)
    if sent.deduplication_id is not None:
        _check_fifo_id("MessageDeduplicationId", sent.deduplication_id)
    # A zero is refused like any other number: not recorded.
    if sent.delay is not None:
        sentence = f"Value {sent.delay} for parameter DelaySeconds is invalid. Reason: {_WRONG_QUEUE_TYPE}."
        raise AwsError("InvalidParameterValue", sentence)


def _check_fifo_id(name: str, value: str) -> None:
    if not _GROUP_ID.fullmatch(value):
        raise AwsError(
            "InvalidParameterValue", f"Value {value} for parameter {name} is invalid. Reason: {_id_rule(name)}"
        )


def _id_rule(name: str) -> str:
    return f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."


def find_entry_error(sent: Sent, max_message_bytes: int, *, is_fifo: bool) -> EntryError | None:
    """Why this message alone is refused, or None."""
    return _find_content_error(sent, max_message_bytes) or _find_parameter_error(sent, is_fifo=is_fifo)


def _find_content_error(sent: Sent, max_message_bytes: int) -> EntryError | None:
    if not sent.body:
        return EntryError("MissingParameter", "The request must contain the parameter MessageBody.")
    # Printable text is allowed as a whole, and far quicker to recognise than by the expression.
    if not sent.body.isprintable() and _FORBIDDEN.search(sent.body):
        return EntryError("InvalidMessageContents", _ALLOWED_CHARACTERS)
    if sent.size > max_message_bytes:
        reason = f"Message must be shorter than {max_message_bytes} bytes."
        return EntryError("InvalidParameterValue", f"One or more parameters are invalid. Reason: {reason}")
    return None


def _find_parameter_error(sent: Sent, *, is_fifo: bool) -> EntryError | None:
    if not is_fifo and sent.deduplication_id is not None:
        return EntryError("InvalidParameterValue", _WRONG_QUEUE_TYPE + ".")
    if not is_fifo and sent.group_id is not None and not _GROUP_ID.fullmatch(sent.group_id):
        return EntryError("InvalidParameterValue", _id_rule("MessageGroupId"))
    if sent.delay is not None and not 0 <= sent.delay <= MAX_DELAY:
        reason = f"DelaySeconds must be >= 0 and <= {MAX_DELAY}."
        return EntryError(
            "InvalidParameterValue", f"Value {sent.delay} for parameter DelaySeconds is invalid. Reason: {reason}"
        )
    if sent.system_attributes.keys() - {"AWSTraceHeader"}:
        return EntryError("InvalidParameterValue", "Message system attribute name is invalid.")
    return _find_attribute_error(sent.attributes) if sent.attributes else None


def _find_attribute_error(attributes: Mapping[str, Attribute]) -> EntryError | None:
    if len(attributes) > MAX_ATTRIBUTES:
        count = len(attributes)
        sentence = f"Number of message attributes [{count}] exceeds the allowed maximum [{MAX_ATTRIBUTES}]."
        return EntryError("InvalidParameterValue", sentence)
    errors = (_find_value_error(name, attribute) for name, attribute in attributes.items())
    return next((error for error in errors if error is not None), None)


def _find_value_error(name: str, attribute: Attribute) -> EntryError | None:
    if not _ATTRIBUTE_NAME.fullmatch(name):
        return EntryError("InvalidParameterValue", f"Invalid message (user) attribute name '{name}'.")
    if not _DATA_TYPE.fullmatch(attribute.data_type):
        sentence = f"The message (user) attribute '{name}' has an invalid message attribute type."
        return EntryError("InvalidParameterValue", sentence)
    kind = attribute.data_type.partition(".")[0]
    if attribute.is_binary != (kind == "Binary"):
        field = "Binary" if kind == "Binary" else "String"
        sentence = f"The message (user) attribute '{name}' with type '{kind}' must use field '{field}'."
        return EntryError("InvalidParameterValue", sentence)
    if not attribute.value:
        sentence = f"Message (user) attribute '{name}' must contain a non-empty value of type '{kind}'."
        return EntryError("InvalidParameterValue", sentence)
    if not attribute.is_binary and _FORBIDDEN.search(attribute.value.decode("utf-8", "surrogatepass")):
        return EntryError("InvalidMessageContents", _ALLOWED_CHARACTERS)
    return None


def md5_of_body(body: str) -> str:
    """`MD5OfMessageBody`."""
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def md5_of_attributes(attributes: Mapping[str, Attribute]) -> str:
    """`MD5OfMessageAttributes`: sorted by name; each part with its length before it, a byte for the kind of value."""
    digest = hashlib.md5(usedforsecurity=False)
    for name, attribute in sorted(attributes.items()):
        for part in (name.encode(), attribute.data_type.encode()):
            digest.update(struct.pack(">I", len(part)) + part)
        digest.update(b"\x02" if attribute.is_binary else b"\x01")
        digest.update(struct.pack(">I", len(attribute.value)) + attribute.value)
    return digest.hexdigest()
