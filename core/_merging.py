"""Equal items that wait together, as one. Before: `Batched.__call__`. After: the sink, once for all of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable, Sequence

    from ._entry import Entry


@final
class _Shared:
    """One item, and all who wait for its result."""

    __slots__ = ("answer", "callers", "key", "wanted")

    def __init__(self, key: Hashable, answer: asyncio.Future[Any]) -> None:
        self.key = key
        self.answer = answer
        self.callers: list[asyncio.Future[Any]] = []
        # Callers that have neither been cancelled nor got the result.
        self.wanted = 0


@final
class Merger:
    """Which items wait, by key. An item that the function is being called with is joined by nobody."""

    def __init__(self, key_of: Callable[[Any], Hashable]) -> None:
        self._key_of = key_of
        self._waiting: dict[Hashable, _Shared] = {}
        # The same, and those whose result is awaited, by the future that the sink resolves.
        self._shared: dict[asyncio.Future[Any], _Shared] = {}

    def call(self, item: Any, put: Callable[[Any], asyncio.Future[Any]]) -> asyncio.Future[Any]:
        """Join an equal item that waits, or put this one; the future is this caller's own."""
        key = self._key_of(item)
        shared = self._waiting.get(key)
        # An answer that was given in this very tick is not for a call that comes after it.
        if shared is None or shared.answer.done():
            answer = put(item)
            shared = self._waiting[key] = self._shared[answer] = _Shared(key, answer)
            answer.add_done_callback(self._answered)
        caller: asyncio.Future[Any] = shared.answer.get_loop().create_future()
        caller.add_done_callback(partial(self._left, shared))
        shared.callers.append(caller)
        shared.wanted += 1
        return caller

    def called(self, entries: Sequence[Entry]) -> None:
        """Let nobody join these any more: the function is about to be called with them."""
        for entry in entries:
            shared = self._shared.get(entry.future) if entry.future is not None else None
            if shared is not None:
                self._separate(shared)

    def _separate(self, shared: _Shared) -> None:
        if self._waiting.get(shared.key) is shared:
            del self._waiting[shared.key]

    def _left(self, shared: _Shared, _: asyncio.Future[Any]) -> None:
        """Give the item up when the last of its callers has left; if it is because of the result, nothing is lost."""
        shared.wanted -= 1
        assert shared.wanted >= 0
        if shared.wanted == 0:
            self._separate(shared)
            shared.answer.cancel()

    def _answered(self, answer: asyncio.Future[Any]) -> None:
        shared = self._shared.pop(answer)
        if answer.cancelled():
            return
        error = answer.exception()
        for caller in shared.callers:
            if caller.done():
                continue
            if error is None:
                caller.set_result(answer.result())
            else:
                caller.set_exception(error)
