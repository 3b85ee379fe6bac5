"""All that is used of aiokafka: its connections, its message types and its batch builder, not its producer.

Its producer retries on its own, never gives up on an idempotent batch, and leaves a gap in the sequence after a failed
one. A connection of it sends one request and gives one answer, and that is what a destination needs.
"""
# pyright: reportMissingTypeStubs=false
# aiokafka ships no types; what is used of it is given ours here.

from __future__ import annotations

import asyncio
import struct
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from ._extras import needs_extra

with needs_extra("kafka"):
    from aiokafka import codec, errors
    from aiokafka.abc import AbstractTokenProvider
    from aiokafka.conn import AIOKafkaConnection
    from aiokafka.protocol import admin, coordination, metadata, produce, transaction
    from aiokafka.record.default_records import DefaultRecordBatchBuilder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

CODECS: Final[dict[str, tuple[int, Callable[[], bool]]]] = {
    "gzip": (1, codec.has_gzip),
    "snappy": (2, codec.has_snappy),
    "lz4": (3, codec.has_lz4),
    "zstd": (4, codec.has_zstd),
}
"""By name: the number in a batch's attributes, and whether what it needs is installed."""

BATCH_OVERHEAD: Final = 61
"""Bytes of a record batch before its first record (Kafka protocol guide, "Record Batch")."""

size_of = cast(
    "Callable[[bytes | None, bytes | None, list[tuple[str, bytes | None]]], int]",
    cast("Any", DefaultRecordBatchBuilder).size_of,
)
"""Bytes of a record's key, value and headers with their lengths."""

TokenProvider = cast("type[Any]", AbstractTokenProvider)

# What a connection raises when it, and not the broker's answer, is at fault.
BROKEN: Final[tuple[type[Exception], ...]] = (cast("type[Exception]", errors.KafkaError), OSError, TimeoutError)
NO_SUCH_LOGIN: Final = cast(
    "tuple[type[Exception], ...]", (errors.UnsupportedSaslMechanismError, errors.IllegalSaslStateError)
)

CLOSED: Final = cast("type[Exception]", errors.KafkaConnectionError)


def _unshown(_request: object) -> str:
    return "<a request>"


class _Unshown:
    """A request that looks like nothing in aiokafka's log."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:
        """Choose the version; a connection calls this."""
        made = self._request.prepare(versions)
        made.__class__ = type("Unshown", (cast("type[object]", type(made)),), {"__repr__": _unshown})
        return made


# aiokafka logs each request: those with records in them hide these.
_PRODUCE: Final[dict[int, Any]] = {
    version: type("Produce", (getattr(produce, f"ProduceRequest_v{version}"),), {"__repr__": _unshown})
    for version in range(3, 9)
}

_CLOSING_SECONDS: Final = 0.1
LONGEST_ANSWER: Final = 64 << 20
"""Bytes; what announces more is no broker, or was damaged on its way."""


# Brokers close a connection that was idle for ten minutes (connections.max.idle.ms), and at its next request one whose
# login is older than they allow (connections.max.reauth.ms). What is sent then has no answer, so it is replaced before,
# after as long as in Java's client.
_MAX_IDLE_SECONDS: Final = 540.0
_LOGIN_SHARE: Final = 0.85


class _Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's, but its log shows no password, no answer fills the memory, and it knows when it is to be replaced."""

    _used_at = 0.0
    # Until when the login counts; for ever where the broker does not say.
    _known_until = float("inf")
    _is_leaving = False

    def send(self, request: Any, expect_response: bool = True) -> Any:  # noqa: FBT001, FBT002 - aiokafka's signature
        """Write a request at once, and give its answer."""
        self._used_at = monotonic()
        if isinstance(request, admin.SaslAuthenticateRequest):
            return self._log_in(request)
        return cast("Any", super()).send(request, expect_response)

    async def _log_in(self, request: Any) -> Any:
        answer = await cast("Any", super()).send(_Unshown(request))
        lifetime_ms: int = getattr(answer, "session_lifetime_ms", 0)
        if lifetime_ms > 0:
            self._known_until = self._used_at + lifetime_ms / 1000 * _LOGIN_SHARE
        return answer

    def is_stale(self) -> bool:
        """Tell whether the broker may close it soon."""
        now = monotonic()
        return now >= self._known_until or now - self._used_at >= _MAX_IDLE_SECONDS

    def retire(self) -> None:
        """Close it once all that was asked has its answer."""
        self._is_leaving = True
        self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._is_leaving and not cast("Any", self)._requests:  # noqa: SLF001 - of the class that this one extends
            cast("Any", self).close()

    @staticmethod
    async def _read(self_ref: Callable[[], Any]) -> None:
        connection = self_ref()
        reader = None if connection is None else connection._reader  # noqa: SLF001 - of a class that this one extends
        del connection  # one that nobody holds any more can be collected
        while reader is not None:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            if not 0 <= size <= LONGEST_ANSWER:
                raise ConnectionError(f"an answer announced itself as {size:,} bytes long")
            frame = await reader.readexactly(size)
            connection = self_ref()
            if connection is None:
                return
            connection._handle_frame(frame)  # noqa: SLF001 - see above
            connection._leave_if_done()  # noqa: SLF001 - see above
            del connection


