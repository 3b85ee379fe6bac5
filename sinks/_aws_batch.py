"""What the destinations of SQS and SNS have in common: other objects as messages, and one entry's part of an answer.

Before: `encode` and `write` of `_sqs_destination`, `_sns_destination`. After: a message, or a verdict. `to` is the
queue or topic; its `str` begins every sentence.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from sinkwell.core import BatchRefused, Delivered, InvalidRecord, Policy, Receipt, Rejected, Retry, Unknown, Verdict

from ._aws_verdicts import AwsError, Meaning, short, throttled
from ._encode import encoded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

M = TypeVar("M")
P = TypeVar("P")
R = TypeVar("R", bound=Receipt)
Judge: TypeAlias = "Callable[[Exception, Mapping[str, Meaning], str], Retry | Rejected | Unknown]"

# SQS and SNS forget a deduplication id after five minutes ("Exactly-once processing", SQS developer guide; "Message
# deduplication for FIFO topics", SNS developer guide; November 2026); the margin is for the last attempt's time on the
# way and for clocks.
_FIFO_DELIVERY_TIMEOUT = 290.0


def converted(record: object, encode: Callable[[object], object], message_type: type[M], to: object) -> str | M:
    """Turn an object that is no message into one, or into text.

    Raises:
        InvalidRecord: that can't be done.
    """
    if isinstance(record, (bytes, bytearray, memoryview)):
        raise InvalidRecord(f"{to} takes text, not bytes: decode them, or send them as Base64")
    kinds: tuple[type[str | M], ...] = (str, message_type)
    return encoded(record, encode, kinds, f"str or {message_type.__name__}")


def retries_too_long(policy: Policy, to: object, service: str) -> str | None:
    """Say what is wrong if a retry to a FIFO queue or topic could come after its deduplication id is forgotten."""
    if policy.delivery_timeout <= _FIFO_DELIVERY_TIMEOUT:
        return None
    return (
        f"delivery_timeout ({policy.delivery_timeout!r}) must not be above {_FIFO_DELIVERY_TIMEOUT!r} "
        f"for {to}: {service} recognises a repeated message for five minutes only"
    )


def before_sending(judge: Judge, error: Exception, known: Mapping[str, Meaning], to: object) -> Retry | Rejected:
    """Judge a failure to read a queue's or topic's attributes: the messages themselves were not sent."""
    try:
        verdict = judge(error, known, str(to))
    except BatchRefused as refused:
        return Rejected(refused.__cause__ or refused)
    return Retry(verdict.error) if isinstance(verdict, Unknown) else verdict


async def read_first(
    judge: Judge, reading: Awaitable[P], known: Mapping[str, Meaning], to: object
) -> P | Retry | Rejected:
    """Wait for the attributes of a queue or topic that is written to for the first time, or say why nothing was sent.

    Cancelled: the attempt's time is up.
    """
    try:
        return await reading
    except asyncio.CancelledError:
        return Retry(TimeoutError(f"{to}: its attributes were not read in time, nothing was sent"))
    except Exception as error:  # noqa: BLE001 - every one is judged, and none keeps its frames
        return before_sending(judge, error, known, to)


def entry_verdict(
    item: Mapping[str, object] | None,
    known: Mapping[str, Meaning],
    to: object,
    receipt: Callable[..., R],
    attempts: int,
) -> Verdict[R]:
    """Judge one entry by what the answer says of it.

    The cases: (1) nothing, or nothing clear; (2) the service has it; (3) it has not, and not by the entry's fault, or
    its key service asks for patience; (4) it has not and never will.

    Args:
        item: the entry's part of the answer, as `entries_named` gives it.
        known: the service's error codes.
        to: the queue or topic.
        receipt: its class, of which a receipt is made with the message's id and sequence number.
        attempts: the entry's.
    """
    if item is None:
        return Unknown(AwsError(f"{to}: the answer does not tell what became of the message", code="Unanswered"))
    if item["Delivered"]:
        message_id, number = item.get("MessageId"), item.get("SequenceNumber")
        if not isinstance(message_id, str) or not message_id:
            return Unknown(AwsError(f"{to}: the answer has no id for the message", code="Unanswered"))
        sequence_number = number if isinstance(number, str) else None
        return Delivered(receipt(message_id=message_id, sequence_number=sequence_number, attempts=attempts))
    code = short(item.get("Code", "no code"))
    said = AwsError(f"{to} refused a message ({code}): {short(item.get('Message', ''))}", code=code)
    slow = throttled(code, known)
    if slow or item.get("SenderFault") is not True:
        return Retry(said, throttled=slow)
    return Rejected(said)
