"""One partition's writes: one batch at a time, in order, under a producer id of its own.

The broker knows a batch by producer id and sequence number. So a batch whose answer is missing is sent again exactly as
it was, and the broker says of it either "written", once, or where it was written before. Only when that is known does
the next batch follow. Because every partition has an id of its own, one that can't be relied on any more (the broker
lost its place, or the fate of its last batch will never be known) is simply left, and a new one begun.

Before: the destination. After: `send`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sinkwell.core import BatchRefused, Rejected, Retry, Unknown

from ._kafka_client import producer_id_request
from ._kafka_cluster import check_code
from ._kafka_errors import OUT_OF_ORDER, KafkaError, Meaning, meaning_of
from ._kafka_send import NO_PRODUCER, NotSentError, RecordBatch, UnansweredError, build, send

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sinkwell.core import Delivered, Entry, Verdict

    from ._kafka_cluster import Cluster, Topic
    from ._kafka_record import KafkaReceipt
    from ._kafka_send import Reply, Terms

_LAST_SEQUENCE: Final = 0x7FFFFFFF


class PartitionWriter:
    """Writes to one partition.

    Args:
        cluster: the way to its leader.
        terms: what all batches share.
        topic: the partition's topic.
        number: its number there.
        is_idempotent: whether the broker is to recognise what it has already.
    """

    def __init__(self, cluster: Cluster, terms: Terms, topic: Topic, number: int, *, is_idempotent: bool) -> None:
        self._cluster = cluster
        self._terms = terms
        self._topic = topic
        self._number = number
        self._is_idempotent = is_idempotent
        # Who the broker takes us for, and how many records it has had from that one.
        self._producer: tuple[int, int] | None = None if is_idempotent else NO_PRODUCER
        self._sequence = 0 if is_idempotent else -1
        # Sent under `_sequence`, and its fate is not known. Nothing else may be sent before it is, or under another id.
        self._unsettled: RecordBatch | None = None

    async def write(self, entries: Sequence[Entry]) -> list[Verdict[KafkaReceipt]]:
        """Write entries in order, as a rule in one batch; what stands behind a failed one is not sent.

        Raises:
            BatchRefused: nothing was written, because of a record that the broker does not name.
        """
        verdicts: dict[Entry, Verdict[KafkaReceipt]] = {}
        left = entries
        if self._unsettled is not None:
            left = await self._settle(self._unsettled, left, verdicts)
        # Parts that are still to be sent, in order: one, unless the broker found it too large.
        parts: list[Sequence[Entry]] = [left] if left else []
        was_begun = False
        while parts:
            part = parts.pop(0)
            batch: RecordBatch | None = None
            try:
                batch = await self._build(part)
                if len(batch.entries) < len(part):
                    parts.insert(0, part[len(batch.entries) :])
                self._unsettled = batch if self._is_idempotent else None
                reply = await send(self._cluster, self._terms, batch)
            except NotSentError as failure:
                self._unsettled = None
                break_off = failure.as_retry(was_begun=was_begun)
                error = break_off.error
                if isinstance(error, KafkaError) and meaning_of(error.code or 0) is Meaning.SETUP:
                    _say(part, Rejected(error), verdicts)
            except UnansweredError as failure:
                break_off = Retry(failure.__cause__ or failure)
                _say(() if batch is None else batch.entries, Unknown(break_off.error), verdicts)
            else:
                if reply.meaning is Meaning.WRITTEN and not parts and not verdicts:
                    return self._all_written(batch, reply)
                parts = await self._judge(batch, reply, parts, verdicts)
                was_begun = True
                continue
            _say((entry for some in ([part], parts) for rest in some for entry in rest), break_off, verdicts)
            break
        return [verdicts[entry] for entry in entries]

    async def _build(self, entries: Sequence[Entry]) -> RecordBatch:
        """Get a producer id, if there is none, and build a batch under it."""
        try:
            if self._producer is None:
                self._producer = await new_producer(self._cluster)
                self._sequence = 0
            return await build(self._terms, self._topic, self._number, entries, self._producer, self._sequence)
        except asyncio.CancelledError:
            raise NotSentError from TimeoutError("no producer id in time: nothing was sent")
        except KafkaError as error:
            raise NotSentError from error

    async def _settle(
        self, batch: RecordBatch, entries: Sequence[Entry], verdicts: dict[Entry, Verdict[KafkaReceipt]]
    ) -> Sequence[Entry]:
        """Learn the fate of a batch that was sent before: send it again, as it was. Give what may follow it."""
        sent = set(batch.entries)
        mine = [entry for entry in entries if entry in sent]
        others = [entry for entry in entries if entry not in sent]
        if not mine:
            # All of it ended as UNKNOWN. It is not sent again after that was said; what follows has another id.
            self._renew()
            return others
        try:
            reply = await send(self._cluster, self._terms, batch)
        except NotSentError as failure:
            _say(entries, failure.as_retry(), verdicts)
            return []
        except UnansweredError as failure:
            error = failure.__cause__ or failure
            _say(mine, Unknown(error), verdicts)
            _say(others, Retry(error), verdicts)
            return []
        if reply.meaning is Meaning.WRITTEN:
            self._advance(batch)
            verdicts.update(zip(batch.entries, self._delivered(batch, reply), strict=True))
            return others
        is_known = reply.meaning in (Meaning.LATER, Meaning.THROTTLED) or reply.error.code == OUT_OF_ORDER
        is_left = reply.meaning not in (Meaning.LATER, Meaning.THROTTLED, Meaning.UNCLEAR)
        if is_left:
            # This answer is about the second sending; of the first it only proves something if the broker compared
            # sequence numbers: then that is not there, and it will be refused likewise if it still arrives. Any other
            # leaves its fate open for good: under a new producer id the broker would write it a second time.
            self._renew()
        slow = reply.meaning is Meaning.THROTTLED
        verdict = Retry(reply.error, throttled=slow) if is_known else Unknown(reply.error, is_final=is_left)
        _say(mine, verdict, verdicts)
        _say(others, Retry(reply.error, throttled=slow), verdicts)
        return []

    async def _judge(
        self,
        batch: RecordBatch,
        reply: Reply,
        behind: list[Sequence[Entry]],
        verdicts: dict[Entry, Verdict[KafkaReceipt]],
    ) -> list[Sequence[Entry]]:
        """Say what became of a batch that was sent for the first time; give the parts that are to be sent next."""
        entries, error = batch.entries, reply.error
        self._unsettled = batch if reply.meaning is Meaning.UNCLEAR and self._is_idempotent else None
        match reply.meaning:
            case Meaning.WRITTEN:
                verdicts.update(zip(entries, self._all_written(batch, reply), strict=True))
                return behind
            case Meaning.SETUP:
                _say(entries, Rejected(error), verdicts)
                return behind
            case Meaning.LARGE | Meaning.RECORD if len(entries) == 1:
                _say(entries, Rejected(error), verdicts)
                return behind
            case Meaning.LARGE if await self._can_read_limits():
                half = len(entries) // 2
                return [entries[:half], entries[half:], *behind]
            case Meaning.RECORD if any(0 <= index < len(entries) for index in reply.culprits):
                culprits = {entries[index] for index in reply.culprits if 0 <= index < len(entries)}
                _say(culprits, Rejected(error), verdicts)
                others = [entry for entry in entries if entry not in culprits]
                return [others, *behind] if others else behind
            case Meaning.RECORD if not verdicts and not behind:
                raise BatchRefused from error
            case Meaning.UNCLEAR:
                _say(entries, Unknown(error), verdicts)
            case Meaning.PRODUCER:
                self._renew()
                _say(entries, Retry(error), verdicts)
            case _:
                _say(entries, Retry(error, throttled=reply.meaning is Meaning.THROTTLED), verdicts)
        _say((entry for part in behind for entry in part), Retry(error), verdicts)
        return []

    async def _can_read_limits(self) -> bool:
        """Learn the topic's new limit, for the next batch; without it, halves will do. Not if cancelled."""
        try:
            await self._cluster.read_limits([self._topic.name])
        except KafkaError:
            return True
        except asyncio.CancelledError:
            return False
        return True

    def _all_written(self, batch: RecordBatch, reply: Reply) -> list[Verdict[KafkaReceipt]]:
        self._advance(batch)
        self._topic.is_stamped = reply.timestamp_ms >= 0
        return [*self._delivered(batch, reply)]

    def _delivered(self, batch: RecordBatch, reply: Reply) -> list[Delivered[KafkaReceipt]]:
        return batch.delivered(reply, is_stamped=self._topic.is_stamped)

    def _advance(self, batch: RecordBatch) -> None:
        self._unsettled = None
        if self._is_idempotent:
            self._sequence = (self._sequence + len(batch.entries)) & _LAST_SEQUENCE

    def _renew(self) -> None:
        """Leave the producer id: the next batch begins another."""
        self._unsettled = None
        if self._is_idempotent:
            self._producer = None


async def new_producer(cluster: Cluster) -> tuple[int, int]:
    """Get a producer id.

    Raises:
        KafkaError: no broker gave one.
    """
    answer = await cluster.ask(None, producer_id_request(None, 60_000))
    check_code("the producer id", answer.error_code)
    return answer.producer_id, answer.producer_epoch


def _say(
    entries: Iterable[Entry], verdict: Verdict[KafkaReceipt], verdicts: dict[Entry, Verdict[KafkaReceipt]]
) -> None:
    """Give all of them one verdict, but those that have one."""
    for entry in entries:
        verdicts.setdefault(entry, verdict)