_TOPIC: Final = 2
_TRANSACTION: Final = 1


class Connection(Protocol):
    """A connection to one broker."""

    def connected(self) -> bool:
        """Tell whether it is open, as far as is known."""
        ...

    def is_stale(self) -> bool:
        """Tell whether the broker may close it soon."""
        ...

    def send(self, request: Any) -> Awaitable[Any]:
        """Write a request at once, and give its answer."""
        ...

    def retire(self) -> None:
        """Close it once all that was asked has its answer."""
        ...

    def close(self) -> asyncio.Future[None] | None:
        """Close it; what waits for an answer gets an error."""
        ...


class Builder(Protocol):
    """Writes records into one record batch."""

    def append(
        self,
        offset: int,
        timestamp: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
    ) -> object | None:
        """Add a record; `None` if the batch has no room for it."""
        ...

    def build(self) -> bytearray:
        """Compress what was added and write the header."""
        ...


class Produce:
    """One record batch for one partition, in the newest form that both sides know; from version 8 on, answers say
    which record is at fault.
    """  # noqa: D205 - one sentence

    __slots__ = ("_fields",)

    def __init__(
        self, transactional_id: str | None, acks: int, timeout_ms: int, topic: str, batches: Sequence[tuple[int, bytes]]
    ) -> None:
        self._fields = (transactional_id, acks, timeout_ms, [(topic, list(batches))])

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Any:
        """Choose the version; a connection calls this."""
        least, most = versions[0]
        if most < min(_PRODUCE) or least > max(_PRODUCE):
            raise errors.IncompatibleBrokerVersion(f"the broker speaks produce versions {least} to {most}")
        return _PRODUCE[min(most, max(_PRODUCE))](*self._fields)


async def connect(host: str, port: int, *, timeout: float, options: Mapping[str, Any]) -> Connection:
    """Open a connection: TCP, TLS, the broker's versions, SASL."""
    connection = _Connection(
        host, port, client_id="sinkwell", request_timeout_ms=max(1, int(timeout * 1000)), **options
    )
    try:
        await connection.connect()
    except BaseException:
        # aiokafka closes what it can't use, and does not wait: the loop may end before its socket does.
        if getattr(connection, "_protocol", None) is not None:
            closed = cast("asyncio.Future[None]", cast("Any", connection).close())
            await asyncio.wait([closed], timeout=_CLOSING_SECONDS)
        raise
    return cast("Connection", connection)


def abort(connection: Connection) -> asyncio.Future[None] | None:
    """Close at once: what was not sent yet never will be, whatever the other side does."""
    writer = getattr(connection, "_writer", None)
    if writer is not None:
        writer.transport.abort()
    return connection.close()


def new_builder(
    *, codec_number: int, producer: tuple[int, int], sequence: int, size: int, is_transactional: bool
) -> Builder:
    """Make a builder for a batch of at most `size` bytes before compression."""
    return cast(
        "Builder",
        cast("Any", DefaultRecordBatchBuilder)(2, codec_number, int(is_transactional), *producer, sequence, size),
    )


def metadata_request(topics: Sequence[str]) -> Any:
    """Ask who leads the partitions of some topics; a topic that is missing is not created."""
    return cast("Any", metadata.MetadataRequest)(list(topics), allow_auto_topic_creation=False)


def configs_request(topics: Sequence[str], names: Sequence[str]) -> Any:
    """Ask for settings of some topics."""
    return cast("Any", admin.DescribeConfigsRequest)([(_TOPIC, topic, list(names)) for topic in topics])


def producer_id_request(transactional_id: str | None, timeout_ms: int) -> Any:
    """Ask for a producer id; with a transactional id, this ends what an earlier holder of it left open."""
    return cast("Any", transaction.InitProducerIdRequest)(transactional_id, timeout_ms)


def coordinator_request(transactional_id: str) -> Any:
    """Ask which broker runs the transactions of an id."""
    return cast("Any", coordination.FindCoordinatorRequest)(transactional_id, _TRANSACTION)


def add_partitions_request(
    transactional_id: str, producer: tuple[int, int], topics: Sequence[tuple[str, list[int]]]
) -> Any:
    """Take partitions into the transaction."""
    return cast("Any", transaction.AddPartitionsToTxnRequest)(transactional_id, *producer, list(topics))


def end_request(transactional_id: str, producer: tuple[int, int], *, commit: bool) -> Any:
    """Commit or abort the transaction."""
    return cast("Any", transaction.EndTxnRequest)(transactional_id, *producer, commit)
