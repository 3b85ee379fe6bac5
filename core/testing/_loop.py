"""An asyncio event loop whose clock jumps: an hour of waiting takes no time, and a lost wake-up is an error at once."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar, final

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Somebody waits, and nothing is scheduled that could wake them."""


class _JumpingSelector(selectors.BaseSelector):
    """Instead of waiting for a timeout, moves the loop's clock by it. Real files are still polled, without waiting."""

    def __init__(self) -> None:
        self._files = selectors.DefaultSelector()
        self.now = 0.0
        self.after_step: Callable[[], None] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.after_step is not None:
            self.after_step()
        ready = self._files.select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise Deadlock("nothing is scheduled, and the main coroutine still waits: a wake-up was lost")
        self.now += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._files.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._files.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._files.modify(fileobj, events, data)

    def close(self) -> None:
        self._files.close()

    def get_map(self) -> Any:
        return self._files.get_map()


@final
class VirtualLoop(asyncio.SelectorEventLoop):
    """A real asyncio loop in virtual time: callbacks run in asyncio's own order, waiting takes none.

    `run` runs a coroutine to its end and closes the loop. Threads and sockets are not simulated: a coroutine that
    waits for one alone is a `Deadlock`.

    Example:
        >>> VirtualLoop().run(asyncio.sleep(3600))
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        # asyncio fires what is due within one resolution; with none, rounding could leave a timer just ahead of the
        # clock.
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Return the virtual time in seconds; it starts at 0."""
        return self._jumping.now

    @property
    def after_step(self) -> Callable[[], None] | None:
        """Called after every step of the loop, when all that was ready has run; what it raises ends `run`.

        For invariants that must hold at every moment at which other code could look.
        """
        return self._jumping.after_step

    @after_step.setter
    def after_step(self, check: Callable[[], None] | None) -> None:
        self._jumping.after_step = check

    def stall(self, seconds: float) -> None:
        """Move the clock without running anything, as a blocking call in the loop's thread would."""
        self._jumping.now += seconds

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine to its end and close the loop.

        Raises:
            Deadlock: it waits for something that nobody will do.
        """
        with asyncio.Runner(loop_factory=lambda: self) as runner:
            return runner.run(main)
