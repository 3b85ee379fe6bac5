"""One record batch on its way: built, sent once, and what came back. Before: a writer. After: a connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sinkwell.core import Delivered, Retry

from ._kafka_client import BROKEN, Produce, new_builder
from ._kafka_errors import STALE_METADATA, KafkaError, Meaning, meaning_of, refusal
from ._kafka_record import NO_HEADERS, KafkaReceipt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinkwell.core import Entry

    from ._kafka_cluster import Cluster, Topic
    from ._kafka_record import Payload

NO_PRODUCER: Final = (-1, -1)
# Compressing more than this would hold up the event loop for too long.
_COMPRESSED_ASIDE_BYTES: Final = 32_768
# Of the attempt's time, so that the broker says itself that its followers were too slow.
_BROKERS_SHARE: Final = 0.8


# A receipt is made for every record: by its own __init__, which is Python's, that would take twice as long.
_new_receipt: Final = object.__new__


class NotSentError(Exception):
    """Nothing left for the broker; the cause says why."""

    def as_retry(self, *, was_begun: bool = False) -> Retry:
        """Give the verdict of what did not leave.

        Args:
            was_begun: whether something was sent in this attempt: then it was one.
        """
        error = self.__cause__ or self
        after = error.after if isinstance(error, KafkaError) else None
        is_asked_for = after is not None
        return Retry(error, throttled=is_asked_for, after=after, unsent=is_asked_for and not was_begun)


class UnansweredError(Exception):
    """It was sent, and no answer came; the cause says why."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Terms:
    """What all batches of a sink share."""

    acks: int
    codec_number: int
    transactional_id: str | None
    timeout: float


@dataclass(slots=True)
class RecordBatch:
    """Entries of one partition, in the bytes that are sent, as often as it takes."""

    topic: str
    partition: int
    entries: Sequence[Entry]
    data: bytes | bytearray

    def delivered(self, reply: Reply, *, is_stamped: bool) -> list[Delivered[KafkaReceipt]]:
        """Make a receipt for each entry.

        Args:
            reply: the broker's.
            is_stamped: whether the topic's times are the broker's. The reply alone does not tell: of a batch that it
                had already, a broker gives the latest of the records' own times.
        """
        topic, partition, offset = self.topic, self.partition, reply.offset
        appended_at = reply.timestamp_ms if is_stamped else -1
        step = 1 if offset >= 0 else 0
        delivered: list[Delivered[KafkaReceipt]] = []
        for entry in self.entries:
            receipt = _new_receipt(KafkaReceipt)
            receipt.attempts = entry.attempts
            receipt.topic = topic
            receipt.partition = partition
            receipt.offset = offset
            receipt.timestamp_ms = entry.payload[0] if appended_at < 0 else appended_at
            delivered.append(Delivered(receipt))
            offset += step
        return delivered


@dataclass(slots=True, frozen=True)
class Reply:
    """What the broker said of one record batch.

    Attributes:
        meaning: what became of it.
        error: the code and its words, if it was not written.
        offset: the first record's, if it was.
        timestamp_ms: when the broker appended it, where the topic's times are the broker's; else -1.
        culprits: the records that it names, by their place in the batch.
    """

    meaning: Meaning
    error: KafkaError
    offset: int
    timestamp_ms: int
    culprits: Sequence[int]


async def build(  # noqa: PLR0917 - what a batch is made of
    terms: Terms, topic: Topic, partition: int, entries: Sequence[Entry], producer: tuple[int, int], sequence: int
) -> RecordBatch:
    """Write as many of the entries as one batch of the topic holds, at least one."""
    builder = new_builder(
        codec_number=terms.codec_number,
        producer=producer,
        sequence=sequence,
        size=topic.max_batch_bytes,
        is_transactional=terms.transactional_id is not None,
    )
    append = builder.append
    size = count = 0
    for count, entry in enumerate(entries):
        payload: Payload = entry.payload
        if append(count, payload[0], payload[1], payload[2], payload[3] or NO_HEADERS) is None:
            break
        size += entry.size
    else:
        count = len(entries)
    if terms.codec_number and size > _COMPRESSED_ASIDE_BYTES:
        data = await asyncio.to_thread(builder.build)
    else:
        data = builder.build()
    return RecordBatch(topic.name, partition, entries if count == len(entries) else entries[:count], data)


async def send(cluster: Cluster, terms: Terms, batch: RecordBatch) -> Reply:
    """Send it to the partition's leader, once. A cancellation ends the attempt and is not raised again.

    Raises:
        NotSentError: there was no way to the leader.
        UnansweredError: the answer did not come, or does not speak of this batch.
    """
    topic, partition = batch.topic, batch.partition
    timeout_ms = max(1, int(terms.timeout * _BROKERS_SHARE * 1000))
    request = Produce(terms.transactional_id, terms.acks, timeout_ms, topic, [(partition, bytes(batch.data))])
    try:
        connection, leader = await cluster.to_leader(topic, partition)
        pending = connection.send(request)  # writes at once
    except asyncio.CancelledError:
        raise NotSentError from TimeoutError(f"no way to the leader of {topic}[{partition}] in time")
    except KafkaError as error:
        raise NotSentError from error
    except BROKEN as error:
        raise NotSentError from error
    try:
        answer = await pending
    except asyncio.CancelledError:
        cluster.drop(connection)
        raise UnansweredError from TimeoutError(f"{topic}[{partition}]: no answer in time")
    except BROKEN as error:
        cluster.drop(connection)
        lost = KafkaError(f"{topic}[{partition}]: no answer: {type(error).__name__}: {error}")
        raise UnansweredError from lost
    if answer.throttle_time_ms > 0:
        cluster.mute(leader, answer.throttle_time_ms / 1000)
    reply = _reply_in(answer, topic, partition)
    if reply.error.code in STALE_METADATA:
        cluster.forget_leaders()
    return reply


def _reply_in(answer: Any, topic: str, partition: int) -> Reply:
    found = [row for name, partitions in answer.topics if name == topic for row in partitions if row[0] == partition]
    if len(found) != 1:
        raise UnansweredError from KafkaError(f"{topic}[{partition}]: the answer speaks of it {len(found)} times")
    # partition, error_code, offset, timestamp; from v5 log_start_offset; from v8 record_errors and error_message.
    _, code, offset, timestamp, *more = found[0]
    errors: list[tuple[int, str | None]] = (more[1] if len(more) > 1 else None) or []
    message = more[2] if len(more) > 2 else None  # noqa: PLR2004 - see above
    culprits = [index for index, _ in errors]
    return Reply(meaning_of(code), refusal(f"{topic}[{partition}]", code, message), offset, timestamp, culprits)
