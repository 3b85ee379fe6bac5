"""How ReceiveMessage tells a message. Pure."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from ._fields import texts_of
from ._sqs_rules import Attribute, md5_of_attributes, md5_of_body

if TYPE_CHECKING:
    from ._sqs_queue import StoredMessage
    from ._wire import Document


def to_received(message: StoredMessage, asked: Document) -> Document:
    """The message in the words of ReceiveMessage, with the attributes that were asked for."""
    result: Document = {
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt_handle,
        "MD5OfBody": md5_of_body(message.body),
        "Body": message.body,
    }
    wanted = set(texts_of(asked, "MessageAttributeNames"))
    chosen = {name: value for name, value in message.attributes.items() if _is_wanted(name, wanted)}
    if chosen:
        result["MD5OfMessageAttributes"] = md5_of_attributes(chosen)
        result["MessageAttributes"] = {name: _told(value) for name, value in chosen.items()}
    names = {*texts_of(asked, "AttributeNames"), *texts_of(asked, "MessageSystemAttributeNames")}
    system = {name: text for name, text in _system_attributes(message).items() if "All" in names or name in names}
    if system:
        result["Attributes"] = system
    return result


def _is_wanted(name: str, wanted: set[str]) -> bool:
    prefixes = [want.removesuffix("*") for want in wanted if want.endswith(".*")]
    return bool(wanted & {"All", ".*", name}) or any(name.startswith(prefix) for prefix in prefixes)


def _told(attribute: Attribute) -> Document:
    if attribute.is_binary:
        return {"DataType": attribute.data_type, "BinaryValue": base64.b64encode(attribute.value).decode()}
    return {"DataType": attribute.data_type, "StringValue": attribute.value.decode()}


def _system_attributes(message: StoredMessage) -> dict[str, str]:
    told = {
        "SenderId": "AIDATESTSENDER",
        "SentTimestamp": str(int(message.arrived_at * 1000)),
        "ApproximateReceiveCount": str(message.receives),
        "ApproximateFirstReceiveTimestamp": str(int(message.first_received_at * 1000)),
        **{name: attribute.value.decode(errors="replace") for name, attribute in message.system_attributes.items()},
    }
    given = {
        "MessageGroupId": message.group_id,
        "MessageDeduplicationId": message.deduplication_id,
        "SequenceNumber": message.sequence_number,
    }
    return told | {name: text for name, text in given.items() if text}
