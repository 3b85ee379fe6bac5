"""A sink for threads. Before: a view, a task, a script. After: the sink, on its loop's thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from sinkwell.core._closing import CANCEL_GRACE
from sinkwell.core._errors import ConfigError, SinkFull
from sinkwell.core._function_destination import name_of
from sinkwell.core._sink import Sink

from ._deadline import Deadline
from ._front import Front

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sinkwell.core._errors import SinkwellError

    from ._delivery import Delivery
    from ._loop_thread import LoopThread

T = TypeVar("T")
R = TypeVar("R")
X = TypeVar("X")


@final
class BlockingSink(Front[Sink[Any, Any]], Generic[T, R]):
    """A sink for code without an event loop: every call blocks its thread until it is answered, or its time is up.

    Calls of all threads share batches. The sink lives on a daemon thread of its own, which the first call starts. It is
    safe to make one at import time, before a server forks: each process gets a sink and a thread of its own, and what
    the parent had accepted stays the parent's. At the end of the process what was accepted is delivered for up to
    `exit_timeout`; what was not is logged.

    Example:
        >>> sink = BlockingSink(SqsSink.from_env)
        >>> receipt = sink.put("hello", timeout=10)

    Args:
        make: makes the sink, not opened: a class, its `from_env`, a lambda. Called once in each process, on the loop.
        exit_timeout: seconds that delivering may take when the process ends.

    Raises:
        ConfigError: `exit_timeout` is not a number of seconds.
    """

    def __init__(self, make: Callable[[], Sink[T, R]], *, exit_timeout: float = 25.0) -> None:
        self._make = make
        super().__init__(f"blocking {name_of(make)}", self._opened, exit_timeout)

    def put(self, record: T, timeout: float | None = None) -> R:
        """Accept a record, wait for its outcome, and return its receipt.

        Interrupted (`KeyboardInterrupt`): a record that waits for room is taken back; an accepted one is still
        delivered, only the answer is lost (the observer gets it).

        Args:
            record: as the sink takes it.
            timeout: seconds, opening and waiting for room included; `None` relies on the policy's `delivery_timeout`.

        Raises:
            InvalidRecord, SinkClosed: it was not accepted, as `Sink.put`.
            SinkFull: it found no room within `timeout`; it was not accepted.
            TimeoutError: it was accepted and has no outcome within `timeout`; it is still being delivered. Or the sink
                did not open in time, and nothing was accepted; the message tells.
            DeliveryError: it ended without a receipt.
        """
        deadline = Deadline(timeout)
        thread = self._running(deadline)
        delivery = thread.begin(lambda own: self._line_up(thread, record, own)[0])
        return self._outcome(thread, delivery, deadline)

    def put_nowait(self, record: T) -> Delivery[R]:
        """Accept a record now, or not at all. Interrupted: as `put`.

        Raises:
            SinkFull: there is no room, or others wait for it; the record was not accepted.
            InvalidRecord, SinkClosed: as `put`.
        """
        thread = self._running(Deadline(None))

        def put(_: Delivery[Any]) -> asyncio.Future[Delivery[R]]:
            return _given(thread.adopt(thread.opened.result().put_nowait(record)))

        return self._wait(thread.begin(put), Deadline(None))

    def submit(self, record: T, timeout: float | None = None) -> Delivery[R]:
        """Wait only until the record is accepted, and return its delivery: `delivery.result(timeout)` when it suits.

        Interrupted: as `put`.

        Raises:
            InvalidRecord, SinkClosed, SinkFull: as `put`.
            TimeoutError: the sink did not open in time; the record was not accepted.
        """
        deadline = Deadline(timeout)
        thread = self._running(deadline)
        delivery = thread.begin(lambda own: self._submit(thread, record, own))
        return self._outcome(thread, delivery, deadline)

    def put_many(self, records: Iterable[T], timeout: float | None = None) -> list[R | SinkwellError]:
        """Put all records and wait for all outcomes: a list in the records' order, never an exception for one record.

        Each element is as from `Sink.put_many`. The iterable is read first, in this thread. Interrupted, or when the
        time is up: what was accepted is still delivered, and the observer gets its outcomes; the rest is not put.

        Raises:
            TimeoutError: not every record has its outcome within `timeout`.
            SinkClosed: as `put`.
        """
        deadline = Deadline(timeout)
        given = list(records)
        thread = self._running(deadline)

        async def put_all() -> list[R | SinkwellError]:
            return await thread.opened.result().put_many(given)

        return self._in_time(thread.run(put_all), deadline, "put_many has not every outcome")

    def flush(self, timeout: float | None = None) -> None:
        """Wait until every record accepted before this call has its outcome; they leave without linger.

        Raises:
            TimeoutError: some have none within `timeout`; they are still being delivered.
            SinkClosed: the sink is closed.
        """
        if self._thread is None and not self._is_closed:
            return  # nothing was ever accepted in this process
        deadline = Deadline(timeout)
        thread = self._running(deadline)
        self._in_time(thread.run(lambda: self._settle(thread)), deadline, "flush: some records have no outcome")

    # --- waiting -----------------------------------------------------------------------------------------------------

    def _in_time(self, delivery: Delivery[X], deadline: Deadline, what: str) -> X:
        try:
            return self._wait(delivery, deadline)
        except TimeoutError:
            raise TimeoutError(
                f"{self._name}: {what} within {deadline.timeout} s; what was accepted is still being delivered"
            ) from None

    def _outcome(self, thread: LoopThread[Any], delivery: Delivery[X], deadline: Deadline) -> X:
        """Wait for it; interrupted at any moment of that, leave the outcome to the observer."""
        try:
            return self._in_line(thread, delivery, deadline)
        except BaseException:
            delivery.give_up()
            raise

    def _in_line(self, thread: LoopThread[Any], delivery: Delivery[X], deadline: Deadline) -> X:
        """Wait for it; when the time is up, take the record out of the line, or say that it is accepted."""
        try:
            delivery.exception(deadline.left())
        except TimeoutError:
            return self._late(thread, delivery, deadline)
        return delivery.result()

    def _late(self, thread: LoopThread[Any], delivery: Delivery[X], deadline: Deadline) -> X:
        was_accepted: Future[bool] = Future()
        if not thread.post(lambda: was_accepted.set_result(delivery.withdraw())):
            return delivery.result()  # The loop has ended, and with it every delivery.
        words = f"{self._name}: {{}} within {deadline.timeout} s"
        try:
            if not was_accepted.result(CANCEL_GRACE):
                raise SinkFull(words.format("there was no room") + "; the record was not accepted")
        except TimeoutError:
            if not delivery.cancel():
                return delivery.result()  # The loop ended before its turn came.
            answer = words.format("the sink's thread did not answer, because something on it blocks,")
            raise TimeoutError(f"{answer}; whether the record was accepted is not known") from None
        if not delivery.cancelled():
            return delivery.result()  # It came at the last moment.
        raise TimeoutError(words.format("the record has no outcome") + "; it was accepted and is still being delivered")

    # --- on the loop's thread ----------------------------------------------------------------------------------------

    async def _opened(self) -> Sink[Any, Any]:
        sink: object = self._make()
        if not isinstance(sink, Sink):
            raise ConfigError(f"{self._name}: it must make a Sink, and made a {type(sink).__name__}")
        await sink.open()
        return sink

    async def _settle(self, thread: LoopThread[Sink[Any, Any]]) -> None:
        await thread.opened.result().flush()

    def _line_up(
        self, thread: LoopThread[Sink[Any, Any]], record: T, own: Delivery[Any]
    ) -> tuple[asyncio.Future[R], asyncio.Future[Any] | None]:
        """Accept a record, or let it wait in line, where its own delivery can take it out again."""
        sink = thread.opened.result()
        # The front is of the same core: what tells of the acceptance is nobody else's.
        future, accepted = sink._line_up(record)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if accepted is not None:
            own.wait_in_line(accepted)
        return future, accepted

    def _submit(
        self, thread: LoopThread[Sink[Any, Any]], record: T, own: Delivery[Delivery[R]]
    ) -> asyncio.Future[Delivery[R]]:
        """Give what is resolved with the record's delivery as soon as the record is accepted."""
        future, accepted = self._line_up(thread, record, own)
        if accepted is None:
            return _given(thread.adopt(future))
        handed: asyncio.Future[Delivery[R]] = future.get_loop().create_future()

        def left_the_line(accepted: asyncio.Future[Any]) -> None:
            if accepted.cancelled() or accepted.exception() is not None:
                return
            if handed.cancelled():
                future.cancel()  # Accepted as its caller left: the outcome is the observer's.
            else:
                handed.set_result(thread.adopt(future))

        accepted.add_done_callback(left_the_line)
        return handed


def _given(value: X) -> asyncio.Future[X]:
    """Give a future that has its result."""
    future: asyncio.Future[X] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future
