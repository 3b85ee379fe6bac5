"""Each batch a transaction: all of it, in whatever topics and partitions, is to be read, or nothing is.

Up to the word "commit" nothing counts: whatever goes wrong, what was begun is aborted and the entries go again; asking
for the producer id anew shuts out what may still be on its way. Only a commit without an answer leaves a doubt; it is
asked for again, under the same id, before anything else is done.

Who asked for an id last has it. Who had it before learns so at its next request, and writes no more.

Before: the destination. After: `send`, for each partition.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from sinkwell.core import BatchRefused, Rejected, Retry, Unknown

from ._kafka_client import add_partitions_request, coordinator_request, end_request, producer_id_request
from ._kafka_cluster import check_code
from ._kafka_errors import KafkaError, Meaning, meaning_of
from ._kafka_send import NO_PRODUCER, NotSentError, UnansweredError, build, send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinkwell.core import Delivered, Entry, Verdict

    from ._kafka_cluster import Cluster
    from ._kafka_record import KafkaReceipt, Payload
    from ._kafka_send import RecordBatch, Reply, Terms

# A transaction that just ended is still being written down; Java's client asks again after as long.
_PAUSE: Final = 0.02
_LAST_SEQUENCE: Final = 0x7FFFFFFF
_NOT_THE_COORDINATOR: Final = frozenset({15, 16})
_CONCURRENT_TRANSACTIONS: Final = 51
# The brokers know a younger producer of this id; 47 is what they called it before 2.7.
_FENCED: Final = frozenset({47, 90})
# They answer these to an abort when nothing is open.
_NOTHING_OPEN: Final = frozenset({48, 49})
# How long an attempt that failed may take to abort what it began; the next one, or the closing, tries again.
_ABORT_SECONDS: Final = 0.5


class _RefusedError(Exception):
    """A partition did not take its part."""

    def __init__(self, reply: Reply, batch: RecordBatch) -> None:
        super().__init__()
        self.reply = reply
        self.batch = batch


class TransactionWriter:
    """Writes batches over several partitions, one at a time.

    Args:
        cluster: the way to the brokers.
        terms: what all batches share, the transactional id among it.
        timeout: seconds after which the brokers abort what was left open.
    """

    def __init__(self, cluster: Cluster, terms: Terms, *, timeout: float) -> None:
        assert terms.transactional_id is not None
        self._cluster = cluster
        self._terms = terms
        self._id = terms.transactional_id
        self._timeout = timeout
        self._coordinator: int | None = None
        self._producer = NO_PRODUCER
        # Something went wrong under this producer: the next transaction needs another.
        self._is_spoilt = True
        # Since when a transaction may be open.
        self._open_since: float | None = None
        # Why nothing is written any more: another producer has the id.
        self._shut_out: KafkaError | None = None
        # By partition: how many records the broker has had from this producer.
        self._sequences: dict[tuple[str, int], int] = {}
        # What the commit without an answer is about.
        self._unsettled: dict[Entry, Delivered[KafkaReceipt]] = {}

    async def open(self) -> None:
        """Take over the id: a transaction that an earlier holder left open is aborted, and it is shut out.

        Raises:
            KafkaError: the brokers do not give it to us.
        """
        answer = await self._ask_coordinator(producer_id_request(self._id, int(self._timeout * 1000)))
        check_code(f"transactional_id {self._id!r}", answer.error_code)
        self._producer = answer.producer_id, answer.producer_epoch
        self._open_since = None
        self._is_spoilt = False
        self._sequences.clear()

    async def aclose(self) -> None:
        """Leave no transaction open if the brokers can be reached: readers would wait until it is too old."""
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(_ABORT_SECONDS):
                await self._abort()

    async def write(self, entries: Sequence[Entry]) -> list[Verdict[KafkaReceipt]]:
        """Write all of it in one transaction.

        Raises:
            BatchRefused: nothing counts, because of a record.
        """
        settled: dict[Entry, Verdict[KafkaReceipt]] = await self._settle(entries) if self._unsettled else {}
        left = [entry for entry in entries if entry not in settled]
        try:
            written = await self._transact(left) if left else {}
        except BatchRefused as refused:
            if not settled:
                raise
            # Not all of it: what is settled is there.
            written = dict.fromkeys(left, Retry(refused.__cause__ or refused))
        return [settled.get(entry) or written[entry] for entry in entries]

    async def _settle(self, entries: Sequence[Entry]) -> dict[Entry, Verdict[KafkaReceipt]]:
        mine = {entry: self._unsettled[entry] for entry in entries if entry in self._unsettled}
        error = await self._end() if mine else None
        if not mine or (error is not None and meaning_of(error.code or 0) is Meaning.PRODUCER):
            # Ended as UNKNOWN, all of it; or another holder of the id, or the time limit, has ended it some way. Nobody
            # tells which way, so none of it is written again.
            await self._give_up()
            return {entry: Unknown(error or KafkaError("its transaction was left"), is_final=True) for entry in mine}
        if error is not None:
            return {entry: Unknown(error) if entry in mine else Retry(error) for entry in entries}
        self._unsettled = {}
        for entry, delivered in mine.items():
            delivered.receipt.attempts = entry.attempts
        return {**mine}

    async def _transact(self, entries: Sequence[Entry]) -> dict[Entry, Verdict[KafkaReceipt]]:
        if self._shut_out is not None:
            return dict.fromkeys(entries, Rejected(self._shut_out))
        verdict: Retry | Rejected
        receipts: dict[Entry, Delivered[KafkaReceipt]] = {}
        try:
            await self._write_parts(entries, receipts)
        except _RefusedError as refused:
            await self._give_up()
            return await self._judge(entries, refused.reply, refused.batch)
        except NotSentError as failure:
            verdict = failure.as_retry(was_begun=bool(receipts))
        except UnansweredError as failure:
            verdict = Retry(failure.__cause__ or failure)
        except KafkaError as error:
            verdict = Rejected(error) if meaning_of(error.code or 0) is Meaning.SETUP else Retry(error)
        except asyncio.CancelledError:
            verdict = Retry(TimeoutError("given up before the commit: nothing of it counts"))
        else:
            return await self._commit(receipts)
        shut_out = await self._give_up()
        return dict.fromkeys(entries, verdict if shut_out is None else Rejected(shut_out))

    async def _commit(self, receipts: dict[Entry, Delivered[KafkaReceipt]]) -> dict[Entry, Verdict[KafkaReceipt]]:
        self._unsettled = receipts
        doubt = await self._end()
        if doubt is None:
            self._unsettled = {}
            return {**receipts}
        return dict.fromkeys(receipts, Unknown(doubt))

    async def _write_parts(self, entries: Sequence[Entry], receipts: dict[Entry, Delivered[KafkaReceipt]]) -> None:
        """Begin a transaction and write each partition's part into it; `receipts` tells how far that came."""
        if self._is_spoilt:
            await self._abort()
            await self.open()
        places = sorted(entries, key=_place_of)
        parts = {place: list(part) for place, part in groupby(places, key=_place_of)}
        await self._add_partitions(list(parts))
        for place, part in parts.items():
            left = part
            while left:
                sequence = self._sequences.get(place, 0)
                topic = self._cluster.topics[place[0]]
                batch = await build(self._terms, topic, place[1], left, self._producer, sequence)
                reply = await send(self._cluster, self._terms, batch)
                self._check_holder(reply.error.code)
                if reply.meaning is not Meaning.WRITTEN:
                    raise _RefusedError(reply, batch)
                self._sequences[place] = (sequence + len(batch.entries)) & _LAST_SEQUENCE
                topic.is_stamped = reply.timestamp_ms >= 0
                receipts.update(zip(batch.entries, batch.delivered(reply, is_stamped=topic.is_stamped), strict=True))
                left = left[len(batch.entries) :]

    async def _add_partitions(self, places: list[tuple[str, int]]) -> None:
        self._open_since = asyncio.get_running_loop().time()
        topics = [(topic, [number for _, number in some]) for topic, some in groupby(places, key=lambda p: p[0])]
        while True:
            answer = await self._ask_coordinator(add_partitions_request(self._id, self._producer, topics))
            codes = [code for _, partitions in answer.errors for _, code in partitions]
            if _CONCURRENT_TRANSACTIONS not in codes:  # else the one before is still being ended
                break
            await asyncio.sleep(_PAUSE)
        for code in codes:
            self._check_holder(code)
            check_code(f"transaction {self._id!r}", code)

    async def _end(self) -> KafkaError | None:
        """Commit; what speaks against its having happened, if anything does."""
        try:
            answer = await self._ask_coordinator(end_request(self._id, self._producer, commit=True))
            self._check_holder(answer.error_code)
            check_code(f"the commit of transaction {self._id!r}", answer.error_code)
        except KafkaError as error:
            return error
        except asyncio.CancelledError:
            return KafkaError(f"the commit of transaction {self._id!r} was not answered in time")
        self._open_since = None
        return None

    async def _judge(
        self, entries: Sequence[Entry], reply: Reply, batch: RecordBatch
    ) -> dict[Entry, Verdict[KafkaReceipt]]:
        """Say what one partition's refusal means for all: none of it counts, and who is to blame does not go again."""
        error = reply.error
        if reply.meaning is Meaning.LARGE and len(batch.entries) > 1:
            # The topic's limit was lowered: by the new one the next batches are built. No record is to blame.
            with suppress(KafkaError, asyncio.CancelledError):
                await self._cluster.read_limits([batch.topic])
            return dict.fromkeys(entries, Retry(error))
        blamed: frozenset[Entry]
        if reply.meaning is Meaning.SETUP or (
            reply.meaning in (Meaning.RECORD, Meaning.LARGE) and len(batch.entries) == 1
        ):
            blamed = frozenset(batch.entries)
        elif reply.meaning is Meaning.RECORD and reply.culprits:
            blamed = frozenset(batch.entries[index] for index in reply.culprits if 0 <= index < len(batch.entries))
        elif reply.meaning is Meaning.RECORD:
            raise BatchRefused from error
        else:
            blamed = frozenset()
        slow = reply.meaning is Meaning.THROTTLED
        return {entry: Rejected(error) if entry in blamed else Retry(error, throttled=slow) for entry in entries}

    def _check_holder(self, code: int | None) -> None:
        """See whether the id is still ours.

        Brokers answer the same to a producer whose transaction they ended themselves because it was open for too long:
        such a one asks for the id anew.

        Raises:
            KafkaError: another producer has it.
        """
        if code not in _FENCED:
            return
        since, self._open_since = self._open_since, None
        if since is None or asyncio.get_running_loop().time() - since < self._timeout:
            self._shut_out = KafkaError(
                f"another producer has taken over transactional_id {self._id!r} (PRODUCER_FENCED): this sink writes no "
                "more; give each sink an id of its own",
                code=code,
            )
            raise self._shut_out

    async def _abort(self) -> None:
        """End what may be open.

        Raises:
            KafkaError: no broker did so.
        """
        if self._open_since is None:
            return
        answer = await self._ask_coordinator(end_request(self._id, self._producer, commit=False))
        self._check_holder(answer.error_code)
        if answer.error_code not in _FENCED | _NOTHING_OPEN:
            check_code(f"the abort of transaction {self._id!r}", answer.error_code)
        self._open_since = None

    async def _give_up(self) -> KafkaError | None:
        """Abort what was begun, if that is soon done; the next transaction has another producer, or there is none."""
        self._is_spoilt = True
        self._unsettled = {}
        with suppress(asyncio.CancelledError):
            await self.aclose()
        return self._shut_out

    async def _ask_coordinator(self, request: Any) -> Any:
        """Ask the broker that runs this id's transactions, once it is found and ready."""
        while True:
            if self._coordinator is None:
                found = await self._cluster.ask(None, coordinator_request(self._id))
                if meaning_of(found.error_code) is not Meaning.LATER:
                    check_code(f"the coordinator of {self._id!r}", found.error_code)
                    self._coordinator = found.coordinator_id
            if self._coordinator is not None:
                try:
                    answer = await self._cluster.ask(self._coordinator, request)
                except KafkaError:
                    self._coordinator = None
                    raise
                code = getattr(answer, "error_code", 0)
                if meaning_of(code) is not Meaning.LATER:
                    return answer
                if code in _NOT_THE_COORDINATOR:
                    self._coordinator = None
            await asyncio.sleep(_PAUSE)


def _place_of(entry: Entry) -> tuple[str, int]:
    payload: Payload = entry.payload
    return payload[4], payload[5]
