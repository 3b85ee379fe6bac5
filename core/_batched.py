"""`@batched`, checked when a function is decorated. Before: the user's module. After: `Batched`, at each call.

Nothing here batches: an item is a record, the function is a destination (`_function_destination.py`), each event loop
has its sink (`_function_sink.py`), equal items are put once (`_merging.py`).
"""

from __future__ import annotations

import inspect
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, cast, overload

from ._batched_function import Batched, BatchedMethod
from ._errors import ConfigError
from ._function_destination import Job, name_of
from ._function_sink import FunctionOptions
from ._policy import Adaptive, Limits, Policy, bounds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable, Sequence
    from concurrent.futures import Executor

    from ._observe import Observer

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")


class _Decorator(Protocol):
    """What `batched(...)` gives; `T` is an item's type, `R` a result's, `S` that of a method's `self`."""

    @overload
    def __call__(
        self, function: Callable[[list[T]], Coroutine[Any, Any, Sequence[R | Exception]]], /
    ) -> Batched[T, R]: ...

    @overload
    def __call__(self, function: Callable[[list[T]], Sequence[R | Exception]], /) -> Batched[T, R]: ...

    @overload
    def __call__(
        self, function: Callable[[S, list[T]], Coroutine[Any, Any, Sequence[R | Exception]]], /
    ) -> BatchedMethod[S, T, R]: ...

    @overload
    def __call__(self, function: Callable[[S, list[T]], Sequence[R | Exception]], /) -> BatchedMethod[S, T, R]: ...


def batched(
    *,
    max_records: int = 1_000,
    linger: float = 0.005,
    concurrency: int | Adaptive = 1,
    executor: Executor | None = None,
    key: Callable[[Any], Hashable] | None = None,
    timeout: float = 120.0,
    max_pending: int | None = None,
    when_full: Literal["wait", "refuse"] = "wait",
    max_bytes: int | None = None,
    size_of: Callable[[Any], int] | None = None,
    observer: Observer | None = None,
) -> _Decorator:
    """Turn a function over a list into one that is called with a single item; calls that wait together share a list.

    The function takes a list of items and returns a list with one result for each, in order. An `Exception` among the
    results is raised for that item only; what the function raises reaches every caller of that batch as itself. It is
    called once a batch: whoever wants another try calls again.

    A batch leaves at once if the function is idle. While it runs, items gather; the next batch leaves when it returns,
    or, with a free slot, when it is full or its oldest item has waited `linger`.

    Example:
        >>> @batched(max_records=200)
        ... def predict(images: list[Image]) -> list[str]:
        ...     return model(images)
        >>> label = await predict(image)

    Args:
        max_records: the most items that the function gets at once.
        linger: seconds; the longest an item waits for company while a slot is free.
        concurrency: how often the function may run at once; an `int`, or `Adaptive(minimum, maximum)`.
        executor: where a plain function runs: any executor of `concurrent.futures`, which its owner shuts down;
            by default threads of its own, as many as `concurrency`. A coroutine function runs on the loop.
        key: items with equal keys that wait together are one item for the function; each caller gets its result.
        timeout: seconds from the call until its result; then it raises `TimeoutError`.
        max_pending: the most items without a result; default: 10,000, or twice what `concurrency` full batches hold.
        when_full: what a call above `max_pending` does: `"wait"` for room, first come first served, or `"refuse"` by
            `SinkFull`.
        max_bytes: the most that the items of a batch may count together; needs `size_of`.
        size_of: what an item counts, in whatever unit you choose: bytes, tokens, pixels.
        observer: sees batches and failures as they happen.

    Raises:
        ConfigError: the numbers contradict each other, or the function does not take one list.
    """

    def decorate(function: Callable[..., Any]) -> Batched[Any, Any] | BatchedMethod[Any, Any, Any]:
        name = name_of(function)
        policy = _policy_of(
            name,
            max_records=max_records,
            linger=linger,
            concurrency=concurrency,
            timeout=timeout,
            max_pending=max_pending,
            max_bytes=max_bytes,
        )
        if (max_bytes is None) != (size_of is None):
            raise ConfigError(f"{name}: max_bytes and size_of need each other")
        if when_full not in ("wait", "refuse"):
            raise ConfigError(f'{name}: when_full ({when_full!r}) must be "wait" or "refuse"')
        if executor is not None and Job(function, ()).is_async:
            raise ConfigError(f"{name}: a coroutine function runs on the loop; executor is for plain functions")
        options = FunctionOptions(
            policy=policy,
            executor=executor,
            key=key,
            size_of=size_of,
            refuses=when_full == "refuse",
            observer=observer,
        )
        if _is_method(function):
            return BatchedMethod(function, options, copy_context())
        return Batched(function, options, copy_context())

    return cast("_Decorator", decorate)


def _is_method(function: Callable[..., Any]) -> bool:
    """Whether it takes `self` before the list."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        return False  # Written in C, and does not tell.
    for arguments in ((None,), (None, None)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return len(arguments) > 1
    raise ConfigError(
        f"{name_of(function)}{signature}: a batched function takes one list of items, a method self and one list"
    )


def _policy_of(
    name: str,
    *,
    max_records: int,
    linger: float,
    concurrency: int | Adaptive,
    timeout: float,
    max_pending: int | None,
    max_bytes: int | None,
) -> Policy:
    """Make the sink's policy, and check it, in the decorator's own words."""
    try:
        policy = Policy(
            max_records=max_records,
            max_bytes=max_bytes,
            linger=linger,
            concurrency=concurrency,
            max_pending_records=max_pending,
            # The caller holds the items anyway: they are bounded by number only.
            max_pending_bytes=2**62,
            # Items of a request are at least as old as it, so that each of them has ended before its request is.
            attempt_timeout=timeout,
            delivery_timeout=timeout,
        )
        bounds_of(policy, Limits(), name)
    except ConfigError as error:
        words = str(error).replace("attempt_timeout", "timeout").replace("delivery_timeout", "timeout")
        raise ConfigError(f"{name}: {words.replace('max_pending_records', 'max_pending')}") from None
    return policy
