"""A TCP proxy that a test puts in front of any server, to break what lies between."""

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Self

from tests.faults.way import MAX_PATTERN_BYTES, Way

_LOOPBACK = "127.0.0.1"
_CHUNK = 65_536
# Chunks a direction holds while they are late or held back; then the sender feels it.
_CHUNKS_LATE = 256


class FaultProxy:
    """`async with FaultProxy.to(server.host, server.port) as proxy:`, then connect to `proxy.host`, `proxy.port`.

    `up` is what goes from the client to the server, `down` what comes back; each is a `Way` with faults of its own.

    Attributes:
        connections: Connections taken since the start.
        open_connections: Connections open now.
    """

    def __init__(self, target: tuple[str, int], port: int = 0) -> None:
        self.host, self.port = _LOOPBACK, port
        self.up, self.down = Way(), Way()
        self.connections = 0
        self._target = target
        self._listener: asyncio.Server | None = None
        self._links: set[_Link] = set()

    @classmethod
    def to(cls, host: str, port: int, *, on_port: int = 0) -> Self:
        return cls((host, port), on_port)

    @property
    def open_connections(self) -> int:
        return sum(not link.is_cut for link in self._links)

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        for link in list(self._links):
            link.task.cancel()
        await asyncio.gather(*(link.task for link in self._links), return_exceptions=True)

    async def accept(self) -> None:
        """Take connections (again), on the same port as before."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._take, self.host, self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """New connections are refused, as where nobody listens; open ones go on."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def reset(self) -> None:
        """Every open connection ends with RST on both sides."""
        for link in list(self._links):
            link.reset()

    def heal(self) -> None:
        """No faults any more in either direction."""
        self.up.heal()
        self.down.heal()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        link = _Link(writer)
        self._links.add(link)
        link.task = asyncio.get_running_loop().create_task(self._carry(link, reader, writer))

    async def _carry(self, link: "_Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
            link.take(server_writer)
            async with asyncio.TaskGroup() as flows:
                flows.create_task(_flow(self.up, link, reader, server_writer))
                flows.create_task(_flow(self.down, link, server_reader, writer))
        except* (OSError, _Cut):
            link.reset()
        finally:
            self._links.discard(link)
            link.close()


class _Cut(Exception):
    """Ends both flows of a link."""


class _Link:
    """The two connections that make one: the client's to us, and ours to the server."""

    task: "asyncio.Task[None]"

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.is_cut = False
        self._writers = [client]
        _prepare(client)

    def take(self, server: asyncio.StreamWriter) -> None:
        self._writers.append(server)
        _prepare(server)
        if self.is_cut:
            self.reset()

    def reset(self) -> None:
        self.is_cut = True
        for writer in self._writers:
            if not writer.transport.is_closing():
                # Closing with a linger of zero seconds sends RST instead of FIN.
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


def _prepare(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # `drain` then means "the kernel has it", which is what cutting after a byte needs.
    writer.transport.set_write_buffer_limits(high=0)


async def _flow(way: Way, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry one direction of one link until its end; the end itself is late, held or swallowed like any byte."""
    late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_LATE)
    async with asyncio.TaskGroup() as ends:
        ends.create_task(_collect(way, reader, late))
        ends.create_task(_hand_on(way, link, late, writer))


async def _collect(way: Way, reader: asyncio.StreamReader, late: "asyncio.Queue[tuple[float, bytes]]") -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            data = await reader.read(_CHUNK)
        except OSError:
            # Half-open hides a sender that died as well as one that closed.
            if not way.swallow:
                raise
            data = b""
        await late.put((loop.time(), data))
        if not data:
            return


async def _hand_on(
    way: Way, link: _Link, late: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
) -> None:
    passed = b""
    while True:
        arrived, data = await late.get()
        await _sleep_until(arrived + way.latency)
        await way.flowing()
        if way.swallow:
            way.bytes_swallowed += len(data)
        elif data:
            for part, act in way.split_at_triggers(passed, data):
                if act is not None:
                    act()
                await _deliver(way, link, part, writer)
        else:
            with contextlib.suppress(OSError):
                writer.write_eof()
        if not data:
            return
        passed = (passed + data)[-MAX_PATTERN_BYTES:]


async def _deliver(way: Way, link: _Link, data: bytes, writer: asyncio.StreamWriter) -> None:
    for piece, is_cut in way.pieces(data):
        # Without a bandwidth this only gives the receiver its turn to read, else the kernel would join segments.
        await asyncio.sleep(len(piece) / way.bytes_per_second if way.bytes_per_second else 0)
        if link.is_cut:
            raise _Cut
        if piece:
            writer.write(piece)
            await writer.drain()
            way.bytes_passed += len(piece)
            if way.heard is not None:
                way.heard += piece
        if is_cut:
            raise _Cut


async def _sleep_until(when: float) -> None:
    delay = when - asyncio.get_running_loop().time()
    if delay > 0:
        await asyncio.sleep(delay)
