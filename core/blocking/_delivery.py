"""What a thread holds of a record that it has handed over. Before: a front's `submit`. After: the loop's thread."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar, final

from sinkwell.core._errors import SinkClosed

from . import _process

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ._loop_thread import LoopThread

R = TypeVar("R")


@final
class Delivery(Future[R]):
    """A `concurrent.futures.Future` of one outcome: the receipt or the result, or the error.

    `wait`, `as_completed` and callbacks (which run on the loop's thread, so they must be quick) work as with any other.
    `cancel()` gives up the answer, not the record, which is still delivered if it was accepted.

    In a process that was forked while it was open it raises `SinkClosed`: its record stayed with the parent.
    """

    def __init__(self, thread: LoopThread[Any]) -> None:
        super().__init__()
        self._thread = thread
        self._process = _process.current()
        # On the loop's thread only: the same outcome there, and, while the record is in line for room, its acceptance.
        self.future: asyncio.Future[R] | None = None
        self._accepted: asyncio.Future[Any] | None = None
        self._is_concluded = False
        # What `result` gives. A forked process reads it here, because the future's own lock may be held for ever.
        self._answer: Callable[[], R] | None = None

    def result(self, timeout: float | None = None) -> R:
        """Wait for the outcome and return or raise it; `TimeoutError` if there is none yet.

        Args:
            timeout: seconds; `None` waits as long as it takes.
        """
        if self._is_inherited:
            return self._answered()()
        self._thread.check_caller()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the outcome, and return the error that `result` raises, or `None`; `TimeoutError` as `result`."""
        if self._is_inherited:
            try:
                self._answered()()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is what is asked for
                return error
            return None
        self._thread.check_caller()
        return super().exception(timeout)

    def cancel(self) -> bool:
        """Give up the answer; whether it had not come yet. A record that was accepted is still delivered."""
        if self._is_inherited or not super().cancel():
            return False
        self._thread.post(self.withdraw)
        return True

    def give_up(self) -> None:
        """Cancel it; answered at this very moment with a record's delivery, which nobody got, cancel that one."""
        if not self.cancel() and not self._is_inherited and super().exception() is None:
            _disown(super().result())

    @property
    def _is_inherited(self) -> bool:
        return self._process is not _process.current()

    def _answered(self) -> Callable[[], R]:
        if self._answer is None:
            raise SinkClosed("this process was forked while the delivery was open; its record stayed with the parent")
        return self._answer

    # --- on the loop's thread ----------------------------------------------------------------------------------------

    def begin(self, start: Callable[[Delivery[R]], asyncio.Future[R]]) -> None:
        """Start what it stands for, unless its caller has left already."""
        if self.cancelled():
            return
        try:
            self.future = start(self)
        except Exception as error:  # noqa: BLE001 - the caller is told, in its own thread
            self.fail(error)
        else:
            self.future.add_done_callback(self._take_over)

    def wait_in_line(self, accepted: asyncio.Future[Any]) -> None:
        """Note what tells of the acceptance of a record that waits for room."""
        self._accepted = accepted
        accepted.add_done_callback(self._left_the_line)

    def _left_the_line(self, accepted: asyncio.Future[Any]) -> None:
        self._accepted = None
        error = None if accepted.cancelled() else accepted.exception()
        if error is not None:
            self.fail(error)

    def withdraw(self) -> bool:
        """Take the record out of the line, or leave its outcome to the observer; whether it was accepted."""
        if self._accepted is not None and self._accepted.done():
            self._left_the_line(self._accepted)  # In this very tick: refused, it fails with what refused it.
        if not super().cancel():
            return True
        is_in_line = self._accepted is not None
        if self._accepted is not None:
            self._accepted.cancel()
        if self.future is not None:
            self.future.cancel()
        self._conclude()
        return self.future is not None and not is_in_line

    def fail(self, error: BaseException) -> None:
        """Resolve it with an error, if it is open."""

        def answer() -> R:
            raise error

        if self._conclude():
            self._answer = answer
            self.set_exception(error)

    def _take_over(self, future: asyncio.Future[R]) -> None:
        """Pass on the outcome that the loop has."""
        error = SinkClosed("it was cancelled on the loop's thread") if future.cancelled() else future.exception()
        if error is not None:
            self.fail(error)
        elif self._conclude():
            result = future.result()
            self._answer = lambda: result
            self.set_result(result)
        else:
            _disown(future.result())

    def _conclude(self) -> bool:
        """Let go of it, once; whether its caller is to be told."""
        if self._is_concluded:
            return False
        self._is_concluded = True
        self._thread.forget(self)
        return self.set_running_or_notify_cancel()


def _disown(answer: object) -> None:
    """Leave the outcome of a record whose delivery reached nobody to the observer."""
    if isinstance(answer, Delivery):
        answer.cancel()
