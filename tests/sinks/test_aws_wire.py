"""A request that is called back: what was never sent, and what is answered already, is told from what is in doubt."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from sinkwell.sinks._aws_verdicts import NotConnectedError, was_not_sent
from sinkwell.sinks._aws_wire import Address, Pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Peer:
    """A server that takes a connection and says nothing, until the client leaves."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[None] = asyncio.Queue()
        self.left = asyncio.Event()
        self.port = 0

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        self.came.put_nowait(None)
        with suppress(OSError):
            await reader.read()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        self.left.set()

    def pool(self, tls: ssl.SSLContext | None = None) -> Pool:
        return Pool(Address("127.0.0.1", self.port, tls, "https://peer"), 10.0, 10.0)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    server = await asyncio.start_server(peer.meet, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    yield peer
    await peer.left.wait()
    server.close()


async def test_a_request_called_back_before_it_has_a_connection_was_not_sent(peer: Peer) -> None:
    pool = peer.pool(ssl.create_default_context())
    sending = asyncio.create_task(pool.send(b"request", 1_000))
    await peer.came.get()  # the first byte of a handshake that the peer does not take part in
    sending.cancel()
    with pytest.raises(NotConnectedError) as caught:
        await sending
    assert was_not_sent(caught.value)
    await pool.aclose()


async def test_a_request_called_back_on_the_wire_is_in_doubt(peer: Peer) -> None:
    pool = peer.pool()
    sending = asyncio.create_task(pool.send(b"request", 1_000))
    await peer.came.get()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await pool.aclose()


async def test_a_request_called_back_when_its_answer_is_there_has_its_answer(peer: Peer) -> None:
    pool = peer.pool()
    sending = asyncio.create_task(pool.send(b"request", 1_000))
    await peer.came.get()
    (connection,) = pool._open
    connection.data_received(ANSWER)  # and the task, which waits for it, has not had its turn
    sending.cancel()
    assert (await sending).body == b"{}"
    await pool.aclose()
