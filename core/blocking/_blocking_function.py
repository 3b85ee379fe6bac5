"""A batched function for threads. Before: a view, a task, a script. After: `Batched`, on its loop's thread."""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from sinkwell.core._batched_function import Batched
from sinkwell.core._errors import ConfigError
from sinkwell.core._function_destination import name_of

from ._deadline import Deadline
from ._front import Front

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._delivery import Delivery

T = TypeVar("T")
R = TypeVar("R")


@final
class BlockingFunction(Front[Batched[Any, Any]], Generic[T, R]):
    """A batched function for code without an event loop: called with one item, it blocks until it has the result.

    Calls of all threads share lists. It lives on a daemon thread of its own, which the first call starts; a forked
    process gets its own. What waits when the process ends is answered for up to `exit_timeout`.

    Example:
        >>> @BlockingFunction
        ... @batched(max_records=200)
        ... def predict(images: list[Image]) -> list[str]:
        ...     return model(images)
        >>> label = predict(image)

    Args:
        function: what `@batched` made; of a method, that of an instance: `BlockingFunction(model.predict)`.
        exit_timeout: seconds that answering may take when the process ends.

    Raises:
        ConfigError: `function` was not made by `@batched`.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __init__(self, function: Batched[T, R], *, exit_timeout: float = 25.0) -> None:
        if not isinstance(function, Batched):
            raise ConfigError(f"{name_of(function)}: BlockingFunction takes what @batched makes of a function")
        self._function = function
        super().__init__(f"blocking {name_of(function)}", self._opened, exit_timeout)
        update_wrapper(self, function, updated=())

    def __call__(self, item: T, /, timeout: float | None = None) -> R:
        """Pass one item to the function in the next batch, wait, and return its result.

        Interrupted (`KeyboardInterrupt`), or when the time is up: the other callers notice nothing; an item that nobody
        waits for any more is left out if the function has not been called with it yet.

        Args:
            item: as the function takes them.
            timeout: seconds; `None` relies on the `timeout` of `@batched`.

        Raises:
            SinkFull, SinkClosed, RecordTooLarge, DeliveryAbandoned: as the batched function's call.
            TimeoutError: there is no result in time.
            Exception: whatever the function raised, or returned for this item, as itself.
        """
        deadline = Deadline(timeout)
        delivery = self._begin(item, deadline)
        try:
            return self._wait(delivery, deadline)
        except TimeoutError:
            if not delivery.cancelled():
                raise  # It is the outcome.
            raise TimeoutError(f"{self._name} gave no result within {timeout} s") from None

    def submit(self, item: T, /) -> Delivery[R]:
        """Put one item in line and return at once; `delivery.result(timeout)` when it suits.

        Every error comes from there, also that there is no room.
        """
        return self._begin(item, Deadline(None))

    def _begin(self, item: T, deadline: Deadline) -> Delivery[R]:
        return self._running(deadline).begin(lambda _: self._function(item))

    async def _opened(self) -> Batched[Any, Any]:
        """There is nothing to open: the first call on the loop does it."""
        return self._function
