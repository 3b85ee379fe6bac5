"""A destination for real threads, which writes as long as its gate is open."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Final, final

from sinkwell.core import Delivered, Encoded, Limits
from tests.core.scripted import Ack

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinkwell.core import Batch


def until(happened: Callable[[], bool]) -> None:
    """Wait for another thread, and not for ever."""
    ends = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < ends, "it never happened"
        time.sleep(0.001)


@final
class Gated:
    """A provider in memory."""

    BAD: Final = object()
    name = "gated"
    limits = Limits(default_records=1_000)

    def __init__(self, *, is_open: bool = True) -> None:
        self.gate = threading.Event()
        if is_open:
            self.gate.set()
        self.batches: list[list[Any]] = []
        self.written: list[Any] = []
        self.was_closed = False
        self.open_error: Exception | None = None
        self.opens_in = 0.0
        self.blocks_loop_for = 0.0

    async def open(self) -> None:
        await asyncio.sleep(self.opens_in)
        if self.open_error is not None:
            raise self.open_error

    def encode(self, record: Any) -> Encoded:
        if record is self.BAD:
            raise ValueError("bad")
        return Encoded(record, 1)

    async def write(self, batch: Batch) -> list[Delivered[Any]]:
        self.batches.append(batch.payloads)
        time.sleep(self.blocks_loop_for)  # noqa: ASYNC251 - a client that blocks the loop
        while not self.gate.is_set():  # noqa: ASYNC110 - the test's thread can set no event of the loop
            await asyncio.sleep(0.001)
        self.written += batch.payloads
        return [Delivered(Ack(record=record)) for record in batch.payloads]

    async def aclose(self) -> None:
        self.was_closed = True
