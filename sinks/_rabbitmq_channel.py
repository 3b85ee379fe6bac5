"""One confirm channel, lent to one write at a time. Before: the destination, with a window of messages. After: aiormq.

aiormq's own channel makes a task and several futures for each message and writes each by itself. This one stands in
its place in the connection's `channels`, takes the frames that the connection reads, and writes a window at once.
"""

from __future__ import annotations

import asyncio
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from ._extras import needs_extra
from ._rabbitmq_message import FRAME_OVERHEAD

with needs_extra("rabbitmq"):
    from pamqp.base import Frame
    from pamqp.commands import Basic, Channel, Confirm, Exchange
    from pamqp.frame import marshal
    from pamqp.header import ContentHeader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._rabbitmq_message import Prepared

_FRAME: Final = Struct(">BHI")
_START: Final = Struct(">BH")
_METHOD, _HEADER, _BODY = 1, 2, 3


class ChannelError(Exception):
    """The broker closed the channel.

    Attributes:
        code: AMQP's reply code, as 404 for no such exchange.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class ConnectionLost(Exception):
    """The connection ended; what was on its way may have arrived."""


class Returned(Exception):
    """No queue takes the message: the broker returned it, as `mandatory` asks."""


class Nacked(Exception):
    """The broker refused responsibility: a queue is full and rejects what comes, or has failed."""


Answer = bool | Returned
"""Of one message: True for its ack, False for its nack, or its return."""


class Window:
    """Messages that were written at once, and what the broker has said of each.

    Attributes:
        answers: for each message, in order; `None` where there is none yet.
        done: ends when all have one, or when no more will come.
        sent_at: when it was written, by the loop's clock.
        error: why no more will come, if it is so.
    """

    __slots__ = ("_first", "_left", "_messages", "_settled_to", "answers", "done", "error", "sent_at")

    def __init__(
        self, messages: Sequence[Prepared], first_tag: int, done: asyncio.Future[None], sent_at: float
    ) -> None:
        self._messages = messages
        self._first = first_tag
        self._left = len(messages)
        # All before this index have an answer: `multiple` need not look at them again.
        self._settled_to = 0
        self.answers: list[Answer | None] = [None] * len(messages)
        self.done = done
        self.sent_at = sent_at
        self.error: ChannelError | ConnectionLost | None = None

    def settle(self, tag: int, answer: bool, *, multiple: bool) -> bool:  # noqa: FBT001 - an Answer
        """Take a confirm; whether it is about messages of this window that have no answer yet."""
        index = tag - self._first
        if not 0 <= index < len(self._messages):
            return False
        answers = self.answers
        before = self._left
        for each in range(self._settled_to, index + 1) if multiple else (index,):
            if answers[each] is None:
                answers[each] = answer
                self._left -= 1
        if multiple:
            self._settled_to = max(self._settled_to, index + 1)
        is_news = self._left < before or isinstance(answers[index], Returned)
        self._end_if_settled()
        return is_news

    def take_back(self, message_id: str, answer: Returned) -> bool:
        """Take a return, which comes before its message's ack; whether the message is of this window.

        Ids are unique within a window. The ack that follows says nothing more.
        """
        wanted = message_id.encode()
        for index, message in enumerate(self._messages):
            if message.message_id == wanted:
                if self.answers[index] is None:
                    self._left -= 1
                self.answers[index] = answer
                self._end_if_settled()
                return True
        return False

    def fail(self, error: ChannelError | ConnectionLost) -> None:
        """Learn that no more answers come."""
        self.error = error
        if not self.done.done():
            self.done.set_result(None)

    def _end_if_settled(self) -> None:
        if self._left == 0 and not self.done.done():
            self.done.set_result(None)


class ConfirmChannel:
    """A channel in confirm mode.

    Args:
        number: of the connection's channels.
        write: hands bytes to the socket.
        frame_max: the most bytes of one frame; 0 for no limit.
    """

    def __init__(self, number: int, write: Callable[[bytes], None], frame_max: int) -> None:
        self.number = number
        # Where aiormq's connection puts what it reads for this channel: anything with `put` will do.
        self.frames = self
        self.error: ChannelError | ConnectionLost | None = None
        # When a frame last came, by the loop's clock: the connection was alive then.
        self.heard_at = 0.0
        # Confirms that are about nothing we wait for; they are ignored.
        self.strays = 0
        self._loop = asyncio.get_running_loop()
        self._write = write
        self._most = frame_max - FRAME_OVERHEAD if frame_max else 0x7FFFFFFF
        self._starts = tuple(_START.pack(kind, number) for kind in (_METHOD, _HEADER))
        self._tag = 0
        self._window: Window | None = None
        self._reply: asyncio.Future[Frame] | None = None
        # A return whose header frame, with the message's id, comes next.
        self._returning: Basic.Return | None = None

    async def open(self) -> None:
        """Open it and turn confirms on."""
        await self._ask(Channel.Open())
        await self._ask(Confirm.Select())

    async def check_exchange(self, name: str) -> None:
        """Raise `ChannelError` if there is no such exchange: then the channel is closed."""
        await self._ask(Exchange.Declare(exchange=name, passive=True))

    def begin(self, messages: Sequence[Prepared]) -> Window:
        """Write messages at once, and return where their answers will be."""
        assert self._window is None or self._window.done.done(), "one window at a time"
        assert self.error is None, "a closed channel must not be written to: the broker would close the connection"
        window = Window(messages, self._tag + 1, self._loop.create_future(), self._loop.time())
        self._window = window
        method, header = self._starts
        pieces: list[bytes] = []
        for message in messages:
            pieces += (method, message.publish, header, message.header)
            body = message.body
            if 0 < len(body) <= self._most:
                pieces += (_FRAME.pack(_BODY, self.number, len(body)), body, b"\xce")
            else:
                for start in range(0, len(body), self._most):
                    part = body[start : start + self._most]
                    pieces += (_FRAME.pack(_BODY, self.number, len(part)), part, b"\xce")
        self._tag += len(messages)
        self._write(b"".join(pieces))
        return window

    def give_up(self) -> None:
        """Ask the broker to close it, and listen to nothing more; its number is free when the broker has agreed."""
        self._window = None
        if self.error is None:
            self.fail(ConnectionLost("the channel was given up"))
            self._send(Channel.Close(reply_code=200, reply_text="given up", class_id=0, method_id=0))

    def fail(self, error: ChannelError | ConnectionLost) -> None:
        """Learn that nothing more comes of it."""
        if self.error is None:
            self.error = error
        if self._window is not None:
            self._window.fail(error)
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(error)

    async def put(self, item: tuple[int, Any]) -> None:
        """Take a frame: aiormq's connection awaits this, in the order in which it reads them."""
        frame = item[1]
        self.heard_at = self._loop.time()
        match frame:
            case Basic.Ack(delivery_tag=tag, multiple=multiple):
                self._settle(tag, True, multiple)  # noqa: FBT003 - an Answer
            case Basic.Nack(delivery_tag=tag, multiple=multiple):
                self._settle(tag, False, multiple)  # noqa: FBT003 - an Answer
            case Basic.Return():
                self._returning = frame
            case ContentHeader():
                self._take_back(frame)
            case Channel.Close(reply_code=code, reply_text=text):
                if self.error is None:
                    self._send(Channel.CloseOk())
                self.fail(ChannelError(code or 0, text or "the broker gave no reason"))
            case Frame() if self._reply is not None and not self._reply.done():
                self._reply.set_result(frame)
            case _:
                pass  # a returned message's body, or the broker's word on a channel that was given up

    def _settle(self, tag: int | None, answer: bool, multiple: bool | None) -> None:  # noqa: FBT001 - an Answer
        window = self._window
        if window is None or tag is None or not window.settle(tag, answer, multiple=bool(multiple)):
            self.strays += 1

    def _take_back(self, header: ContentHeader) -> None:
        returned, self._returning = self._returning, None
        if returned is None or self._window is None:
            return
        answer = Returned(f"{returned.reply_code} {returned.reply_text}")
        if not self._window.take_back(header.properties.message_id or "", answer):
            self.strays += 1

    async def _ask(self, frame: Frame) -> None:
        if self.error is not None:
            raise self.error
        self._reply = self._loop.create_future()
        try:
            self._send(frame)
            answer = await self._reply
        finally:
            self._reply = None
        if answer.name not in frame.valid_responses:
            raise ConnectionLost(f"the broker answered {answer.name} to {frame.name}")

    def _send(self, frame: Frame) -> None:
        self._write(marshal(frame, self.number))
