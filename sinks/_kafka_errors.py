"""What a broker's error code means for the batch that it answers. Source: the protocol guide's table, Kafka 4."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class KafkaError(Exception):
    """What the broker said, or what stood in its way.

    Attributes:
        code: the protocol's number; `None` where it was not the broker's answer.
        after: seconds for which the broker wants to hear nothing, where that is why.
    """

    def __init__(self, message: str, *, code: int | None = None, after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.after = after


class Meaning(Enum):
    """What became of a batch."""

    WRITTEN = auto()
    LARGE = auto()
    """Not written: it is above what the topic takes as a whole."""
    RECORD = auto()
    """Not written, because of a record in it."""
    SETUP = auto()
    """Not written, and never will be until a person mends something."""
    LATER = auto()
    """Not written, and may be later."""
    THROTTLED = auto()
    PRODUCER = auto()
    """Not written: the broker does not know this producer, or not its place in the sequence."""
    UNCLEAR = auto()
    """It may have been written."""


_NAMES: Final[dict[Meaning, str]] = {
    Meaning.WRITTEN: "0:NONE 46:DUPLICATE_SEQUENCE_NUMBER",
    Meaning.LARGE: "10:MESSAGE_TOO_LARGE 18:RECORD_LIST_TOO_LARGE",
    Meaning.RECORD: "32:INVALID_TIMESTAMP 87:INVALID_RECORD",
    Meaning.SETUP: """
        17:INVALID_TOPIC_EXCEPTION 21:INVALID_REQUIRED_ACKS 29:TOPIC_AUTHORIZATION_FAILED
        31:CLUSTER_AUTHORIZATION_FAILED 35:UNSUPPORTED_VERSION 42:INVALID_REQUEST 43:UNSUPPORTED_FOR_MESSAGE_FORMAT
        44:POLICY_VIOLATION 50:INVALID_TRANSACTION_TIMEOUT 53:TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        76:UNSUPPORTED_COMPRESSION_TYPE""",
    # Said before anything is appended: too few replicas are in step, or the bytes arrived damaged.
    Meaning.LATER: """
        2:CORRUPT_MESSAGE 5:LEADER_NOT_AVAILABLE 8:BROKER_NOT_AVAILABLE 9:REPLICA_NOT_AVAILABLE
        14:COORDINATOR_LOAD_IN_PROGRESS 15:COORDINATOR_NOT_AVAILABLE 16:NOT_COORDINATOR 19:NOT_ENOUGH_REPLICAS
        51:CONCURRENT_TRANSACTIONS 74:FENCED_LEADER_EPOCH 75:UNKNOWN_LEADER_EPOCH""",
    Meaning.THROTTLED: "89:THROTTLING_QUOTA_EXCEEDED",
    Meaning.PRODUCER: """
        45:OUT_OF_ORDER_SEQUENCE_NUMBER 47:INVALID_PRODUCER_EPOCH 48:INVALID_TXN_STATE 49:INVALID_PRODUCER_ID_MAPPING
        59:UNKNOWN_PRODUCER_ID 90:PRODUCER_FENCED 120:TRANSACTION_ABORTABLE""",
    # With acks=all a leader appends first and waits for the others then. If it loses the partition meanwhile, or the
    # topic is deleted, it answers these for a batch that it did append (Kafka's DelayedProduce).
    Meaning.UNCLEAR: """
        -1:UNKNOWN_SERVER_ERROR 3:UNKNOWN_TOPIC_OR_PARTITION 6:NOT_LEADER_OR_FOLLOWER 7:REQUEST_TIMED_OUT
        20:NOT_ENOUGH_REPLICAS_AFTER_APPEND 56:KAFKA_STORAGE_ERROR""",
}
_TABLE: Final = {
    int(number): (name, meaning)
    for meaning, names in _NAMES.items()
    for number, _, name in (item.partition(":") for item in names.split())
}
# They say that what is known of the leaders is old.
STALE_METADATA: Final = frozenset({3, 5, 6, 9, 56, 74, 75})
OUT_OF_ORDER: Final = 45


def meaning_of(code: int) -> Meaning:
    """Say what a code means; one that is not in the table may mean anything."""
    return _TABLE.get(code, ("", Meaning.UNCLEAR))[1]


def refusal(where: str, code: int, message: str | None = None) -> KafkaError:
    """Make the error that a code stands for."""
    name = _TABLE.get(code, (f"error {code}", None))[0]
    return KafkaError(f"{where}: {name}{f' ({message[:200]})' if message else ''}", code=code)
