"""The sink in front of a function: its callers hear what a function's caller expects to hear.

Before: `Batched.__call__`. After: the core, and `FunctionDestination`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from ._errors import DeliveryAbandoned, DeliveryError, DeliveryExpired, DeliveryRejected, SinkClosed, SinkFull
from ._function_destination import FunctionDestination, Job
from ._merging import Merger
from ._policy import Adaptive, Policy, bounds_of
from ._receipt import Outcome
from ._sink import Sink

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from concurrent.futures import Executor

    from ._observe import Observer


@dataclass(slots=True, frozen=True, kw_only=True)
class FunctionOptions:
    """What `@batched` was told, checked."""

    policy: Policy
    executor: Executor | None
    key: Callable[[Any], Hashable] | None
    size_of: Callable[[Any], int] | None
    refuses: bool
    observer: Observer | None


@final
class FunctionSink(Sink[Any, Any]):
    """One loop's sink: it tells its callers what a function's caller expects to hear."""

    def __init__(self, name: str, job: Job, options: FunctionOptions) -> None:
        self._name = name
        self._timeout = options.policy.delivery_timeout
        self._refuses = options.refuses
        self.merger = Merger(options.key) if options.key is not None else None
        concurrency = options.policy.concurrency
        destination = FunctionDestination(
            name,
            job,
            executor=options.executor,
            threads=concurrency.maximum if isinstance(concurrency, Adaptive) else concurrency,
            size_of=options.size_of,
            called=None if self.merger is None else self.merger.called,
        )
        super().__init__(destination, options.policy, observer=options.observer)

    def __del__(self) -> None:
        """Say nothing: a function need not be closed, and its callers are gone with their loop."""

    @property
    def is_closed(self) -> bool:
        """Whether calls are refused."""
        return self._closing is not None

    def start(self) -> None:
        """Accept calls on the running loop: there is nothing to connect to, so nothing to wait for."""
        self._start(bounds_of(self._policy, self._destination.limits, self._destination.name))

    def call(self, item: Any) -> asyncio.Future[Any]:
        """Accept an item, or let it wait in line for no longer than its timeout."""
        try:
            return self.put_nowait(item)
        except SinkFull:
            if self._refuses:
                pending = self._policy.max_pending_records
                raise SinkFull(f"{self._name}: max_pending ({pending:,}) items have no result yet") from None
        future = self.put(item)
        timer = asyncio.get_running_loop().call_later(self._timeout, self._give_up, future)
        future.add_done_callback(lambda _: timer.cancel())
        return future

    def _give_up(self, future: asyncio.Future[Any]) -> None:
        if not future.done():
            future.set_exception(self._timed_out())

    def _timed_out(self) -> TimeoutError:
        return TimeoutError(f"{self._name} gave no result within timeout ({self._timeout} s)")

    def _error_for_caller(self, failure: DeliveryError) -> BaseException:
        """Say what a call raises: (1) what the function raised, (2) its time is up, (3) nobody is going to answer."""
        if isinstance(failure, DeliveryRejected):
            assert failure.__cause__ is not None
            return _raisable(failure.__cause__)
        if isinstance(failure, DeliveryExpired):
            return self._timed_out()
        was_called = failure.outcome is Outcome.UNKNOWN
        abandoned = DeliveryAbandoned(
            f"{self._name} was closed or cancelled before it gave a result; "
            f"the item {'had' if was_called else 'had not'} been passed to it",
            outcome=failure.outcome,
            attempts=failure.attempts,
            record=failure.record,
        )
        abandoned.__cause__ = failure.__cause__
        return abandoned

    def _closed_error(self) -> SinkClosed:
        return SinkClosed(f"{self._name} is closed; the item was not accepted")


def _raisable(error: BaseException) -> BaseException:
    """Give an exception that a future can carry: StopIteration is the one that it can't."""
    if not isinstance(error, StopIteration):
        return error
    stand_in = RuntimeError("a result was a StopIteration")
    stand_in.__cause__ = error
    return stand_in
