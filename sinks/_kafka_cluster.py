"""The way to the brokers: one connection to each, who leads which partition, what a topic allows.

No task of its own and no timer: what is old is read again by the write that needs it.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ._kafka_client import BATCH_OVERHEAD, BROKEN, abort, configs_request, connect, metadata_request
from ._kafka_errors import KafkaError, Meaning, meaning_of, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._kafka_client import Connection
    from ._kafka_security import Security

# How old metadata may be, as in Java's client (metadata.max.age.ms): partitions may have been added.
_MAX_AGE: Final = 300.0
# How long connecting may take: of the attempt's time a part, so that another broker can still be asked if one does not
# answer; but not less than a slow one needs.
_CONNECTING_SHARE: Final = 0.4
_CONNECTING_SECONDS: Final = 1.0
# How much of an attempt may pass in the silence that a broker asked for; a longer one is waited for between attempts.
_SILENCE_SHARE: Final = 0.5
# How long what was closed is waited for, so that no socket outlives the sink.
_FAREWELL_SECONDS: Final = 1.0
# Brokers' own default of max.message.bytes, for those who may not read the topic's (Kafka 4 documentation).
_USUAL_LIMIT: Final = 1_048_588
_LIMITS: Final = ("max.message.bytes", "segment.bytes")


@dataclass(slots=True)
class Topic:
    """What is known of a topic.

    Attributes:
        name: its name.
        partitions: how many it has; 0 if it is not there.
        leaders: the broker that leads each partition, where there is one.
        max_batch_bytes: the most bytes a record batch may have.
        is_compacted: whether a record must have a key.
        is_stamped: whether records bear the time at which the broker appended them.
        code: why the brokers tell nothing of it.
        targets: each partition as the core knows it.
    """

    name: str
    partitions: int = 0
    leaders: dict[int, int] = field(default_factory=dict[int, int])
    max_batch_bytes: int = _USUAL_LIMIT
    is_compacted: bool = False
    is_stamped: bool = False
    code: int = 0
    targets: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    @property
    def room(self) -> int:
        """Bytes that a batch has for records."""
        return self.max_batch_bytes - BATCH_OVERHEAD


class _Broker:
    """One broker's place and connection."""

    __slots__ = ("connection", "door", "muted_until", "place")

    def __init__(self, place: tuple[str, int]) -> None:
        self.place = place
        self.connection: Connection | None = None
        # Whoever connects holds it; the others find the connection made.
        self.door = asyncio.Lock()
        # Until when the broker asked for silence.
        self.muted_until = 0.0


