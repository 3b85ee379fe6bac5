"""The file or the pipe that is read, in blocks, without ever holding up the event loop. After: the line splitter.

A thread reads, because a read from a pipe or a slow disk can't be awaited. It is at most two blocks ahead. Told to
stop, it takes nothing more from a pipe, and what it took is still given: nobody else could read that again.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
import threading
import zlib
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final

from sinkwell.core import ConfigError

from ._lines import LineSplitter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_BLOCK_BYTES: Final = 64 * 1024
_BLOCKS_AHEAD: Final = 2
_GZIP_MAGIC: Final = b"\x1f\x8b"


class InputBroken(Exception):
    """The input could not be read to its end."""


class Input:
    """What `sinkwell pipe` reads: a file or, for `-`, standard input; gzip is undone, whatever the name says.

    Attributes:
        name: as messages call it.
        size: bytes on disk; `None` where it has no end that is known.
        is_replayable: whether what was not read can be read later: it is a file.
    """

    def __init__(self, path: str) -> None:
        self.name = "standard input" if path == "-" else path
        try:
            # Raw: what is in no buffer can't be lost in one.
            self._raw: IO[bytes] = open(0 if path == "-" else path, "rb", 0, closefd=path != "-")  # noqa: SIM115 - closed by `close`
            status = os.fstat(self._raw.fileno())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise ConfigError(f"can't read {self.name}: {reason or error}") from error
        self.is_replayable = stat.S_ISREG(status.st_mode)
        self.size = status.st_size if self.is_replayable else None
        self._blocks: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self._room = threading.Semaphore(_BLOCKS_AHEAD)
        self._is_stopped = False
        self._thread: threading.Thread | None = None
        # Written to by `stop`, so that a thread which waits for a pipe's next bytes need not wait for them.
        self._wake, self._waker = os.pipe()
        self._read_bytes = 0

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the disk so far, packed as they are."""
        return self._read_bytes

    def splitter(self) -> LineSplitter:
        """Give what cuts the blocks into lines."""
        return LineSplitter()

    async def blocks(self) -> AsyncIterator[bytes]:
        """Give the content block by block until it ends or `stop` is called.

        Raises:
            InputBroken: the disk, or the packing, is damaged; what came before is good.
        """
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._read, args=(loop,), name="sinkwell input", daemon=True)
        self._thread.start()
        while not self._is_stopped:
            block = await self._blocks.get()
            if isinstance(block, Exception):
                raise InputBroken(f"{self.name} can't be read any further: {block}") from block
            if not block:
                return
            self._room.release()
            yield block

    def stop(self) -> None:
        """Take no more."""
        if self._is_stopped:
            return
        self._is_stopped = True
        os.write(self._waker, b"x")
        self._blocks.put_nowait(b"")
        self._room.release()

    async def leftover(self) -> list[bytes]:
        """Give the blocks that were taken and not given, once stopped."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        blocks: list[bytes] = []
        while not self._blocks.empty():
            block = self._blocks.get_nowait()
            if isinstance(block, bytes):
                blocks.append(block)
        return blocks

    def close(self) -> None:
        """Let go of the file."""
        if self._thread is None or not self._thread.is_alive():
            self._raw.close()
            os.close(self._wake)
            os.close(self._waker)

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        last: bytes | Exception = b""
        try:
            for block in self._contents():
                if not self._is_stopped:
                    self._room.acquire()
                loop.call_soon_threadsafe(self._blocks.put_nowait, block)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            last = error
        with suppress(RuntimeError):  # the loop has ended before us
            loop.call_soon_threadsafe(self._blocks.put_nowait, last)

    def _contents(self) -> Iterator[bytes]:
        block = self._take()
        while len(block) < len(_GZIP_MAGIC) and (more := self._take()):
            block += more
        if block.startswith(_GZIP_MAGIC):
            yield from self._unpacked(block)
            return
        while block:
            yield block
            block = self._take()

    def _unpacked(self, data: bytes) -> Iterator[bytes]:
        """Undo gzip a bounded piece at a time: a small file may unpack to a huge one, or be several in a row."""
        packing = zlib.decompressobj(wbits=31)
        while True:
            piece = packing.decompress(data, _BLOCK_BYTES)
            if piece:
                yield piece
            data = packing.unused_data.lstrip(b"\0") if packing.eof else packing.unconsumed_tail
            if not data and (packing.eof or len(piece) < _BLOCK_BYTES):
                data = self._take()
                if not data:
                    break
            if packing.eof:
                packing = zlib.decompressobj(wbits=31)
        if not packing.eof:
            raise EOFError("its gzip data ends too early")

    def _take(self) -> bytes:
        if not self.is_replayable:
            select.select([self._raw.fileno(), self._wake], [], [])
        if self._is_stopped:
            return b""
        block = self._raw.read(_BLOCK_BYTES) or b""
        self._read_bytes += len(block)
        return block
