"""A broker that answers as a test says: AMQP 0-9-1 by pamqp's frames, as much of it as a publisher needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Confirm, Connection, Exchange
from pamqp.frame import frame_parts, marshal, unmarshal
from pamqp.header import ContentHeader

if TYPE_CHECKING:
    import ssl


@dataclass
class Received:
    """One publish as it came."""

    talk: Talk
    channel: int
    tag: int
    routing_key: str
    message_id: str
    body: bytes

    def ack(self, tag: int | None = None, *, multiple: bool = False) -> None:
        self.talk.send(Basic.Ack(self.tag if tag is None else tag, multiple), self.channel)

    def nack(self, *, multiple: bool = False) -> None:
        self.talk.send(Basic.Nack(self.tag, multiple), self.channel)

    def give_back(self) -> None:
        self.talk.send(Basic.Return(312, "NO_ROUTE", "", self.routing_key), self.channel)
        properties = Basic.Properties(message_id=self.message_id)
        self.talk.send(ContentHeader(body_size=len(self.body), properties=properties), self.channel)
        if self.body:
            self.talk.send(ContentBody(self.body), self.channel)

    def close_channel(self, code: int, text: str) -> None:
        self.talk.closing.add(self.channel)
        self.talk.send(Channel.Close(code, text, 60, 40), self.channel)


Answer = Callable[[Received], object]


class FakeBroker:
    """`answer` is called with each publish; `login` says how each connection is taken: by OpenOk or a Close.

    Attributes:
        received: Every publish of every connection, in order.
        chunks: How many publishes each read from the socket held.
        channels: Channels opened so far.
    """

    def __init__(self) -> None:
        self.answer: Answer = Received.ack
        self.login: Callable[[], Any] = Connection.OpenOk
        self.greeting: bytes | None = None
        self.received: list[Received] = []
        self.chunks: list[int] = []
        self.talks: list[Talk] = []
        self.channels = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"amqp://user:secret@127.0.0.1:{self.port}/"

    async def start(self, tls: ssl.SSLContext | None = None) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self.talks:
            talk.writer.transport.abort()
        await asyncio.gather(*(talk.task for talk in self.talks), return_exceptions=True)

    def bodies(self) -> list[bytes]:
        return [message.body for message in self.received]

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talk = Talk(self, writer, task)
        self.talks.append(talk)
        with suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(1 << 20):
                before = len(self.received)
                talk.take(data)
                if len(self.received) > before:
                    self.chunks.append(len(self.received) - before)
        writer.close()


class Talk:
    """One connection, from the broker's side."""

    def __init__(self, broker: FakeBroker, writer: asyncio.StreamWriter, task: asyncio.Task[Any]) -> None:
        self.broker = broker
        self.writer = writer
        self.task = task
        self.closing: set[int] = set()
        self._data = b""
        self._verdict: Any = None
        self._tags: dict[int, int] = {}
        # Of the publish that is coming in, by channel: its method, header and body so far.
        self._coming: dict[int, tuple[Basic.Publish, ContentHeader | None, bytes]] = {}

    def send(self, frame: Any, channel: int = 0) -> None:
        self.writer.write(marshal(frame, channel))

    def take(self, data: bytes) -> None:
        self._data += data
        if self._data.startswith(b"AMQP\x00\x00\x09\x01"):
            self._data = self._data[8:]
            if self.broker.greeting is not None:
                self.writer.write(self.broker.greeting)
                return
            capabilities = {"publisher_confirms": True, "basic.nack": True}
            self.send(Connection.Start(server_properties={"capabilities": capabilities}, mechanisms="PLAIN"))
        while (size := frame_parts(self._data)[2]) is not None and len(self._data) >= size + 8:
            used, channel, frame = unmarshal(self._data)
            self._data = self._data[used:]
            self._on(frame, channel)

    def _on(self, frame: Any, channel: int) -> None:
        if channel in self.closing and not isinstance(frame, Channel.CloseOk):
            return  # as RabbitMQ: what was on its way when a channel was closed is dropped
        match frame:
            case Connection.StartOk() | Connection.Open() | Connection.Close():
                self._on_connection(frame)
            case Channel.Open():
                self.broker.channels += 1
                self._tags[channel] = 0
                self.send(Channel.OpenOk(), channel)
            case Channel.Close():
                self.send(Channel.CloseOk(), channel)
            case Channel.CloseOk():
                self.closing.discard(channel)
            case Confirm.Select():
                self.send(Confirm.SelectOk(), channel)
            case Exchange.Declare():
                self.send(Exchange.DeclareOk(), channel)
            case Basic.Publish():
                self._coming[channel] = (frame, None, b"")
            case ContentHeader() | ContentBody():
                self._content(frame, channel)
            case _:
                pass

    def _on_connection(self, frame: Any) -> None:
        match frame:
            case Connection.StartOk():
                self._verdict = self.broker.login()
                is_unknown = getattr(self._verdict, "reply_code", 0) == 403
                self.send(self._verdict if is_unknown else Connection.Tune(2047, 131_072, 60))
            case Connection.Open():
                self.send(self._verdict)
            case _:
                self.send(Connection.CloseOk())

    def _content(self, frame: ContentHeader | ContentBody, channel: int) -> None:
        publish, header, body = self._coming[channel]
        if isinstance(frame, ContentHeader):
            header = frame
        else:
            body += frame.value
        self._coming[channel] = (publish, header, body)
        assert header is not None
        if len(body) < header.body_size:
            return
        self._tags[channel] += 1
        message_id = header.properties.message_id or ""
        message = Received(self, channel, self._tags[channel], publish.routing_key or "", message_id, body)
        self.broker.received.append(message)
        self.broker.answer(message)
