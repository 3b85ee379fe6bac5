"""How a `Sink` speaks Kafka. Before: the core's batch, of one partition. After: its writer, and the brokers."""

from __future__ import annotations

import asyncio
from time import time_ns
from typing import TYPE_CHECKING, Any, cast

from sinkwell.core import ConfigError, Encoded, InvalidRecord, Limits

from ._kafka_client import BATCH_OVERHEAD
from ._kafka_cluster import Cluster
from ._kafka_errors import KafkaError, Meaning, meaning_of, refusal
from ._kafka_partition import PartitionWriter, new_producer
from ._kafka_partitioner import Partitioner
from ._kafka_record import (
    GROWTH,
    MAX_RECORDS,
    NO_HEADERS,
    KafkaRecord,
    as_bytes,
    headers_of,
    size_alone,
    size_of_large,
    timestamp_of,
)
from ._kafka_transaction import TransactionWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sinkwell.core import Batch, Verdict

    from ._kafka_cluster import Topic
    from ._kafka_record import Header, KafkaReceipt, Payload
    from ._kafka_security import Security
    from ._kafka_send import Terms

# Fewer, larger batches are not faster; more bytes would only wait longer for a slow link.
_DEFAULT_RECORDS, _DEFAULT_BYTES = 10_000, 1_000_000

_START_PAUSE, _TOPIC_PATIENCE = 0.1, 0.5


