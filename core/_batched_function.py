"""What `@batched` makes: a function that is called with one item. Before: the caller. After: a sink for each loop."""

from __future__ import annotations

import asyncio
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast, final, overload

from ._errors import ConfigError
from ._function_destination import Job, name_of
from ._function_sink import FunctionSink
from ._observe import SinkStats

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from types import TracebackType

    from ._function_sink import FunctionOptions
    from ._observe import CloseReport

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")


@final
class Batched(Generic[T, R]):
    """A function over a list that is called with one item; what `@batched` makes.

    Each event loop has a batcher of its own, opened by the first call on it, with its own `concurrency` and
    `max_pending`. What belongs to a loop that was closed is forgotten.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __init__(
        self,
        function: Callable[..., Any],
        options: FunctionOptions,
        context: Context,
        bound_to: tuple[object, str] | None = None,
    ) -> None:
        update_wrapper(self, function, updated=())
        self._name = name_of(function)
        self._job = Job(function, bound_to[:1] if bound_to else ())
        self._options = options
        self._context = context
        # The instance, and the name that this has there, if it is a method's.
        self._bound_to = bound_to
        self._sinks: dict[asyncio.AbstractEventLoop, FunctionSink] = {}

    def __call__(self, item: T, /) -> asyncio.Future[R]:
        """Pass one item to the function in the next batch; awaiting the future gives its result.

        A plain function: the item is in line when it returns. Cancelled: the other callers notice nothing; an item that
        nobody waits for any more is left out if the function has not been called with it yet.

        Raises:
            SinkFull: at once, with `when_full="refuse"`, if `max_pending` items have no result yet.
            SinkClosed: at once, or while waiting for room, if it was closed.
            RecordTooLarge: at once, if `size_of` gives more than `max_bytes`.
            TimeoutError: from the await, if there is no result within `timeout`.
            DeliveryAbandoned: from the await, if it was closed before there was a result.
            Exception: from the await, whatever the function raised, or returned for this item, as itself.
        """
        sink = self._sinks.get(asyncio.get_running_loop()) or self._open()
        if sink.merger is None:
            return sink.call(item)
        return sink.merger.call(item, sink.call)

    async def __aenter__(self) -> Self:
        """Open; only after `close` that makes a difference."""
        sink = self._sinks.get(asyncio.get_running_loop())
        if sink is None or sink.is_closed:
            self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, timeout: float | None = None) -> CloseReport:
        """Refuse new calls on this loop, answer those that wait, and tell what became of all of them.

        When the time is up, a coroutine function is cancelled and who still waits gets `DeliveryAbandoned`. A function
        in an executor can't be stopped: it is waited for five seconds more. Called again, it waits for the first call.
        `async with` closes, and may be entered again.

        Cancelled: the timeout is now.

        Args:
            timeout: seconds; 0 abandons at once, `None` answers everything within the `timeout` of each item.
        """
        sink = self._sinks.get(asyncio.get_running_loop()) or self._open()
        return await sink.close(timeout)

    def stats(self) -> SinkStats:
        """Return a snapshot of this loop's batcher: `delivered` counts results, `not_written` what raised."""
        sink = self._sinks.get(asyncio.get_running_loop())
        return SinkStats() if sink is None else sink.stats()

    def _open(self) -> FunctionSink:
        for loop in list(self._sinks):
            if loop.is_closed():
                self._sinks.pop(loop, None)
        sink = FunctionSink(self._name, self._job, self._options)
        # In no caller's context, so that a batch of many callers' items is in none of theirs.
        self._context.copy().run(sink.start)
        self._sinks[asyncio.get_running_loop()] = sink
        return sink

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Pickle by name; a method's by its instance and name. A batcher never leaves its process."""
        return self.__qualname__ if self._bound_to is None else (getattr, self._bound_to)

    def __repr__(self) -> str:
        snapshots = [sink.stats() for sink in list(self._sinks.values())]
        return (
            f"<Batched {self._name} pending={sum(stats.pending_records for stats in snapshots):,} "
            f"waiting={sum(stats.waiting for stats in snapshots):,} "
            f"in_flight={sum(stats.requests_in_flight for stats in snapshots)}>"
        )


@final
class _Own:
    """What an instance keeps of one method of its. It belongs to nobody once it was copied or pickled with it."""

    __slots__ = ("batched", "instance", "method")

    def __init__(self, method: object = None, instance: object = None, batched: Any = None) -> None:
        self.method = method
        self.instance = instance
        self.batched = batched

    def __reduce__(self) -> tuple[type[_Own], tuple[()]]:
        return _Own, ()


@final
class BatchedMethod(Generic[S, T, R]):
    """A method over a list; each instance gets a `Batched` of its own at the first look at it."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], options: FunctionOptions, context: Context) -> None:
        update_wrapper(self, function, updated=())
        self._function = function
        self._options = options
        self._context = context
        self._attribute = getattr(function, "__name__", "")
        # Where an instance keeps its own. No identifier, so that it hides no attribute; a number, because a subclass of
        # the same name may have a method of the same name. It is ours as long as the instance holds us.
        self._slot = f"batched {name_of(function)} {id(self):x}"

    def __set_name__(self, owner: type[S], name: str) -> None:
        self._attribute = name

    @overload
    def __get__(self, instance: None, owner: type[S]) -> Self: ...

    @overload
    def __get__(self, instance: S, owner: type[S] | None = None) -> Batched[T, R]: ...

    def __get__(self, instance: S | None, owner: type[S] | None = None) -> Self | Batched[T, R]:
        """Give the instance's own `Batched`."""
        if instance is None:
            return self
        try:
            attributes: dict[str, Any] = instance.__dict__
            own = attributes.get(self._slot)
            if own is None or own.instance is not instance:
                batched = Batched[T, R](self._function, self._options, self._context, (instance, self._attribute))
                own = attributes[self._slot] = _Own(self, instance, batched)
        except (AttributeError, TypeError) as error:
            raise ConfigError(
                f"{name_of(self._function)}: an instance keeps its batcher in its __dict__, and "
                f"{type(instance).__name__} has none that can be written; batch a function instead"
            ) from error
        return cast("Batched[T, R]", own.batched)

    def __call__(self, instance: S, item: T, /) -> asyncio.Future[R]:
        """Call it through the class, as any method."""
        return self.__get__(instance)(item)
