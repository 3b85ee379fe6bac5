"""What users put and get back, and how many bytes a record takes in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import time_ns
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from sinkwell.core import InvalidRecord, Receipt, RecordTooLarge

from ._kafka_client import size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._kafka_cluster import Topic

Text: TypeAlias = "str | bytes"
Headers: TypeAlias = "Mapping[str, Text | None] | Sequence[tuple[str, Text | None]]"
Header: TypeAlias = "tuple[str, bytes | None]"

# How much longer a record is in a batch than alone: up to two bytes more for its place among a million, up to three
# for its time's distance from the first one's, one for its length.
GROWTH: Final = 6
MAX_RECORDS: Final = 1_000_000
NO_HEADERS: Final[list[Header]] = []
# A time that takes no more than seven bytes from any other; the year 10889.
_LAST_TIMESTAMP_MS: Final = 1 << 48


@dataclass(slots=True)
class KafkaRecord:
    """One record of a topic; what it holds is taken over when it is put.

    Attributes:
        value: text, bytes, or `None` for a tombstone; anything else goes through the sink's `encode`.
        key: records of one key go to one partition, in order.
        headers: names with text or bytes; a name may come twice in a list of pairs.
        partition: instead of the one that the key decides.
        timestamp_ms: when it happened, in milliseconds since 1970; default: when it was put.
        topic: another of the sink's topics.
    """

    value: object
    key: Text | None = None
    headers: Headers = ()
    partition: int | None = None
    timestamp_ms: int | None = None
    topic: str | None = None


@dataclass(slots=True, kw_only=True)
class KafkaReceipt(Receipt):
    """The record is in the topic, and on as many brokers as `acks` asks for.

    Attributes:
        topic: the topic's name.
        partition: the partition's number.
        offset: its place there; -1 if the broker only tells that it has the record already.
        timestamp_ms: the record's time, as consumers see it.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int


# A record as it goes into a batch, the builder's arguments first. One is made for every record, so it is a plain tuple,
# and without headers it holds no container: then the garbage collector does not walk it.
Payload: TypeAlias = "tuple[int, bytes | None, bytes | None, list[Header] | None, str, int]"
"""`timestamp_ms`, `key`, `value`, `headers`, `topic`, `partition`."""


def as_bytes(value: Any, what: str) -> bytes | None:
    """Turn text into bytes, and copy what could still be changed.

    Raises:
        InvalidRecord: it is neither, or text that has no UTF-8 form.
    """
    if value is None or type(value) is bytes:
        return value
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            pass
        raise InvalidRecord(f"{what} has a lone surrogate in it")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(cast("bytes", value))
    raise InvalidRecord(f"{what} must be str or bytes, not {type(value).__name__}")


def headers_of(headers: Any) -> list[Header]:
    """Check and encode headers.

    Raises:
        InvalidRecord: a name or a value is not of a form that Kafka has.
    """
    if not headers:
        return NO_HEADERS
    try:
        given: Any = headers.items() if isinstance(headers, Mapping) else headers  # pyright: ignore[reportUnknownVariableType]
        pairs: list[tuple[Any, Any]] = list(given)
        found = [(name, as_bytes(value, "a header's value")) for name, value in pairs]
    except (TypeError, ValueError):
        found = None
    if found is None or not all(isinstance(name, str) for name, _ in found):
        raise InvalidRecord("headers must be a mapping or a list of (name, value) pairs, with names of type str")
    for name, _ in found:
        as_bytes(name, "a header's name")
    return found


def timestamp_of(timestamp_ms: Any) -> int:
    """Check a time that the caller gave.

    Raises:
        InvalidRecord: it is no whole number of milliseconds.
    """
    if timestamp_ms is None:
        return time_ns() // 1_000_000
    if type(timestamp_ms) is not int or not 0 <= timestamp_ms < _LAST_TIMESTAMP_MS:
        raise InvalidRecord("timestamp_ms must be a whole number of milliseconds since 1970")
    return timestamp_ms


def size_alone(key: bytes | None, value: bytes | None, headers: list[Header]) -> int:
    """Bytes that a record adds to a batch as its first (protocol guide, "Record")."""
    # Its attributes, and its distances from the first one's time and place, which are 0: one byte each.
    body = 3 + size_of(key, value, headers)
    return body + (1 if body < 64 else 2 if body < 8192 else 3 if body < 1_048_576 else 4)  # noqa: PLR2004 - zigzag varint


def size_of_large(alone: int, topic: Topic) -> int:
    """Bytes to count for a record that may not fit beside another: all that a batch has.

    Raises:
        RecordTooLarge: it does not fit alone.
    """
    if alone > topic.room:
        raise RecordTooLarge(
            f"a record of {alone:,} bytes is above what the topic {topic.name} takes: {topic.room:,} in a batch of "
            f"{topic.max_batch_bytes:,} (max.message.bytes)"
        )
    return topic.room
