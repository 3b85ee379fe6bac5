"""A function to batch, and what its tests share."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from sinkwell.core.testing import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*arguments: Any, **options: Any) -> None:
        loop = VirtualLoop()
        unhandled: list[str] = []
        loop.set_exception_handler(lambda _, context: unhandled.append(context["message"]))
        loop.run(test(*arguments, **options))
        assert unhandled == []

    return run


class Doubler:
    """A function that takes a second for a list, and remembers when it was called with what."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.calls: list[tuple[float, list[int]]] = []
        self.running = self.most_running = 0

    async def __call__(self, items: list[int]) -> list[int]:
        self.calls.append((asyncio.get_running_loop().time(), list(items)))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        return [2 * item for item in items]


async def outcomes(*futures: asyncio.Future[Any]) -> list[Any]:
    return await asyncio.gather(*futures, return_exceptions=True)
