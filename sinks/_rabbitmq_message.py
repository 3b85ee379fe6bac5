"""One message for RabbitMQ: what the caller writes, and the frames that are made of it, once, at `put`.

Before: `RabbitMQSink.put`. After: the channel, which puts its own number into the frames.
Sources: AMQP 0-9-1 specification; RabbitMQ's pages "Publishers", "Validated User-ID" and "Time-To-Live", November 2026.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from itertools import count
from struct import pack
from typing import TYPE_CHECKING, Any, Final, cast

from sinkwell.core import Encoded, InvalidRecord, RecordTooLarge

from ._encode import encoded
from ._extras import needs_extra
from ._json import json_text
from ._rabbitmq_fields import properties, seconds, short, table

with needs_extra("rabbitmq"):
    from pamqp.commands import Basic
    from pamqp.frame import marshal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

FRAME_OVERHEAD: Final = 8
"""Bytes that a frame adds to what it carries: its type, channel, size and end mark."""
_BASIC: Final = b"\x00\x3c\x00\x00"
_TRANSIENT, _PERSISTENT = b"\x01", b"\x02"
_ID_BYTES: Final = 32
_MOST_ROUTES: Final = 10_000
_MOST_PRIORITY: Final = 255
_MOST_MILLISECONDS: Final = 2**32 - 1
_TEXTS: Final = ("content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "type", "app_id")
# What the broker reads, and may close the channel over, whatever it holds: see Prepared.is_plain.
_RISKY: Final = frozenset({"expiration", "reply_to"})
_ROUTING: Final = frozenset({"CC", "BCC"})


@dataclass(slots=True, frozen=True)
class RabbitMQMessage:
    """A message with more than a body.

    Attributes:
        body: bytes, or text, which goes as UTF-8.
        routing_key: default: the sink's.
        headers: by name; text, bytes, numbers, datetimes, None, and lists and dicts of these.
        exchange: default: the sink's. One that does not exist, or is not for this user, rejects the message.
        message_id: for consumers that recognise duplicates; default: one of our own, the same in every attempt.
        content_type: as consumers agree on it; so are the next five.
        content_encoding: for example `gzip`.
        correlation_id: what it answers or belongs to.
        reply_to: the queue for answers.
        type: its kind.
        app_id: who sends it.
        expiration: seconds after which queues drop it.
        priority: 0 to 255, for priority queues.
        timestamp: with a time zone; AMQP keeps whole seconds.
        persistent: default: the sink's.
    """

    body: bytes | str
    routing_key: str | None = None
    headers: Mapping[str, Any] | None = None
    exchange: str | None = None
    message_id: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    type: str | None = None
    app_id: str | None = None
    expiration: float | None = None
    priority: int | None = None
    timestamp: datetime | None = None
    persistent: bool | None = None


class Prepared:
    """A message as its frames, but for the channel's number.

    Attributes:
        publish: the publish frame after the channel's number.
        header: the header frame after it.
        body: what the body frames carry.
        message_id: as it goes on the wire.
        exchange: where it goes; a missing one closes the channel.
        is_plain: nothing but its exchange and its size can make the broker close the channel.
        is_suspect: it closed a channel when it went alone, or may have: it goes alone again.
    """

    __slots__ = ("body", "exchange", "header", "is_plain", "is_suspect", "message_id", "publish")

    def __init__(  # noqa: PLR0917 - made for each record: keywords cost more than all else here
        self,
        publish: bytes,
        header: bytes,
        body: bytes,
        message_id: bytes,
        exchange: str,
        is_plain: bool,  # noqa: FBT001
    ) -> None:
        self.publish = publish
        self.header = header
        self.body = body
        self.message_id = message_id
        self.exchange = exchange
        self.is_plain = is_plain
        self.is_suspect = False


class Encoder:
    """Makes frames of records, for one sink.

    Args:
        exchange: where a message goes that does not say.
        routing_key: the same.
        encode: turns any other object into bytes, text or a message; `None` for JSON.
        persistent: whether messages outlive the broker, unless they say.
        mandatory: whether the broker returns what no queue takes.
        ordered: whether a routing key is a key whose order counts.
        max_message_bytes: the broker's own limit of a body.
    """

    def __init__(
        self,
        exchange: str,
        routing_key: str,
        *,
        encode: Callable[[object], object] | None,
        persistent: bool,
        mandatory: bool,
        ordered: bool,
        max_message_bytes: int,
    ) -> None:
        self._max_message_bytes = max_message_bytes
        # The broker's, once it is known: a header frame can't be split.
        self.frame_max = 131_072
        self._exchange = exchange
        self._routing_key = routing_key
        self._encode = encode
        self._mode = _PERSISTENT if persistent else _TRANSIENT
        self._mandatory = mandatory
        self._ordered = ordered
        self._publishes: dict[tuple[str, str], bytes] = {}
        self._publish = self._route(exchange, routing_key)
        self._key = (exchange, routing_key) if ordered else None
        self._plain = self._template({})
        self._json = self._template({"content_type": short("application/json", "content_type")})
        self._run = b""
        self.renew_ids()

    def renew_ids(self) -> None:
        """Begin a series of ids that nobody else has: no other process, though a fork, and none after a restart."""
        self._run = os.urandom(8).hex().encode()
        self._ids = count(1)

    def encode(self, record: object, /) -> Encoded:
        """Check a record and make its frames.

        Raises:
            InvalidRecord: AMQP has no form for it, or RabbitMQ would close the channel over it.
        """
        if isinstance(record, bytes):
            return self._body_only(record, self._plain)
        if isinstance(record, str):
            return self._body_only(_text(record), self._plain)
        if isinstance(record, RabbitMQMessage):
            return self._message(record)
        if isinstance(record, (bytearray, memoryview)):
            return self._body_only(bytes(cast("bytearray", record)), self._plain)
        if self._encode is None:
            return self._body_only(json_text(record).encode(), self._json)
        return self.encode(
            encoded(record, self._encode, (bytes, str, RabbitMQMessage), "bytes, str or RabbitMQMessage")
        )

    def _body_only(self, body: bytes, template: tuple[bytes, bytes]) -> Encoded:
        size = len(body)
        if size > self._max_message_bytes:
            raise self._too_large(size)
        message_id = b"%b%016x" % (self._run, next(self._ids))
        header = b"%b%b%b%b\xce" % (template[0], pack(">Q", size), template[1], message_id)
        prepared = Prepared(self._publish, header, body, message_id, self._exchange, True)  # noqa: FBT003 - its speed
        return Encoded(prepared, size + len(header) + len(self._publish), self._key)

    def _template(self, parts: dict[str, bytes]) -> tuple[bytes, bytes]:
        """Return the header frame of a message with a body only: what precedes the body's length, and what follows."""
        after = properties({**parts, "delivery_mode": self._mode, "message_id": b"\x20"})
        return pack(">I", len(_BASIC) + 8 + len(after) + _ID_BYTES) + _BASIC, after

    def _message(self, message: RabbitMQMessage) -> Encoded:
        body = _text(message.body) if isinstance(message.body, str) else message.body
        if not isinstance(body, (bytes, bytearray, memoryview)):
            raise InvalidRecord(f"a message's body must be bytes or str, not {type(body).__name__}")
        body = bytes(body)
        if len(body) > self._max_message_bytes:
            raise self._too_large(len(body))
        exchange = self._exchange if message.exchange is None else message.exchange
        routing_key = self._routing_key if message.routing_key is None else message.routing_key
        publish = self._route(exchange, routing_key)
        parts = _parts(message)
        if message.persistent is None:
            parts["delivery_mode"] = self._mode
        if message.message_id is None:
            parts["message_id"] = b"\x20%b%016x" % (self._run, next(self._ids))
        content = _BASIC + pack(">Q", len(body)) + properties(parts)
        if self.frame_max and len(content) + FRAME_OVERHEAD > self.frame_max:
            raise RecordTooLarge(
                f"properties and headers of {len(content):,} bytes are above what one AMQP frame holds "
                f"({self.frame_max - FRAME_OVERHEAD:,}): put them into the body"
            )
        header = pack(">I", len(content)) + content + b"\xce"
        is_plain = not _RISKY.intersection(parts) and not (message.headers and _ROUTING.intersection(message.headers))
        prepared = Prepared(publish, header, body, parts["message_id"][1:], exchange, is_plain)
        key = (exchange, routing_key) if self._ordered else None
        return Encoded(prepared, len(body) + len(header) + len(publish), key)

    def _route(self, exchange: str, routing_key: str) -> bytes:
        """Return the publish frame after its channel's number; the same bytes for all messages of one route."""
        found = self._publishes.get((exchange, routing_key))
        if found is not None:
            return found
        short(exchange, "exchange")
        short(routing_key, "routing_key")
        frame = marshal(Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=self._mandatory), 0)
        if len(self._publishes) >= _MOST_ROUTES:
            self._publishes.clear()
        tail = self._publishes[exchange, routing_key] = frame[3:]
        return tail

    def _too_large(self, size: int) -> RecordTooLarge:
        return RecordTooLarge(
            f"a body of {size:,} bytes is above max_message_bytes ({self._max_message_bytes:,}): split it, or store it "
            "elsewhere and send where"
        )


