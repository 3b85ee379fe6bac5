"""Decodes images in threads, ahead of the models, and knows how many are about to follow each."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Decoders:
    """Threads that decode.

    Args:
        function: decodes one image.
        threads: enough to stay ahead of the models: in the time of one inference each of them takes a batch.
        window: seconds; an image whose decoding began at most so long after another's is about to follow it.
    """

    def __init__(self, function: Callable[[bytes], bytes], threads: int, window: float) -> None:
        self._function = function
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        # As many as threads: what waits for one is not about to come.
        self._free = asyncio.Semaphore(threads)
        self._window = window
        self._began: dict[asyncio.Future[bytes], float] = {}

    async def decode(self, data: bytes) -> tuple[bytes, int]:
        """Return the decoded image, and how many others are about to be."""
        loop = asyncio.get_running_loop()
        async with self._free:
            began = loop.time()
            decoding = loop.run_in_executor(self._threads, self._function, data)
            self._began[decoding] = began
            try:
                image = await decoding
            finally:
                del self._began[decoding]
        return image, sum(other <= began + self._window for other in self._began.values())
