"""A function over lists, seen as a destination. Before: `Sink`. After: the user's function."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import operator
from collections.abc import Iterable, Mapping, Sized
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, cast, final

from ._entry import Encoded
from ._errors import InvalidRecord
from ._policy import Limits
from ._verdict import BatchRefused, Delivered, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from ._batch import Batch
    from ._entry import Entry
    from ._verdict import Verdict


# They have a length and elements, but no results in order.
_UNORDERED: Final = (str, bytes, Mapping, AbstractSet)


@final
class _Refused:
    """A `BatchRefused` on its way from an executor: an exception's cause gets lost between processes."""

    def __init__(self, suspect: int | None, cause: BaseException | None) -> None:
        self.suspect = suspect
        self.cause = cause


@final
class Job:
    """The user's function, with the instance if it is a method, as an executor runs it.

    A decorated function can't be pickled by its name, which leads to what the decorator made of it: another process is
    told to look behind that.
    """

    def __init__(self, function: Callable[..., Any], bound: tuple[object, ...]) -> None:
        self._function = function
        self._bound = bound

    @property
    def is_async(self) -> bool:
        """Whether a call gives a coroutine."""
        function = self._function
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)

    def start(self, items: list[Any]) -> Any:
        """Call the function."""
        return self._function(*self._bound, items)

    def __call__(self, items: list[Any]) -> Any:
        """Call the function in an executor, and give what gets safely through it."""
        try:
            return self.start(items)
        except StopIteration as error:
            # A future can't carry it: the caller would wait for ever.
            raise RuntimeError("the function raised StopIteration") from error
        except BatchRefused as error:
            return _Refused(error.suspect, error.__cause__)

    def __reduce__(self) -> tuple[Callable[..., Job], tuple[object, ...]]:
        module = getattr(self._function, "__module__", None)
        name = getattr(self._function, "__qualname__", None)
        if module is None or name is None or "<locals>" in name or _undecorated(module, name) is not self._function:
            return Job, (self._function, self._bound)
        return _find_job, (module, name, self._bound)


def _undecorated(module: str, name: str) -> Any:
    """Give what is behind the decorated function of this name, if it is one."""
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return getattr(found, "__wrapped__", None)


def _find_job(module: str, name: str, bound: tuple[object, ...]) -> Job:
    return Job(_undecorated(module, name), bound)


@final
class FunctionDestination:
    """Calls the function with a list of items; its answer is a verdict for each.

    Args:
        name: what messages call it.
        job: the function.
        executor: where a plain function runs; `None` for threads of its own, as many as `threads`.
        threads: see `executor`.
        size_of: what an item counts against `max_bytes`; `None` for 1.
        called: told the entries that the function is about to be called with.
    """

    def __init__(
        self,
        name: str,
        job: Job,
        *,
        executor: Executor | None,
        threads: int,
        size_of: Callable[[Any], int] | None,
        called: Callable[[Sequence[Entry]], None] | None,
    ) -> None:
        self.name = name
        self.limits = Limits(retry_unknown=False)
        self._job = job
        self._size_of = size_of
        self._called = called
        self._own_threads: ThreadPoolExecutor | None = None
        if executor is None and not job.is_async:
            # Not the loop's own, which others fill, and DNS look-ups need. A thread is started when it is needed.
            executor = self._own_threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._executor = executor

    async def open(self) -> None:
        """There is nothing to connect to."""

    def encode(self, record: Any) -> Encoded:
        """Take the item as it is."""
        if self._size_of is None:
            return Encoded(record, 1)
        size = operator.index(self._size_of(record))
        if size < 0:
            raise InvalidRecord(f"{self.name}: size_of gave {size}, a size can't be negative")
        return Encoded(record, size)

    async def write(self, batch: Batch) -> Sequence[Verdict[Any]]:
        """Call the function with what is still wanted, and say of each item what it is to be told."""
        wanted = [index for index, entry in enumerate(batch.entries) if _is_wanted(entry)]
        if self._called is not None:
            self._called(batch.entries)
        verdicts: list[Verdict[Any]] = [_UNWANTED] * len(batch)
        if wanted:
            items = [batch.entries[index].payload for index in wanted]
            for index, verdict in zip(wanted, await self._verdicts(items, wanted), strict=True):
                verdicts[index] = verdict
        return verdicts

    async def _verdicts(self, items: list[Any], indexes: list[int]) -> list[Verdict[Any]]:
        count = len(items)
        try:
            results = self._paired(await self._call(items), count)
        except BatchRefused as refusal:
            suspect = refusal.suspect
            is_here = suspect is not None and 0 <= suspect < count
            raise BatchRefused(indexes[suspect] if suspect is not None and is_here else None) from (
                refusal.__cause__ or refusal
            )
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # It is not the callers who are cancelled.
            failure = RuntimeError(f"{self.name} was cancelled from inside, or by its executor's shutdown")
            failure.__cause__ = error
            return [Rejected(failure)] * count
        except Exception as error:  # noqa: BLE001 - whatever the function raises is every caller's answer
            return [Rejected(error)] * count
        return [Rejected(result) if isinstance(result, Exception) else Delivered(result) for result in results]

    def _paired(self, results: Any, count: int) -> list[Any]:
        """One result for each item; what can't be paired says nothing about any of them."""
        kind = type(results).__name__
        if isinstance(results, _UNORDERED) or not (isinstance(results, Sized) and isinstance(results, Iterable)):
            given = kind
        elif len(results) == count:
            return list(cast("Iterable[Any]", results))
        else:
            given = f"{len(results)} results"
        raise TypeError(
            f"{self.name} returned {given} for {count} items: it must return a list with one result for each, in order"
        )

    async def _call(self, items: list[Any]) -> Any:
        if self._executor is None:
            return await self._job.start(items)
        results = await self._run_in(self._executor, items)
        if isinstance(results, _Refused):
            raise BatchRefused(results.suspect) from results.cause
        return results

    async def _run_in(self, executor: Executor, items: list[Any]) -> Any:
        """Run the function in the executor; the slot stays taken until it has ended, also after a cancellation.

        A thread can't be stopped. If its slot were free again, the function would run more often at once than
        `concurrency` says.
        """
        job = executor.submit(self._job, items)
        done = asyncio.wrap_future(job)
        while True:
            try:
                return await asyncio.shield(done)
            except asyncio.CancelledError:
                if job.cancel():
                    raise

    async def aclose(self) -> None:
        """Let go of the threads; an executor that was given is its owner's."""
        if self._own_threads is not None:
            self._own_threads.shutdown(wait=False, cancel_futures=True)


def name_of(function: Callable[..., Any]) -> str:
    """Give what messages call the function."""
    return getattr(function, "__qualname__", type(function).__qualname__)


# Not Delivered, from which the search for a refused batch's culprit would deduce that the function took it.
_UNWANTED: Final = Rejected(asyncio.CancelledError("nobody waited for it any more"))


def _is_wanted(entry: Entry) -> bool:
    """Whether somebody still waits for it: a look-up, unlike a delivery, is then not worth making."""
    return entry.future is None or not entry.future.done()
