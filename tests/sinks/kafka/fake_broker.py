"""A broker that does on command what a real one can't be made to do: any code, applied or not; lost and odd answers.

It keeps what Kafka keeps of idempotent producers: the sequence numbers of the last five batches of each, by partition.
Speaks ApiVersions 0, Metadata 5, DescribeConfigs 2, InitProducerId 0, Produce 8 and, always content, FindCoordinator,
AddPartitionsToTxn and EndTxn 0, in aiokafka's own message types.
"""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from aiokafka.protocol import admin, coordination, metadata, produce, transaction
from aiokafka.record import MemoryRecords

if TYPE_CHECKING:
    from collections.abc import Callable

_HEADER = struct.Struct(">qiibIhiqqqhii")
_KEYS = {0: (3, 8), 3: (5, 5), 10: (1, 1), 22: (0, 0), 24: (0, 0), 26: (0, 0), 32: (2, 2)}
_REMEMBERED = 5
DRIP_SECONDS = 0.02
# No broker says it of a batch that it has: it would know it by its sequence number. All else may be said before that
# is compared.
_OUT_OF_ORDER = 45


@dataclass
class Fault:
    """What happens to one produce request.

    Attributes:
        code: what is answered; 0 for the truth.
        is_applied: whether the batch is appended all the same.
        does: "answer", "drop" the connection, "hang", be "late", "omit" or "double" the partition, "garble" it.
        culprits: the records that the answer names.
        throttle_ms: how long the client is asked to wait.
    """

    code: int = 0
    is_applied: bool = True
    does: str = "answer"
    culprits: tuple[int, ...] = ()
    throttle_ms: int = 0


@dataclass
class Log:
    """One partition."""

    values: list[bytes] = field(default_factory=list)
    # By producer: base sequence, next sequence and offset of its last batches.
    producers: dict[tuple[int, int], deque[tuple[int, int, int]]] = field(default_factory=dict)

    def has(self, data: bytes) -> bool:
        """Tell whether a batch is there."""
        *_, producer_id, epoch, sequence, _ = _HEADER.unpack_from(data)
        known = self.producers.get((producer_id, epoch), ())
        return producer_id >= 0 and any(base == sequence for base, _, _ in known)

    def append(self, data: bytes) -> tuple[int, int]:
        """Append a batch, or find that it is there; the code and the first offset."""
        *_, producer_id, epoch, sequence, count = _HEADER.unpack_from(data)
        known = self.producers.setdefault((producer_id, epoch), deque(maxlen=_REMEMBERED))
        if producer_id >= 0:
            for base, following, offset in known:
                if base == sequence and following == sequence + count:
                    return 0, offset
            if known and sequence < known[-1][1]:
                return 46, -1
            if sequence != (known[-1][1] if known else 0):
                return 45, -1
        offset = len(self.values)
        known.append((sequence, sequence + count, offset))
        records = MemoryRecords(data)
        while (batch := records.next_batch()) is not None:
            assert batch.validate_crc()
            self.values += [bytes(record.value) for record in batch]
        return 0, offset


class FakeBroker:
    """`async with FakeBroker() as broker:`, then connect to `broker.place`, topic `events`."""

    def __init__(self, partitions: int = 1) -> None:
        self.logs = [Log() for _ in range(partitions)]
        self.faults: deque[Fault] = deque()
        # Asked for each produce request once the faults are used up.
        self.chance: Callable[[], Fault | None] = lambda: None
        self.produced = 0
        self.requests: dict[int, int] = defaultdict(int)
        self.limit = 1_048_588
        # By number: where the brokers are said to be. The first is this one; the others are whoever listens there.
        self.others: dict[int, int] = {}
        # By number: under what name, if not 127.0.0.1.
        self.hosts: dict[int, str] = {}
        self.leaders: dict[int, int] = {}
        self.producer_code = 0
        # Which requests, by their key, are answered a byte at a time.
        self.drips: set[int] = set()
        # How many commits or aborts get no answer.
        self.ends_dropped = 0
        self._next_producer = 100
        self.writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.place = f"127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Close every connection."""
        for writer in self.writers:
            writer.transport.abort()

    @property
    def values(self) -> list[bytes]:
        return [value for log in self.logs for value in log.values]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.writers.append(writer)
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                frame = await reader.readexactly(size)
                key, _version, correlation, client = struct.unpack_from(">hhih", frame)
                self.requests[key] += 1
                body = frame[10 + max(client, 0) :]
                answer = await self._answer(key, body)
                if answer is None:
                    break
                reply = struct.pack(">i", correlation) + answer
                whole = struct.pack(">i", len(reply)) + reply
                pieces = [whole[at : at + 1] for at in range(len(whole))] if key in self.drips else [whole]
                for piece in pieces:
                    writer.write(piece)
                    if len(pieces) > 1:
                        await asyncio.sleep(DRIP_SECONDS)
                        await writer.drain()  # raises when nobody listens any more
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _answer(self, key: int, body: bytes) -> bytes | None:
        if key == 0:
            return await self._produce(produce.ProduceRequest_v8.decode(body))
        if key == 18:
            versions = [(number, *versions) for number, versions in _KEYS.items()]
            return admin.ApiVersionResponse_v0(0, versions).encode()
        if key == 3:
            partitions = [(0, number, self.leaders.get(number, 1), [1], [1], []) for number in range(len(self.logs))]
            ports = {1: self.port, **self.others}
            brokers = [(number, self.hosts.get(number, "127.0.0.1"), port, None) for number, port in ports.items()]
            topics = [(0, "events", False, partitions)]
            return metadata.MetadataResponse_v5(0, brokers, "c", 1, topics).encode()
        if key == 22:
            self._next_producer += 1
            return transaction.InitProducerIdResponse_v0(0, self.producer_code, self._next_producer, 0).encode()
        if key == 10:
            return coordination.FindCoordinatorResponse_v1(0, 0, "", 1, "127.0.0.1", self.port).encode()
        if key == 24:
            return transaction.AddPartitionsToTxnResponse_v0(0, []).encode()
        if key == 26:
            self.ends_dropped -= 1
            return None if self.ends_dropped >= 0 else transaction.EndTxnResponse_v0(0, 0).encode()
        assert key == 32, key
        entry = ("max.message.bytes", str(self.limit), False, 5, False, [])
        return admin.DescribeConfigsResponse_v2(0, [(0, "", 2, "events", [entry])]).encode()

    async def _produce(self, request: Any) -> bytes | None:
        self.produced += 1
        fault = self.faults.popleft() if self.faults else self.chance() or Fault()
        ((topic, ((partition, data),)),) = request.topics
        if partition >= len(self.logs):
            fault = Fault(3, is_applied=False)
        if fault.code == _OUT_OF_ORDER and self.logs[partition].has(data):
            fault = Fault()
        code, offset = fault.code, -1
        if fault.is_applied:
            found, offset = (10, -1) if len(data) > self.limit else self.logs[partition].append(data)
            code, offset = code or found, -1 if code else offset
        if fault.does == "drop":
            return None
        if fault.does == "late":
            await asyncio.sleep(0.1)
        if fault.does == "hang":
            await asyncio.sleep(3600)
        row = (partition, code, offset, -1, 0, [(index, "bad") for index in fault.culprits], "words" if code else None)
        rows = {"omit": [], "double": [row, row]}.get(fault.does, [row])
        answer = produce.ProduceResponse_v8([(topic, rows)], fault.throttle_ms).encode()
        return answer[:7] if fault.does == "garble" else answer