class KafkaDestination:
    """Speaks Kafka for a `Sink`: each partition is a target, and a lane.

    Args:
        servers: where to ask for the brokers.
        topics: the topics; the first is that of records which name none.
        security: how to connect.
        terms: what all batches share.
        is_idempotent: whether brokers are to recognise what they have already.
        transaction_timeout: seconds after which brokers abort a transaction that was left open.
        max_bytes: how much a batch holds, if the policy says so.
        encode: makes bytes, text or a `KafkaRecord` of any other object.
    """

    def __init__(
        self,
        servers: Sequence[tuple[str, int]],
        topics: Sequence[str],
        *,
        security: Security,
        terms: Terms,
        is_idempotent: bool,
        transaction_timeout: float,
        max_bytes: int | None,
        encode: Callable[[Any], object],
    ) -> None:
        self._terms = terms
        self._is_idempotent = is_idempotent
        self._max_bytes = max_bytes
        self._encode = encode
        self._cluster = Cluster(servers, security, topics, timeout=terms.timeout)
        self._default = self._cluster.topics[topics[0]]
        self._partitioners: dict[str, Partitioner] = {}
        self._writers: dict[tuple[str, int], PartitionWriter] = {}
        self._transactions = (
            None
            if terms.transactional_id is None
            else TransactionWriter(self._cluster, terms, timeout=transaction_timeout)
        )
        self.name = f"kafka:{topics[0]}"
        self.limits = Limits(records=MAX_RECORDS, default_bytes=_DEFAULT_BYTES, default_records=_DEFAULT_RECORDS)

    def __repr__(self) -> str:
        """Return its name: settings may hold credentials."""
        return f"<KafkaDestination {self.name}>"

    async def open(self) -> None:
        """Find the brokers, read the topics and their limits, and ask for the right to write.

        Raises:
            ConfigError: the brokers are out of reach, or a topic is missing or not for us.
        """
        try:
            async with asyncio.timeout(self._terms.timeout):
                await self._prepare()
        except TimeoutError:
            problem: Exception = KafkaError(f"no answer within {self._terms.timeout} s")
        except KafkaError as error:
            problem = error
        else:
            return
        # Raised out here: frames of the client hold the password.
        raise ConfigError(f"{self.name}: {problem}") from problem

    async def _prepare(self) -> None:
        cluster = self._cluster
        await self._find_topics()
        await cluster.read_limits(cluster.topics)
        most = max(topic.room for topic in cluster.topics.values())
        self.limits = Limits(
            records=MAX_RECORDS,
            bytes=most,
            default_records=_DEFAULT_RECORDS,
            default_bytes=min(most, _DEFAULT_BYTES),
        )
        for topic in cluster.topics.values():
            full = min(topic.room, self._max_bytes or _DEFAULT_BYTES)
            self._partitioners[topic.name] = Partitioner(topic, full_bytes=full)
        if self._transactions is not None:
            await self._transactions.open()
        elif self._is_idempotent:
            await self._try_producer()

    async def _find_topics(self) -> None:
        """See that all topics are there; one that was just made may need a moment to be known everywhere."""
        loop = asyncio.get_running_loop()
        patience = loop.time() + _TOPIC_PATIENCE
        while True:
            await self._cluster.read()
            missing = [topic for topic in self._cluster.topics.values() if not topic.partitions]
            if not missing:
                return
            if loop.time() > patience or meaning_of(missing[0].code) is Meaning.SETUP:
                raise refusal(
                    f"the topic {missing[0].name} can't be written to (none is created: see its name, and your rights)",
                    missing[0].code,
                )
            await asyncio.sleep(_START_PAUSE)

    async def _try_producer(self) -> None:
        """See whether we may write at all; a cluster that has just started needs a moment."""
        while True:
            try:
                await new_producer(self._cluster)
            except KafkaError as error:
                if error.code is None or meaning_of(error.code) is not Meaning.LATER:
                    raise
                await asyncio.sleep(_START_PAUSE)
            else:
                return

    def encode(self, record: Any, /) -> Encoded:
        """Make bytes of a record, choose its partition, and count what it takes there.

        Raises:
            InvalidRecord: Kafka would refuse it.
        """
        kind = cast("type[object]", type(record))
        if kind is not KafkaRecord:
            value: Any = record if kind is bytes else self._value_of(record)
            if type(value) is not KafkaRecord:
                return self._place(self._default, None, None, cast("bytes", value), NO_HEADERS, time_ns() // 1_000_000)
            record = value
        topic = self._default if record.topic is None else self._topic_named(record.topic)
        value, key, headers = record.value, record.key, record.headers
        if type(value) is not bytes and value is not None:
            value = self._value_of(value)
            if isinstance(value, KafkaRecord):
                raise InvalidRecord("encode= gave a KafkaRecord for the value of a KafkaRecord")
        if type(key) is not bytes and key is not None:
            key = as_bytes(key, "a record's key")
        when = time_ns() // 1_000_000 if record.timestamp_ms is None else timestamp_of(record.timestamp_ms)
        return self._place(topic, record.partition, key, value, headers_of(headers) if headers else NO_HEADERS, when)

    def _place(  # noqa: PLR0917 - the parts of a record
        self,
        topic: Topic,
        partition: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: list[Header],
        timestamp_ms: int,
    ) -> Encoded:
        size = size_alone(key, value, headers) + GROWTH
        if size > topic.max_batch_bytes - BATCH_OVERHEAD:
            size = size_of_large(size - GROWTH, topic)
        name = topic.name
        if partition is not None:
            if type(partition) is not int or not 0 <= partition < topic.partitions:
                raise InvalidRecord(f"the topic {name} has partitions 0 to {topic.partitions - 1}")
        elif key is not None:
            partition = self._partitioners[name].of_key(key)
        else:
            partition = self._partitioners[name].next_for(size)
        if key is None and topic.is_compacted:
            raise InvalidRecord(f"the topic {name} is compacted: each record needs a key")
        payload: Payload = (timestamp_ms, key, value, headers or None, name, partition)
        if self._transactions is not None:
            return Encoded(payload, size, 0, None)
        return Encoded(payload, size, partition, topic.targets[partition])

    def _topic_named(self, name: str) -> Topic:
        topic = self._cluster.topics.get(name)
        if topic is None:
            known = ", ".join(self._cluster.topics)
            raise InvalidRecord(f"the topic {name} is not one of this sink's ({known}): name it in topics=")
        return topic

    async def write(self, batch: Batch, /) -> Sequence[Verdict[KafkaReceipt]]:
        """Write one batch: to one partition, or as one transaction.

        Raises:
            BatchRefused: nothing was written, because of one record.
        """
        if self._transactions is not None:
            return await self._transactions.write(batch.entries)
        target = cast("tuple[str, int]", batch.target)
        writer = self._writers.get(target)
        if writer is None:
            topic = self._cluster.topics[target[0]]
            writer = PartitionWriter(self._cluster, self._terms, topic, target[1], is_idempotent=self._is_idempotent)
            self._writers[target] = writer
        self._partitioners[target[0]].batch_left(target[1])
        return await writer.write(batch.entries)

    async def aclose(self) -> None:
        """Close the connections."""
        try:
            if self._transactions is not None:
                await self._transactions.aclose()
        finally:
            await self._cluster.aclose()

    def _value_of(self, value: object) -> bytes | KafkaRecord | None:
        if isinstance(value, (str, bytes, bytearray, memoryview)):
            return as_bytes(value, "a record's value")
        try:
            converted = self._encode(value)
        except InvalidRecord:
            raise
        except Exception as error:
            raise InvalidRecord(f"encode= failed ({type(error).__name__}) for a {type(value).__name__}") from error
        if isinstance(converted, KafkaRecord):
            return converted
        if isinstance(converted, (str, bytes)):
            return as_bytes(converted, "a record's value")
        raise InvalidRecord(f"encode= must return str, bytes or KafkaRecord, not {type(converted).__name__}")
