"""The sink's own connection, made again when it is lost, and its channels. Before: the destination. After: aiormq."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from ._rabbitmq_channel import ConfirmChannel, ConnectionLost
from ._rabbitmq_connect import Wire, bare, connect

if TYPE_CHECKING:
    import ssl

    from aiormq import Connection

    from ._rabbitmq_connect import BrokerUrl

# How long a connection is given to say goodbye, before it is cut.
_LAST_WORD_SECONDS: Final = 1.0
# The broker's own limit is 2,047 a connection, unless it was told otherwise.
_CHANNELS: Final = 2_000


class CannotConnect(Exception):
    """There is no connection, and none could be made; its cause is what the client said."""


class Blocked(Exception):
    """The broker takes no messages for now, and has said so.

    Attributes:
        seconds: how long it has been seen so, from 0.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__("the broker takes no messages for now (connection.blocked: an alarm of its memory or disk)")
        self.seconds = seconds


class Link:
    """One connection, and the channels that no write uses now.

    Each write has a channel to itself, so that what closes one channel is the fault of that write's messages.

    Args:
        url: where the broker is.
        tls: verifies the broker, instead of the system's certificates.
        name: what the broker's own tools call the connection.
    """

    def __init__(self, url: BrokerUrl, tls: ssl.SSLContext | None, name: str) -> None:
        self._url = url
        self._tls = tls
        self._name = name
        self._connection: Connection | None = None
        self._wire = Wire(tls)
        self._idle: list[ConfirmChannel] = []
        self._in_use: set[ConfirmChannel] = set()
        # When a write first found the broker blocked, by the loop's clock; None once one found it is not.
        self._blocked_since: float | None = None
        # One connects while the others wait for it.
        self._connecting = asyncio.Lock()
        self._last_number = 0
        # Confirms and returns that were about nothing we had sent or still waited for.
        self.strays = 0

    @property
    def is_blocked(self) -> bool:
        """Whether the broker has said that it takes no messages for now."""
        if self._connection is None:
            return False
        # One step of waiting tells: aiormq's flag has no other public face.
        ready = self._connection.ready()
        try:
            ready.send(None)
        except StopIteration:
            return False
        ready.close()
        return True

    @property
    def frame_max(self) -> int:
        """The most bytes of one frame; 0 for no limit."""
        return 131_072 if self._connection is None else self._connection.connection_tune.frame_max

    async def open(self) -> None:
        """Connect, if there is no connection.

        Raises:
            CannotConnect: with the reason as its cause.
        """
        if self._is_up():
            return
        async with self._connecting:
            if self._is_up():
                return
            await self._say_goodbye()
            wire = Wire(self._tls)
            failure: Exception | None = None
            try:
                connection = await connect(self._url, wire, self._name)
            except Exception as error:  # noqa: BLE001 - whatever it is, there is no connection
                failure = cast("Exception", bare(error))
            else:
                self._connection, self._wire = connection, wire
                closing: asyncio.Future[Any] = cast("Any", connection).closing
                closing.add_done_callback(lambda _: self._lost(connection))
                return
        # Raised out here, with a bare cause: aiormq's frames hold the password.
        raise CannotConnect(f"{type(failure).__name__}: {failure}") from failure

    async def channel(self) -> ConfirmChannel:
        """Lend a channel; `give_back` or `give_up` it.

        Raises:
            Blocked: what was written now would lie in the socket until an alarm is over.
            CannotConnect: there is no connection.
            ConnectionLost: it ended meanwhile.
            ChannelError: the broker allows no channel.
        """
        await self.open()
        connection = self._connection
        assert connection is not None
        if self.is_blocked:
            now = asyncio.get_running_loop().time()
            if self._blocked_since is None:
                self._blocked_since = now
            raise Blocked(now - self._blocked_since)
        self._blocked_since = None
        if self._idle:
            channel = self._idle.pop()
            self._in_use.add(channel)
            return channel
        return await self._open_channel(connection)

    async def _open_channel(self, connection: Connection) -> ConfirmChannel:
        # Round and round: the broker may still be busy with the end of the channel that had a number last.
        self._last_number = self._last_number % _CHANNELS + 1
        while self._last_number in connection.channels:
            self._last_number = self._last_number % _CHANNELS + 1
        channel = ConfirmChannel(self._last_number, self._wire.write, connection.connection_tune.frame_max)
        cast("dict[int, Any]", connection.channels)[channel.number] = channel
        self._in_use.add(channel)
        try:
            await channel.open()
        except BaseException:
            self.give_up(channel)
            raise
        return channel

    def give_back(self, channel: ConfirmChannel) -> None:
        """Take a channel back that may carry the next window."""
        self._in_use.discard(channel)
        self._count_strays(channel)
        if channel.error is None:
            self._idle.append(channel)

    def give_up(self, channel: ConfirmChannel) -> None:
        """Close a channel whose window has no full answer."""
        self._in_use.discard(channel)
        self._count_strays(channel)
        channel.give_up()

    def _count_strays(self, channel: ConfirmChannel) -> None:
        self.strays += channel.strays
        channel.strays = 0

    def cut_if_silent(self, since: float) -> None:
        """End a connection that has been silent since a window was written, unless the broker said that it would be."""
        if self.is_blocked or any(channel.heard_at >= since for channel in (*self._idle, *self._in_use)):
            return
        self._wire.cut()
        self._fail_channels()

    def _is_up(self) -> bool:
        return self._connection is not None and self._connection.is_opened and self._wire.is_open

    def _lost(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._fail_channels()

    def _fail_channels(self) -> None:
        for channel in (*self._idle, *self._in_use):
            channel.fail(ConnectionLost("the connection to the broker was lost"))
        self._idle.clear()

    async def _say_goodbye(self) -> None:
        connection, self._connection = self._connection, None
        self._fail_channels()
        if connection is None:
            return
        # aiormq may wait for minutes for room in the socket.
        cutter = asyncio.get_running_loop().call_later(_LAST_WORD_SECONDS, self._wire.cut)
        if not connection.is_opened:
            self._wire.cut()
        try:
            with suppress(Exception):
                await connection.close()
        finally:
            cutter.cancel()
            self._wire.cut()

    async def aclose(self) -> None:
        """Close the connection, within a second."""
        await self._say_goodbye()