def _parts(message: RabbitMQMessage) -> dict[str, bytes]:
    """Return the properties that the message sets, each as AMQP bytes."""
    parts = {
        name: short(value, name) for name in _TEXTS if (value := getattr(message, name)) is not None and value != ""
    }
    if message.message_id == "":
        raise InvalidRecord("message_id is empty: leave it out to get one")
    if message.headers:
        parts["headers"] = table(message.headers, "headers")
    if message.persistent is not None:
        parts["delivery_mode"] = _PERSISTENT if message.persistent else _TRANSIENT
    if message.priority is not None:
        priority = message.priority
        if not isinstance(priority, int) or isinstance(priority, bool) or not 0 <= priority <= _MOST_PRIORITY:
            raise InvalidRecord(f"priority must be a whole number from 0 to {_MOST_PRIORITY}")
        parts["priority"] = bytes((priority,))
    if message.expiration is not None:
        parts["expiration"] = _milliseconds(message.expiration)
    if message.timestamp is not None:
        parts["timestamp"] = seconds(message.timestamp, "timestamp")
    return parts


def _milliseconds(value: object) -> bytes:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        milliseconds = round(value * 1000)
        if 0 <= milliseconds <= _MOST_MILLISECONDS:
            return short(str(milliseconds), "expiration")
    raise InvalidRecord(f"expiration must be a number of seconds from 0 to {_MOST_MILLISECONDS // 1000:,}")


def _text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidRecord("the text holds a lone surrogate, which has no UTF-8 form") from None
