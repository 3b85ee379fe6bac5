import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import TypeAlias

import pytest

from tests.faults import FaultProxy

Ends: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that answers with what it got, and keeps it."""

    def __init__(self) -> None:
        self.received = b""
        self.segments: list[int] = []
        self.endings: asyncio.Queue[str] = asyncio.Queue()

    async def ending(self) -> str:
        async with asyncio.timeout(5):
            return await self.endings.get()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ending = "closed"
        try:
            while data := await reader.read(65_536):
                self.received += data
                self.segments.append(len(data))
                writer.write(data)
        except ConnectionResetError:
            ending = "reset"
        finally:
            writer.close()
            self.endings.put_nowait(ending)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[FaultProxy]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with server, FaultProxy.to(*server.sockets[0].getsockname()) as proxy:
        yield proxy


@pytest.fixture
async def ends(proxy: FaultProxy) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    yield reader, writer
    writer.transport.abort()


async def read(ends: Ends, size: int) -> bytes:
    async with asyncio.timeout(5):
        return await ends[0].readexactly(size)


async def seconds_to_echo(ends: Ends, data: bytes) -> float:
    loop = asyncio.get_running_loop()
    start = loop.time()
    ends[1].write(data)
    assert await read(ends, len(data)) == data
    return loop.time() - start


async def is_silent(reader: asyncio.StreamReader, seconds: float = 0.05) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def test_without_faults_every_byte_passes_and_is_counted(proxy: FaultProxy, ends: Ends) -> None:
    data = bytes(range(256)) * 4000
    await seconds_to_echo(ends, data)
    assert (proxy.up.bytes_passed, proxy.down.bytes_passed) == (len(data), len(data))
    assert (proxy.connections, proxy.open_connections) == (1, 1)


async def test_what_passes_is_heard_where_that_is_asked(proxy: FaultProxy, ends: Ends) -> None:
    await seconds_to_echo(ends, b"before")
    heard = proxy.down.heard = bytearray()
    await seconds_to_echo(ends, b"now")
    assert heard == b"now"


async def test_the_end_of_a_stream_passes(ends: Ends, echo: Echo) -> None:
    ends[1].write(b"last")
    ends[1].write_eof()
    assert await echo.ending() == "closed"
    assert await ends[0].read() == b"last"


async def test_latency_delays_each_way_by_itself(proxy: FaultProxy, ends: Ends) -> None:
    proxy.up.latency = 0.05
    assert 0.05 <= await seconds_to_echo(ends, b"x") < 1
    proxy.down.latency = 0.05
    assert 0.1 <= await seconds_to_echo(ends, b"x") < 1


async def test_latency_makes_the_cable_longer_not_thinner(proxy: FaultProxy, ends: Ends) -> None:
    proxy.up.latency = 0.05
    assert await seconds_to_echo(ends, b"x" * 2_000_000) < 1


async def test_bandwidth_spreads_the_bytes_over_time(proxy: FaultProxy, ends: Ends) -> None:
    proxy.up.bytes_per_second = 100_000
    assert 0.1 <= await seconds_to_echo(ends, b"x" * 10_000) < 2


async def test_slicing_gives_the_receiver_tiny_segments(proxy: FaultProxy, ends: Ends, echo: Echo) -> None:
    proxy.up.slice_bytes = 3
    await seconds_to_echo(ends, b"0123456789" * 10)
    assert max(echo.segments) <= 9


async def test_reset_reaches_both_sides_as_rst(proxy: FaultProxy, ends: Ends, echo: Echo) -> None:
    await seconds_to_echo(ends, b"x")
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await read(ends, 1)
    assert await echo.ending() == "reset"
    assert proxy.open_connections == 0


async def test_a_half_open_connection_takes_bytes_and_gives_no_answer(
    proxy: FaultProxy, ends: Ends, echo: Echo
) -> None:
    proxy.up.swallow = True
    ends[1].write(b"lost")
    assert await is_silent(ends[0])
    assert (proxy.up.bytes_swallowed, proxy.up.bytes_passed, echo.received) == (4, 0, b"")


@pytest.mark.parametrize("linger", [struct.pack("ii", 0, 0), struct.pack("ii", 1, 0)], ids=["fin", "rst"])
async def test_half_open_hides_even_the_death_of_the_client(
    proxy: FaultProxy, ends: Ends, echo: Echo, linger: bytes
) -> None:
    await seconds_to_echo(ends, b"x")
    proxy.up.swallow = True
    ends[1].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    ends[1].transport.abort()
    await asyncio.sleep(0.05)
    assert echo.endings.empty()


async def test_a_swallowed_answer_was_still_acted_upon(proxy: FaultProxy, ends: Ends, echo: Echo) -> None:
    proxy.down.swallow = True
    ends[1].write(b"done")
    assert await is_silent(ends[0])
    assert echo.received == b"done"


async def test_held_bytes_come_in_order_when_released(proxy: FaultProxy, ends: Ends) -> None:
    proxy.down.hold()
    ends[1].write(b"a")
    assert await is_silent(ends[0])
    ends[1].write(b"b")
    proxy.down.release()
    assert await read(ends, 2) == b"ab"


@pytest.mark.parametrize("count", [0, 1, 7, 10])
async def test_a_cut_up_lets_exactly_so_many_bytes_reach_the_server(
    proxy: FaultProxy, ends: Ends, echo: Echo, count: int
) -> None:
    proxy.up.cut_after(count)
    ends[1].write(b"0123456789")
    assert await echo.ending() == "reset"
    assert echo.received == b"0123456789"[:count]


async def test_a_cut_down_lets_exactly_so_many_bytes_reach_the_client(proxy: FaultProxy, ends: Ends) -> None:
    proxy.down.cut_after(7)
    ends[1].write(b"0123456789")
    assert await read(ends, 7) == b"0123456"
    with pytest.raises(ConnectionResetError):
        await read(ends, 1)


async def test_a_cut_loses_none_of_the_bytes_before_it(proxy: FaultProxy, ends: Ends) -> None:
    proxy.down.cut_after(3_000_000)
    ends[1].write(b"x" * 4_000_000)
    assert len(await read(ends, 3_000_000)) == 3_000_000
    with pytest.raises(ConnectionResetError):
        await read(ends, 1)


async def test_a_cut_counts_over_several_writes_and_happens_once(proxy: FaultProxy, ends: Ends, echo: Echo) -> None:
    proxy.up.cut_after(6)
    await seconds_to_echo(ends, b"01234")
    ends[1].write(b"56789")
    assert await echo.ending() == "reset"
    assert echo.received == b"012345"
    again = await asyncio.open_connection(proxy.host, proxy.port)
    await seconds_to_echo(again, b"0123456789")
    again[1].close()


async def test_refused_connections_are_taken_again_on_the_same_port(proxy: FaultProxy, ends: Ends) -> None:
    port = proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(proxy.host, port)
    await seconds_to_echo(ends, b"open ones go on")
    await proxy.accept()
    assert proxy.port == port
    _, writer = await asyncio.open_connection(proxy.host, port)
    writer.close()


async def test_a_request_is_lost_when_its_pattern_passes(proxy: FaultProxy, ends: Ends, echo: Echo) -> None:
    proxy.up.when(b"COMMIT", proxy.reset)
    await seconds_to_echo(ends, b"BEGIN; COM")
    ends[1].write(b"ME; INSERT; COMMIT;")
    assert await echo.ending() == "reset"
    assert echo.received == b"BEGIN; COMME; INSERT; "


async def test_an_answer_is_lost_when_the_pattern_of_its_request_passes(
    proxy: FaultProxy, ends: Ends, echo: Echo
) -> None:
    proxy.up.when(b"COMMIT", lambda: proxy.down.cut_after(0))
    ends[1].write(b"COMMIT")
    with pytest.raises(ConnectionResetError):
        await read(ends, 1)
    assert echo.received == b"COMMIT"


async def test_a_pattern_is_found_across_two_segments_and_acts_once(proxy: FaultProxy, ends: Ends) -> None:
    seen: list[int] = []
    proxy.up.when(b"COMMIT", lambda: seen.append(proxy.up.bytes_passed))
    await seconds_to_echo(ends, b"12COM")
    await seconds_to_echo(ends, b"MIT COMMIT")
    assert seen == [5]


async def test_heal_ends_every_fault(proxy: FaultProxy, ends: Ends) -> None:
    proxy.up.latency, proxy.up.swallow, proxy.down.bytes_per_second = 5.0, True, 1.0
    proxy.down.cut_after(0)
    proxy.down.hold()
    proxy.up.when(b"x", proxy.reset)
    proxy.heal()
    assert await seconds_to_echo(ends, b"x" * 1000) < 1


async def test_a_server_that_is_down_shows_as_a_reset() -> None:
    async with FaultProxy.to("127.0.0.1", 1) as nobody:
        ends = await asyncio.open_connection(nobody.host, nobody.port)
        with pytest.raises(ConnectionResetError):
            await read(ends, 1)
        ends[1].close()


async def test_leaving_the_proxy_ends_its_connections_and_tasks(echo: Echo) -> None:
    before = asyncio.all_tasks()
    async with await asyncio.start_server(echo.serve, "127.0.0.1", 0) as server:
        async with FaultProxy.to(*server.sockets[0].getsockname()) as proxy:
            ends = await asyncio.open_connection(proxy.host, proxy.port)
            await seconds_to_echo(ends, b"x")
        ends[1].close()
        await echo.ending()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
