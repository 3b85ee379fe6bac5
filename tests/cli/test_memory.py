"""A run of any length takes the memory of a short one; the command's own, as the kernel counts it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cli.conftest import ended

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Iterator

    from sinkwell.sinks.testing import AwsEndpoint
    from tests.cli.conftest import Command, Query


async def feed(process: Process, blocks: Iterator[bytes]) -> list[float]:
    """Write as fast as the command reads; its resident megabytes after each block."""
    assert process.stdin is not None
    sizes: list[float] = []
    for block in blocks:
        process.stdin.write(block)
        await process.stdin.drain()
        sizes.append(resident_megabytes(process.pid))
    return sizes


def resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def test_two_hundred_thousand_lines_take_no_more_memory_than_the_first_fifty_thousand(
    command: Command, query: Query
) -> None:
    await query("CREATE TABLE t (id int4, note text)")
    process = await command.start("pipe", "-", "--format", "csv", "--sink", "postgres", "--table", "cli.t")
    rows = (
        b"".join(b"%d,%0100d\n" % (number, number) for number in range(at, at + 500)) for at in range(0, 200_000, 500)
    )
    assert process.stdin is not None
    process.stdin.write(b"id,note\n")
    sizes = await feed(process, rows)
    told = await ended(process, b"")
    assert (told.code, told.figure("delivered")) == (0, "200,000")
    assert max(sizes) - max(sizes[: len(sizes) // 4]) < 15


async def test_a_fast_input_waits_for_a_slow_sink(command: Command, aws: AwsEndpoint, queue: tuple[str, ...]) -> None:
    """At 20 requests a second 10,000 records fill the room: all but them and a few blocks must stay outside."""
    process = await command.start("pipe", "-", *queue, "--rate-requests", "20", "--grace", "0")
    taken = 0
    is_full = asyncio.Event()

    def blocks() -> Iterator[bytes]:
        nonlocal taken
        for taken in range(0, 200_000, 100):
            if taken >= 10_000:
                is_full.set()
            yield (b'{"text": "%0380d"}\n' % 0) * 100

    feeding = asyncio.ensure_future(feed(process, blocks()))
    async with asyncio.timeout(60):
        await is_full.wait()
    # In this time it would take all of it, if it did not wait.
    await asyncio.wait([feeding], timeout=3)
    feeding.cancel()
    process.terminate()
    told = await ended(process)
    assert told.code == 143
    assert 10_000 <= taken < 15_000
