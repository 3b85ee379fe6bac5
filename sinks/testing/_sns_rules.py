"""What SNS takes and what it refuses, in its own words. Pure: no state, no clock.

Sources: the SNS API reference (Publish, PublishBatch), its developer guide ("Message attributes", "Large message
payloads"), botocore's service model, and answers recorded from AWS. Whatever is wrong with one entry fails the whole
request: nobody has seen AWS do otherwise. Rules for which no answer of AWS was at hand are marked "not recorded".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._fields import document_of, list_of, text_of
from ._sqs_rules import Attribute, read_attributes, utf8_bytes
from ._wire import AwsError, AwsRequest, Document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_ENTRIES = 10
DEFAULT_BYTES = 262_144
MOST_BYTES = 1_048_576
MAX_SUBJECT = 100

_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}", re.ASCII)
_ID = re.compile(r"[!-~]{1,128}")
_ATTRIBUTE_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)", re.ASCII)
_RESERVED = re.compile(r"(aws|amazon)\.", re.IGNORECASE)
_DATA_TYPE = re.compile(r"(String|Number|Binary)(\..+)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NEEDS_DEDUPLICATION = (
    "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)
_WRONG_TOPIC_TYPE = "The request includes MessageDeduplicationId parameter that is not valid for this topic type"


@dataclass(slots=True)
class Published:
    """One message as it was sent, before any rule was applied to it."""

    id: str
    message: str
    subject: str | None
    structure: str | None
    attributes: dict[str, Attribute]
    group_id: str | None
    deduplication_id: str | None
    size: int


def read_published(given: Any) -> Published:
    """Understand one message of a request.

    Raises:
        AwsError: if a field has another type than AWS's model says.
    """
    entry = document_of(given)
    message, subject = text_of(entry, "Message") or "", text_of(entry, "Subject")
    attributes = read_attributes(entry.get("MessageAttributes"))
    parts = sum(utf8_bytes(n) + utf8_bytes(each.data_type) + len(each.value) for n, each in attributes.items())
    return Published(
        id=text_of(entry, "Id") or "",
        message=message,
        subject=subject,
        structure=text_of(entry, "MessageStructure"),
        attributes=attributes,
        group_id=text_of(entry, "MessageGroupId"),
        deduplication_id=text_of(entry, "MessageDeduplicationId"),
        # That the subject counts is not recorded; nothing says that it does not.
        size=utf8_bytes(message) + utf8_bytes(subject or "") + parts,
    )


def entries_of(request: AwsRequest) -> list[Document]:
    """The entries of a batch, their number and their Ids checked.

    Raises:
        AwsError: in AWS's order, the first rule that is broken.
    """
    # An empty list is sent as a name without a value.
    given = request.document.get("PublishBatchRequestEntries") and list_of(
        request.document, "PublishBatchRequestEntries"
    )
    if not given:
        raise AwsError("EmptyBatchRequest")
    if len(given) > MAX_ENTRIES:
        raise AwsError("TooManyEntriesInBatchRequest")
    entries = [document_of(entry) for entry in given]
    ids = [text_of(entry, "Id") or "" for entry in entries]
    if not all(_ENTRY_ID.fullmatch(entry_id) for entry_id in ids):
        raise AwsError("InvalidBatchEntryId")
    if len(set(ids)) < len(ids):
        raise AwsError("BatchEntryIdsNotDistinct")
    return entries


def check_published(published: Published, *, is_fifo: bool, is_content_based: bool) -> None:
    """All rules for one message but its size.

    Raises:
        AwsError: the first that is broken.
    """
    if not published.message:
        raise _invalid("Empty message")
    _check_attributes(published.attributes)
    _check_structure(published)
    if published.subject is not None and (
        not 0 < len(published.subject) <= MAX_SUBJECT or _CONTROLS.search(published.subject)
    ):
        raise _invalid("Subject")
    if is_fifo and published.group_id is None:
        raise _invalid("The MessageGroupId parameter is required for FIFO topics")
    if is_fifo and published.deduplication_id is None and not is_content_based:
        raise _invalid(_NEEDS_DEDUPLICATION)
    if not is_fifo and published.deduplication_id is not None:
        raise _invalid(f"MessageDeduplicationId Reason: {_WRONG_TOPIC_TYPE}")
    for name, value in (
        ("MessageGroupId", published.group_id),
        ("MessageDeduplicationId", published.deduplication_id),
    ):
        if value is not None and not _ID.fullmatch(value):
            rule = f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length"
            raise _invalid(f"{name} Reason: {rule}")


def check_sizes(batch: Sequence[Published], max_bytes: int, *, is_batch: bool) -> None:
    """The sum over a request, which for a batch of one is the message's own.

    Raises:
        AwsError: if it is too long.
    """
    if sum(published.size for published in batch) > max_bytes:
        raise AwsError("BatchRequestTooLong") if is_batch else _invalid("Message too long")


def _check_structure(published: Published) -> None:
    if published.structure is None:
        return
    if published.structure != "json":
        raise _invalid("MessageStructure")
    try:
        found = json.loads(published.message)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _invalid("Message Structure - JSON message body failed to parse")
    if not isinstance(document_of(found).get("default"), str):
        raise _invalid("Message Structure - No default entry in JSON message body")


def _check_attributes(attributes: Mapping[str, Attribute]) -> None:
    for name, attribute in attributes.items():
        if not _ATTRIBUTE_NAME.fullmatch(name) or _RESERVED.match(name):
            raise AwsError("ParameterValueInvalid", f"Invalid message attribute name '{name}'.")
        if not _DATA_TYPE.fullmatch(attribute.data_type):
            kinds = "the set of supported type prefixes is Binary, Number, and String."
            raise AwsError("ParameterValueInvalid", f"The message attribute '{name}' has an invalid type, {kinds}")
        kind = attribute.data_type.partition(".")[0]
        if attribute.is_binary != (kind == "Binary"):
            field = "Binary" if kind == "Binary" else "String"
            raise AwsError("ParameterValueInvalid", f"The message attribute '{name}' must use field '{field}'.")
        if not attribute.value:
            raise AwsError("ParameterValueInvalid", f"The message attribute '{name}' must contain a non-empty value.")
        if kind == "Number" and not _NUMBER.fullmatch(attribute.value.decode("utf-8", "replace")):
            raise AwsError("ParameterValueInvalid", f"Could not cast message attribute '{name}' value to number.")


def _invalid(words: str) -> AwsError:
    return AwsError("InvalidParameter", f"Invalid parameter: {words}")
