"""The life of a blocking front: opened by its first use, anew in a forked process, drained when the process ends.

Before: `BlockingSink` and `BlockingFunction`. After: `LoopThread`.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from sinkwell.core._closing import CANCEL_GRACE
from sinkwell.core._errors import SinkClosed
from sinkwell.core._observe import CloseReport, SinkStats

from . import _process
from ._deadline import Deadline
from ._loop_thread import Closable, LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from types import TracebackType

    from ._delivery import Delivery

logger = logging.getLogger("sinkwell")

S = TypeVar("S", bound=Closable)
R = TypeVar("R")

# Requests, dead letters and the connection have one grace each after the time to close is up; and one for the loop.
_PATIENCE: Final = 4 * CANCEL_GRACE
_NOTHING: Final = CloseReport(
    delivered=0, not_written=0, unknown=0, abandoned=0, dead_letters_failed=0, unfinished_requests=0, seconds=0.0
)


class Front(Generic[S]):
    """Something that lives on a loop's thread, for callers that don't."""

    def __init__(self, name: str, open_it: Callable[[], Coroutine[Any, Any, S]], exit_timeout: float) -> None:
        self._name = name
        self._open_it = open_it
        self._exit_timeout = Deadline(exit_timeout).timeout or 0.0
        # By process: a forked one may find the parent's held, for ever. Guards the next two; held while it opens.
        self._locks: dict[object, threading.Lock] = {}
        self._thread: LoopThread[S] | None = None
        self._is_closed = False
        # As they were when it closed.
        self._report = _NOTHING
        self._last_stats = SinkStats()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open(self, timeout: float | None = None) -> None:
        """Open it now, to hear now what is wrong with the setup; otherwise the first use does it.

        Raises:
            SinkClosed: it was closed.
            TimeoutError: it did not open in time; the next use tries again.
        """
        self._running(Deadline(timeout))

    def close(self, timeout: float | None = None) -> CloseReport:
        """Refuse new calls, deliver what was accepted, tell what became of it, and end the thread.

        Called again, it returns the same report. Interrupted (`KeyboardInterrupt`): the timeout is now, and the
        interruption is raised without waiting for the rest.

        Args:
            timeout: seconds; `None` for as long as the policy's `delivery_timeout` allows.

        Raises:
            TimeoutError: the loop's thread does not even answer, because something on it blocks.
        """
        patience = Deadline(None if timeout is None else timeout + _PATIENCE)
        with self._locked(patience):
            self._is_closed = True
            thread = self._thread
        if thread is None:
            return self._report
        thread.check_caller()
        try:
            self._wait(thread.run(lambda: self._close(thread, timeout)), patience)
        except SinkClosed:
            pass  # another thread has closed it meanwhile
        except TimeoutError:
            raise TimeoutError(
                f"{self._name}: its loop's thread is blocked and does not answer; "
                f"{thread.unresolved:,} calls have no outcome"
            ) from None
        self._end(thread)
        return self._report

    def stats(self) -> SinkStats:
        """Return a snapshot of what is pending and what has happened so far; after close, the last one."""
        thread = self._thread
        if thread is None:
            return self._last_stats
        try:
            return self._wait(thread.run(lambda: self._stats(thread)), Deadline(None))
        except SinkClosed:
            return self._last_stats

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "not opened yet" if self._thread is None else "open"
        return f"<{type(self).__name__} {self._name} {state}>"

    # --- for the two fronts ------------------------------------------------------------------------------------------

    def _running(self, deadline: Deadline) -> LoopThread[S]:
        """Give the thread, opened."""
        thread = self._thread
        if thread is None or self._is_closed:
            thread = self._start(deadline)
        thread.check_caller()
        return thread

    def _wait(self, delivery: Delivery[R], deadline: Deadline) -> R:
        """Wait for an outcome; who leaves early, by a timeout or an interruption, cancels only the answer."""
        try:
            delivery.exception(deadline.left())
            return delivery.result()
        except BaseException:
            delivery.give_up()
            raise

    # --- opening and ending ------------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self, deadline: Deadline) -> Generator[None]:
        left = deadline.left()
        lock = self._locks.setdefault(_process.current(), threading.Lock())
        if not lock.acquire(timeout=-1 if left is None else left):
            raise TimeoutError(f"{self._name}: was not open within {deadline.timeout} s; nothing was accepted")
        try:
            yield
        finally:
            lock.release()

    def _start(self, deadline: Deadline) -> LoopThread[S]:
        with self._locked(deadline):
            if self._is_closed:
                raise SinkClosed(f"{self._name}: it is closed, nothing was accepted")
            if self._thread is not None:
                return self._thread
            thread = LoopThread(self._name, self._open_it)
            _process.enter(self)
            try:
                thread.start()
                self._await_opening(thread, deadline)
            except BaseException:
                thread.stop()
                _process.leave(self)
                raise
            self._thread = thread
            return thread

    def _await_opening(self, thread: LoopThread[S], deadline: Deadline) -> None:
        try:
            thread.opened.result(deadline.left())
        except TimeoutError:
            if thread.opened.done():
                raise  # the provider's own
            raise TimeoutError(
                f"{self._name}: was not open within {deadline.timeout} s; nothing was accepted"
            ) from None

    async def _close(self, thread: LoopThread[S], timeout: float | None) -> None:
        opened = thread.opened.result()
        self._report = await opened.close(timeout)
        self._last_stats = opened.stats()

    async def _stats(self, thread: LoopThread[S]) -> SinkStats:
        return thread.opened.result().stats()

    async def _settle(self, thread: LoopThread[S]) -> None:
        """Wait until what was accepted has its outcome."""
        await thread.idle()

    def _end(self, thread: LoopThread[S]) -> None:
        thread.stop()
        thread.join(CANCEL_GRACE)
        # A fork may have come between.
        if self._thread is thread:
            self._thread = None
        _process.leave(self)

    # --- the process is forked, or ends ------------------------------------------------------------------------------

    def forget_parent(self) -> object:
        """Start anew in a forked process; give the parent's thread, which must not be finalized here."""
        inherited = self._thread
        self._thread = None
        return inherited

    def settle_at_exit(self) -> Callable[[], None]:
        """Begin to deliver what is pending; give what waits for it."""
        thread = self._thread
        deadline = Deadline(self._exit_timeout)
        if thread is None:
            return lambda: None
        try:
            settling = thread.run(lambda: self._settle(thread))
        except SinkClosed:
            return lambda: None

        return lambda: self._await_settling(settling, deadline)

    def _await_settling(self, settling: Delivery[None], deadline: Deadline) -> None:
        # Closed meanwhile, there is nothing to wait for.
        with suppress(SinkClosed):
            try:
                self._wait(settling, deadline)
            except TimeoutError:
                # The time is spent: what follows does not wait as long again.
                self._exit_timeout = 0.0
                logger.warning(
                    "%s: at exit, not all that was accepted has its outcome after %s s", self._name, deadline.timeout
                )

    def close_at_exit(self) -> Callable[[], None]:
        """Begin to close; give what waits for it and tells what was not delivered."""
        thread = self._thread
        self._is_closed = True
        if thread is None:
            return lambda: None
        try:
            closing = thread.run(lambda: self._close_counting(thread))
        except SinkClosed:
            return lambda: None
        return lambda: self._await_closing(thread, closing)

    def _await_closing(self, thread: LoopThread[S], closing: Delivery[tuple[int, int]]) -> None:
        with suppress(SinkClosed):
            try:
                not_written, unknown = self._wait(closing, Deadline(self._exit_timeout + _PATIENCE))
            except TimeoutError:
                logger.error(  # noqa: TRY400 - the traceback would show the waiting, not what blocks
                    "%s: at exit, its loop's thread is blocked; %d calls have no outcome",
                    self._name,
                    thread.unresolved,
                )
                return
            if not_written or unknown:
                logger.error(
                    "%s: at exit, %d accepted records were not delivered: %d NOT_WRITTEN, %d UNKNOWN",
                    self._name,
                    not_written + unknown,
                    not_written,
                    unknown,
                )
            self._end(thread)

    async def _close_counting(self, thread: LoopThread[S]) -> tuple[int, int]:
        """Close, and count what ended without a receipt since it began to."""
        before = thread.opened.result().stats()
        await self._close(thread, self._exit_timeout)
        return self._report.not_written - before.not_written, self._report.unknown - before.unknown
