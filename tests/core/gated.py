"""A destination for real threads, which opens and writes as far as its gates are open. Nobody sleeps, nobody polls."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final, final

from sinkwell.core import Delivered, Encoded, Limits
from tests.core.scripted import Ack

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinkwell.core import Batch


def all_ended() -> None:
    """Wait for the end of every thread but this one, and not for ever."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(10)
            assert not thread.is_alive(), thread.name


@final
class Changes:
    """Tells threads and tasks when something has come true.

    It holds no lock while nobody waits, because a process may be forked at any moment of another thread.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], Callable[[], object]]] = []

    def tell(self) -> None:
        """Something has changed."""
        for has_happened, wake in list(self._waiting):
            if has_happened():
                wake()

    def until(self, has_happened: Callable[[], bool]) -> None:
        """Wait in a thread, and not for ever."""
        came = threading.Event()
        self._waiting.append((has_happened, came.set))
        assert has_happened() or came.wait(10), "it never happened"

    async def come(self, has_happened: Callable[[], bool]) -> None:
        """Wait in a task."""
        if has_happened():
            return
        loop = asyncio.get_running_loop()
        came = asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(came.set)

        self._waiting.append((has_happened, wake))
        if not has_happened():
            await came.wait()


@final
class Gate:
    """A `threading.Event` that tasks can wait for too."""

    def __init__(self) -> None:
        self._is_open = True
        self._changes = Changes()

    def set(self) -> None:
        """Let pass who waits and who comes."""
        self._is_open = True
        self._changes.tell()

    def clear(self) -> None:
        """Let nobody pass."""
        self._is_open = False

    async def passed(self) -> None:
        """Wait in a task."""
        await self._changes.come(lambda: self._is_open)


@final
class Block:
    """Stands in the way of a whole thread, as a client does that never heard of event loops."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        self._over = threading.Event()

    def __call__(self) -> None:
        self._begun.set()
        assert self._over.wait(10), "nobody ended it"

    def begun(self) -> None:
        """Wait until it has begun."""
        assert self._begun.wait(10), "it never began"

    def end(self) -> None:
        """Let the thread go on."""
        self._over.set()


class Gated:
    """A provider in memory."""

    BAD: Final = object()
    name = "gated"
    limits = Limits(default_records=1_000)

    def __init__(self, *, is_open: bool = True) -> None:
        self.gate = Gate()
        if not is_open:
            self.gate.clear()
        # What stands in the way of opening.
        self.door = Gate()
        self.changes = Changes()
        # Records that a put has come to the loop with; when the next thing runs there, they are accepted or in line.
        self.asked = 0
        self.batches: list[list[Any]] = []
        self.written: list[Any] = []
        self.is_opening = False
        self.was_closed = False
        self.open_error: Exception | None = None
        # What every write blocks its loop with.
        self.blocks: Callable[[], None] | None = None

    async def open(self) -> None:
        self.is_opening = True
        self.changes.tell()
        await self.door.passed()
        if self.open_error is not None:
            raise self.open_error

    def encode(self, record: Any) -> Encoded:
        if record is self.BAD:
            raise ValueError("bad")
        self.asked += 1
        self.changes.tell()
        return Encoded(record, 1)

    async def write(self, batch: Batch) -> list[Delivered[Any]]:
        self.batches.append(batch.payloads)
        self.changes.tell()
        if self.blocks is not None:
            self.blocks()
        await self.gate.passed()
        self.written += batch.payloads
        return [Delivered(Ack(record=record)) for record in batch.payloads]

    async def aclose(self) -> None:
        self.was_closed = True
