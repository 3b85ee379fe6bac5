"""Where entries without a receipt are handed on.

Before: the ledger ended an entry. After: the user's callable or sink.

Handing on is one at a time and in order for a callable; a sink batches them itself. Until a letter is taken its record
keeps its room in the budget: a slow dead letter slows the callers, it never grows a backlog.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, final

from ._observe import DeadLetterFailed

if TYPE_CHECKING:
    from ._errors import DeliveryError

logger = logging.getLogger("sinkwell")


@dataclass(slots=True, frozen=True, kw_only=True)
class DeadLetter:
    """A record that was accepted and ended without a receipt.

    Attributes:
        record: the caller's object, as it was put.
        reason: `"rejected"`, `"expired"`, `"superseded"`, `"abandoned"` or `"unknown"`.
        outcome: `"not_written"` or `"unknown"`: whether the provider may have the record all the same.
        attempts: how many requests carried it.
        error: what its caller was told; the provider's own error is its `__cause__`.
    """

    record: Any
    reason: str
    outcome: str
    attempts: int
    error: DeliveryError

    def as_dict(self) -> dict[str, Any]:
        """The letter as plain data: the errors as text. This is what a dead-letter sink is given."""
        cause = self.error.__cause__
        return {
            "record": self.record,
            "reason": self.reason,
            "outcome": self.outcome,
            "attempts": self.attempts,
            "error": str(self.error),
            "provider_error": None if cause is None else f"{type(cause).__name__}: {cause}",
        }


class LetterSink(Protocol):
    """Another sink, as far as dead letters need one."""

    async def submit(self, record: Any, /) -> asyncio.Future[Any]:
        """Accept the record, waiting for room, and give its outcome's future."""
        ...


DeadLetterTarget = Callable[[DeadLetter], Awaitable[object] | object] | LetterSink
"""A callable, plain or async, that is given a `DeadLetter`; or a sink, which is put the letter's `as_dict()`."""


@final
class DeadLetters:
    """Hands letters on, one task at a time, while there are any."""

    def __init__(
        self,
        target: Any,
        *,
        report: Callable[[DeadLetterFailed], None],
        taken: Callable[[DeliveryError, int], None],
        sink: str,
    ) -> None:
        self._target = target
        self._report = report
        # Told of each letter that is off our hands, with its entry's size, so that its room is given back.
        self._taken = taken
        self._sink = sink
        self._queue: deque[tuple[DeadLetter, int]] = deque()
        self._task: asyncio.Task[None] | None = None
        # Letters that a dead-letter sink has accepted and not yet delivered.
        self._submitted = 0
        # Who waits until every letter so far is off our hands.
        self._idle: asyncio.Future[None] | None = None
        self.handed_on = 0
        self.failed = 0

    def idle(self) -> asyncio.Future[None]:
        """Give a future that resolves when every letter has been handed on or reported as failed."""
        self._idle = asyncio.get_running_loop().create_future()
        self._tell_if_idle()
        return self._idle

    def _tell_if_idle(self) -> None:
        is_idle = self._task is None and not self._queue and not self._submitted
        if is_idle and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def add(self, error: DeliveryError, size: int) -> None:
        """Hand on a record that ended with this error; its room is `size` bytes."""
        letter = DeadLetter(
            record=error.record, reason=error.reason, outcome=error.outcome.value, attempts=error.attempts, error=error
        )
        self._queue.append((letter, size))
        if self._task is None:
            self._start()

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"{self._sink} dead letters")
        self._task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """Give up: whatever is not handed on yet is reported as failed; what another sink has accepted is its own."""
        self._submitted = 0
        self._tell_if_idle()
        if self._task is not None:
            self._task.cancel()

    def give_up(self) -> None:
        """Report what is still not handed on: the callable did not stop when it was cancelled, nobody waits for it."""
        self._fail_all(TimeoutError("the dead letter's callable was cancelled and did not stop"))

    async def _run(self) -> None:
        while self._queue:
            letter, size = self._queue[0]
            await self._hand_on(letter, size)
            if self._queue:
                self._queue.popleft()

    async def _hand_on(self, letter: DeadLetter, size: int) -> None:
        delivery: asyncio.Future[Any] | None = None
        failure: BaseException | None = None
        try:
            if hasattr(self._target, "submit"):
                delivery = await self._target.submit(letter.as_dict())
            elif inspect.isawaitable(result := self._target(letter)):
                await result
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            assert task is not None
            if task.cancelling():
                raise
            failure = error  # Something that the callable waited for was cancelled, not we.
        except Exception as error:  # noqa: BLE001 - whatever a user's callable raises is reported, never swallowed
            failure = error
        if not self._queue:
            return  # Given up meanwhile, and reported: what comes of it now changes nothing.
        if failure is not None:
            self._fail(letter, size, failure)
        elif delivery is None:
            self._succeed(letter, size)
        else:
            self._submitted += 1
            delivery.add_done_callback(lambda future: self._delivered(future, letter, size))

    def _delivered(self, delivery: asyncio.Future[Any], letter: DeadLetter, size: int) -> None:
        self._submitted = max(0, self._submitted - 1)
        error = asyncio.CancelledError() if delivery.cancelled() else delivery.exception()
        if error is None:
            self._succeed(letter, size)
        else:
            self._fail(letter, size, error)
        self._tell_if_idle()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Run on when letters came meanwhile; when the task was cancelled, report what it leaves."""
        self._task = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self._fail_all(error)
        elif self._queue:
            self._start()
        self._tell_if_idle()

    def _fail_all(self, error: BaseException) -> None:
        letters = list(self._queue)
        self._queue.clear()
        for letter, size in letters:
            self._fail(letter, size, error)

    def _succeed(self, letter: DeadLetter, size: int) -> None:
        self.handed_on += 1
        self._taken(letter.error, size)

    def _fail(self, letter: DeadLetter, size: int, error: BaseException) -> None:
        self.failed += 1
        logger.error(
            "%s: a dead letter (%s after %d attempts) could not be handed on: %s",
            self._sink,
            letter.reason,
            letter.attempts,
            type(error).__name__,
        )
        self._report(DeadLetterFailed(sink=self._sink, letter=letter, error=error))
        self._taken(letter.error, size)