class Cluster:
    """The brokers of one sink.

    Args:
        servers: where to ask first.
        security: how to connect.
        topics: the topics' names.
        timeout: seconds that connecting may take.
    """

    def __init__(
        self, servers: Sequence[tuple[str, int]], security: Security, topics: Iterable[str], *, timeout: float
    ) -> None:
        self.topics = {name: Topic(name) for name in topics}
        self._servers = servers
        self._security = security
        self._timeout = timeout
        self._brokers: dict[int, _Broker] = {}
        self._reading: asyncio.Lock = asyncio.Lock()
        self._readings = 0
        self._read_at = float("-inf")
        self._closing: set[asyncio.Future[None]] = set()
        # Replaced, and perhaps not closed yet.
        self._retired: list[Connection] = []

    # --- what is known -----------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read who leads what; several that ask at once share one answer.

        Raises:
            KafkaError: no broker could be asked.
        """
        seen = self._readings
        async with self._reading:
            if self._readings == seen:
                self._learn(await self._ask_anyone(metadata_request(list(self.topics))))

    def forget_leaders(self) -> None:
        """Have the next write read them again."""
        self._read_at = float("-inf")

    async def read_if_old(self) -> None:
        """Read again what is too old."""
        if asyncio.get_running_loop().time() - self._read_at > _MAX_AGE:
            await self.read()

    def _learn(self, answer: Any) -> None:
        for node, host, port, *_ in answer.brokers:
            known = self._brokers.get(node)
            if known is None:
                self._brokers[node] = _Broker((host, port))
            elif known.place != (host, port):
                self._drop_broker(known)
                self._brokers[node] = _Broker((host, port))
        for code, name, _internal, partitions in answer.topics:
            topic = self.topics.get(name)
            if topic is None:
                continue
            topic.code = code
            topic.leaders = {number: leader for _, number, leader, *_ in partitions if leader >= 0}
            # Of a topic that is gone the number stays: what was accepted for it is to wait, as its keys say.
            topic.partitions = len(partitions) or topic.partitions
            topic.targets = [(name, number) for number in range(topic.partitions)]
        self._readings += 1
        self._read_at = asyncio.get_running_loop().time()

    async def read_limits(self, names: Iterable[str]) -> None:
        """Read what topics allow; where we may not, the brokers' usual limit counts.

        Raises:
            KafkaError: no broker could be asked.
        """
        wanted = (*_LIMITS, "cleanup.policy", "message.timestamp.type")
        answer = await self._ask_anyone(configs_request(list(names), wanted))
        for code, _message, _type, name, entries in answer.resources:
            found = {entry[0]: entry[1] for entry in entries}
            if code == 0 and name in self.topics:
                topic = self.topics[name]
                topic.max_batch_bytes = min((int(found[limit]) for limit in _LIMITS if limit in found), default=0)
                topic.max_batch_bytes = topic.max_batch_bytes or _USUAL_LIMIT
                topic.is_compacted = "compact" in (found.get("cleanup.policy") or "")
                topic.is_stamped = found.get("message.timestamp.type") == "LogAppendTime"

    # --- connections -------------------------------------------------------------------------------------------------

    async def to_leader(self, topic: str, partition: int) -> tuple[Connection, int]:
        """Connect to the partition's leader, once the broker's time of silence is over; also gives its number.

        Raises:
            KafkaError: there is no leader, or no way to it.
        """
        await self.read_if_old()
        leader = self.topics[topic].leaders.get(partition)
        if leader is None:
            await self.read()
            leader = self.topics[topic].leaders.get(partition)
        if leader is None:
            self.forget_leaders()
            code = self.topics[topic].code or 5
            raise refusal(f"{topic}[{partition}] has no leader", code)
        await self._keep_silence(leader)
        return await self.to(leader), leader

    async def _keep_silence(self, node: int) -> None:
        """Wait until a broker may be spoken to, if that is soon.

        Raises:
            KafkaError: it is not.
        """
        broker = self._brokers.get(node)
        while broker is not None:
            silence = broker.muted_until - asyncio.get_running_loop().time()
            if silence <= 0:
                return
            if silence > self._timeout * _SILENCE_SHARE:
                raise KafkaError(f"broker {node} asked for silence for {silence:.1f} s more", after=silence)
            await asyncio.sleep(silence)

    async def to(self, node: int) -> Connection:
        """Connect to a broker, or give the connection that there is.

        Raises:
            KafkaError: it can't be reached.
        """
        broker = self._brokers.get(node)
        if broker is None:
            self.forget_leaders()
            raise KafkaError(f"broker {node} is not known")
        async with broker.door:
            if broker.connection is not None and broker.connection.is_stale():
                self._retire(broker.connection)
                broker.connection = None
            if broker.connection is None or not broker.connection.connected():
                self._drop_broker(broker)
                try:
                    broker.connection = await self._connect(broker.place)
                except (KafkaError, asyncio.CancelledError):
                    # Also when it hangs until the attempt is over: by then another broker may lead.
                    self.forget_leaders()
                    raise
            return broker.connection

    def mute(self, node: int, seconds: float) -> None:
        """Send nothing to a broker for so long: it asked for it."""
        broker = self._brokers.get(node)
        if broker is not None:
            broker.muted_until = max(broker.muted_until, asyncio.get_running_loop().time() + seconds)

    async def ask(self, node: int | None, request: Any) -> Any:
        """Ask one broker, or any.

        Raises:
            KafkaError: it can't be reached, or did not answer.
        """
        if node is None:
            return await self._ask_anyone(request)
        return await self._ask(await self.to(node), request)

    def drop(self, connection: Connection) -> None:
        """Close a connection that can't be relied on."""
        for broker in self._brokers.values():
            if broker.connection is connection:
                broker.connection = None
        self._abort(connection)
        self.forget_leaders()

    async def aclose(self) -> None:
        """Close every connection."""
        for broker in self._brokers.values():
            self._drop_broker(broker)
        for connection in self._retired:
            self._abort(connection)
        if self._closing:
            await asyncio.wait(self._closing, timeout=_FAREWELL_SECONDS)

    async def _connect(self, place: tuple[str, int]) -> Connection:
        failure: KafkaError
        try:
            async with asyncio.timeout(max(self._timeout * _CONNECTING_SHARE, _CONNECTING_SECONDS)):
                return await connect(*place, timeout=self._timeout, options=self._security.options(place[0]))
        except BROKEN as error:
            # Bare: frames of the client hold the password.
            failure = KafkaError(f"no connection to {place[0]}:{place[1]}: {self._security.words_for(place[0], error)}")
            failure.__cause__ = error.with_traceback(None)
        raise failure

    async def _ask(self, connection: Connection, request: Any) -> Any:
        try:
            return await connection.send(request)
        except asyncio.CancelledError:
            self.drop(connection)
            raise
        except BROKEN as error:
            self.drop(connection)
            raise KafkaError(f"no answer: {type(error).__name__}: {error}") from error

    async def _ask_anyone(self, request: Any) -> Any:
        """Ask a broker that we are connected to, then any known one, then the servers that were named at first."""
        nodes = list(self._brokers)
        random.shuffle(nodes)
        nodes.sort(key=lambda node: self._brokers[node].connection is None)
        problem: KafkaError | None = None
        for node in nodes:
            try:
                return await self._ask(await self.to(node), request)
            except KafkaError as error:
                problem = error
        for place in self._servers:
            try:
                connection = await self._connect(place)
            except KafkaError as error:
                problem = error
                continue
            try:
                return await self._ask(connection, request)
            except KafkaError as error:
                problem = error
            finally:
                self._abort(connection)
        assert problem is not None, "there is at least one server"
        raise problem

    def _drop_broker(self, broker: _Broker) -> None:
        if broker.connection is not None:
            self._abort(broker.connection)
            broker.connection = None

    def _retire(self, connection: Connection) -> None:
        """Use a connection no more; what others have asked on it is still answered."""
        self._retired = [old for old in self._retired if old.connected()]
        self._retired.append(connection)
        connection.retire()

    def _abort(self, connection: Connection) -> None:
        closed = abort(connection)
        if closed is not None and not closed.done():
            self._closing.add(closed)
            closed.add_done_callback(self._closing.discard)


def check_code(where: str, code: int) -> None:
    """Raise what a code other than "none" stands for."""
    if meaning_of(code) is not Meaning.WRITTEN:
        raise refusal(where, code)
