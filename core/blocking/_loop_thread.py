"""A daemon thread with an event loop of its own. Before: `Front`, from any thread. After: the sink, or the function."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, final

from sinkwell.core._errors import SinkClosed

from ._delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sinkwell.core._observe import CloseReport, SinkStats

logger = logging.getLogger("sinkwell")


class Closable(Protocol):
    """What lives on the thread's loop: a sink, or a batched function."""

    async def close(self, timeout: float | None = None) -> CloseReport:
        """Deliver what is left, and tell what became of everything."""
        ...

    def stats(self) -> SinkStats:
        """Return a snapshot."""
        ...


S = TypeVar("S", bound=Closable)
R = TypeVar("R")


@final
class LoopThread(Generic[S]):
    """Runs what was opened until it is stopped.

    Args:
        name: what messages and the thread are called by.
        open_it: opens it, on the loop.
    """

    def __init__(self, name: str, open_it: Callable[[], Coroutine[Any, Any, S]]) -> None:
        self._name = name
        self._open_it = open_it
        # What was opened, or why it could not be.
        self.opened: Future[S] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main_task: asyncio.Task[None] | None = None
        self._is_stopping = False
        # Handed over, and without an outcome that a thread can see.
        self._deliveries: dict[Delivery[Any], None] = {}
        # A daemon, so that Python does not wait for it before it calls what closes it.
        self._thread = threading.Thread(target=self._run, name=f"sinkwell {name}", daemon=True)

    # --- from any thread ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it; `opened` tells when it can be used."""
        self._thread.start()

    def check_caller(self) -> None:
        """Refuse to let the thread wait for itself."""
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                f"{self._name}: this is its own loop's thread (of an observer, a callback, a dead letter, the batched "
                "function), which would wait for itself"
            )

    def post(self, act: Callable[[], object]) -> bool:
        """Have something done on the loop, in turn; whether there is a loop."""
        if self._loop is None:
            return False
        try:
            self._loop.call_soon_threadsafe(act)
        except RuntimeError:  # it is closed
            return False
        return True

    def begin(self, start: Callable[[Delivery[R]], asyncio.Future[R]]) -> Delivery[R]:
        """Have something started on the loop, in turn; what the future gives becomes the delivery's outcome.

        Raises:
            SinkClosed: the thread has ended.
        """
        delivery = Delivery[R](self)
        # Before it is posted: a thread that ends meanwhile either finds it here, or refuses it.
        self._deliveries[delivery] = None
        try:
            is_posted = self.post(partial(delivery.begin, start))
        except BaseException:  # interrupted, and perhaps posted
            delivery.give_up()
            raise
        if not is_posted:
            self.forget(delivery)
            raise SinkClosed(f"{self._name}: it is closed")
        return delivery

    def run(self, act: Callable[[], Coroutine[Any, Any, R]]) -> Delivery[R]:
        """Have a coroutine run on the loop; cancelling the delivery cancels it."""
        return self.begin(lambda _: asyncio.get_running_loop().create_task(act()))

    def stop(self) -> None:
        """End it: what is still open is closed without patience."""
        self._is_stopping = True
        self.post(self._cancel_main)

    def join(self, timeout: float) -> None:
        """Wait for its end, but no longer than so many seconds."""
        self._thread.join(timeout)

    @property
    def unresolved(self) -> int:
        """How many calls somebody still waits for."""
        return sum(not delivery.cancelled() for delivery in list(self._deliveries))

    # --- on the thread -----------------------------------------------------------------------------------------------

    def forget(self, delivery: Delivery[Any]) -> None:
        """Let go of a delivery that has its outcome."""
        self._deliveries.pop(delivery, None)

    def adopt(self, future: asyncio.Future[R]) -> Delivery[R]:
        """Give what a thread can hold of a future of the loop."""
        delivery = Delivery[R](self)
        self._deliveries[delivery] = None
        delivery.begin(lambda _: future)
        return delivery

    async def idle(self) -> None:
        """Wait until every delivery that is open now has its outcome."""
        futures = [delivery.future for delivery in list(self._deliveries) if delivery.future is not None]
        # This one waits in a delivery, too.
        others = [future for future in futures if future is not asyncio.current_task()]
        if others:
            await asyncio.wait(others)

    def _cancel_main(self) -> None:
        assert self._main_task is not None
        self._main_task.cancel()

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._main())
        except asyncio.CancelledError:
            pass  # it was stopped
        except BaseException:
            logger.exception("%s: the loop's thread has ended", self._name)
        finally:
            for delivery in list(self._deliveries):
                delivery.fail(SinkClosed(f"{self._name}: it was closed meanwhile"))

    async def _main(self) -> None:
        self._main_task = asyncio.current_task()
        self._loop = loop = asyncio.get_running_loop()
        try:
            # Asked to stop before there was a loop to be told on.
            if self._is_stopping:
                raise asyncio.CancelledError  # noqa: TRY301 - as if it had been told a moment later
            opened = await self._open_it()
        except BaseException as error:
            self.opened.set_exception(error)
            if isinstance(error, Exception):
                return  # whoever opens it is told
            raise
        self.opened.set_result(opened)
        try:
            await loop.create_future()
        finally:
            await opened.close(timeout=0)
            # The outcomes of the last moment reach their threads.
            await asyncio.sleep(0)
