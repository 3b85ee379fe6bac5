"""The end of a sink's life, which runs once and to its end whoever is cancelled.

Before: `Sink.close`. After: nothing is left.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, final

from ._errors import SinkClosed
from ._observe import CloseReport

if TYPE_CHECKING:
    from ._dead_letter import DeadLetters
    from ._destination import Destination
    from ._dispatcher import Dispatcher
    from ._policy import Policy
    from ._tally import Tally

logger = logging.getLogger("sinkwell")

CANCEL_GRACE: Final = 5.0
"""Seconds that a cancelled request, a cancelled dead letter and the destination's `aclose` have to stop."""


async def close_destination(destination: Destination[Any, Any]) -> None:
    """Let go of the connections. There is nothing that anybody could do if that fails, or never ends."""
    closing = asyncio.get_running_loop().create_task(_aclose(destination))
    try:
        await asyncio.wait([closing], timeout=CANCEL_GRACE)
    finally:
        # Also when this is cancelled itself: nothing of ours is left running.
        closing.cancel()
    if not closing.done():
        logger.error("%s: closing the connection took over %s s and was given up", destination.name, CANCEL_GRACE)
        await asyncio.wait([closing], timeout=CANCEL_GRACE)


async def _aclose(destination: Destination[Any, Any]) -> None:
    try:
        await destination.aclose()
    except Exception:
        logger.exception("%s: closing the connection failed; every record has its outcome", destination.name)


async def _give_up(letters: DeadLetters) -> None:
    """Stop what is being handed on, and report what was not."""
    letters.cancel()
    try:
        await asyncio.wait([letters.idle()], timeout=CANCEL_GRACE)
    finally:
        letters.give_up()


@final
class Closing:
    """One task that closes, however many callers wait for it."""

    def __init__(
        self, destination: Destination[Any, Any], dispatcher: Dispatcher | None, tally: Tally, policy: Policy
    ) -> None:
        self._destination = destination
        self._dispatcher = dispatcher
        self._tally = tally
        self._policy = policy
        self._task: asyncio.Task[CloseReport] | None = None
        self._has_begun = False
        self._began = self._ended = asyncio.get_running_loop().time()
        # Requests that did not stop when they were called back.
        self._unfinished = 0
        # Moves earlier only: by a second call's shorter timeout, or to now by a caller's cancellation.
        self._deadline = float("inf")
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._time_is_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_done(self) -> bool:
        """Whether it has come to its end."""
        return self._has_begun and self._task is not None and self._task.done()

    async def run(self, timeout: float) -> CloseReport:
        """Close, or wait for who does; a cancellation makes it quick, and is raised when it is done."""
        loop = asyncio.get_running_loop()
        # First, because an eager task may come to its end right here, and leaves no timer behind.
        self._end_by(loop.time() + timeout)
        if self._task is None:
            self._task = self._start(loop, self._refuse_more())
        was_cancelled = False
        while not self.is_done:
            if self._task.done():
                # Cancelled before its first step, it never came to its own end: all wait for another that does.
                self._task = self._start(loop, None)
            try:
                await asyncio.shield(self._task)
            except asyncio.CancelledError:
                was_cancelled = True
                self._end_by(loop.time())
        if was_cancelled:
            raise asyncio.CancelledError
        # A closing task that was cancelled, as a loop does that shuts down, came to its end all the same.
        return self._report() if self._task.cancelled() else self._task.result()

    def _start(
        self, loop: asyncio.AbstractEventLoop, drained: asyncio.Future[None] | None
    ) -> asyncio.Task[CloseReport]:
        return loop.create_task(self._close(drained), name=f"{self._destination.name} close")

    def _end_by(self, deadline: float) -> None:
        if deadline >= self._deadline or self.is_done:
            return
        self._deadline = deadline
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self._deadline_timer = asyncio.get_running_loop().call_at(deadline, self._end_now)

    def _end_now(self) -> None:
        if not self._time_is_up.done():
            self._time_is_up.set_result(None)

    def _refuse_more(self) -> asyncio.Future[None] | None:
        """Refuse new records from this very tick on; give the future of the last outcome, if the sink is open."""
        if self._dispatcher is None:
            return None
        return self._dispatcher.start_closing(
            SinkClosed(f"{self._destination.name}: the sink is closing, the record was not accepted")
        )

    async def _end(self) -> None:
        """Come to the end, however it began: no record stays without an outcome, no letter or connection is left."""
        self._leave_nothing()
        if self._dispatcher is None:
            return
        try:
            await close_destination(self._destination)
        finally:
            letters = self._dispatcher.ledger.dead_letters
            if letters is not None:
                await _give_up(letters)

    def _leave_nothing(self) -> None:
        """Give every record its outcome, and unschedule everything."""
        if self._dispatcher is not None:
            self._dispatcher.abandon()
            self._dispatcher.end_unanswered()
            self._dispatcher.sender.cancel_timers()
        if self._deadline_timer is not None:  # else every timeout was without an end
            self._deadline_timer.cancel()
        # Nobody's shorter timeout matters any more: a timer for it would outlive us.
        self._deadline = float("-inf")

    async def _close(self, drained: asyncio.Future[None] | None) -> CloseReport:
        self._has_begun = True
        dispatcher = self._dispatcher
        try:
            if dispatcher is not None and drained is not None:
                self._unfinished = await self._drain(dispatcher, drained)
                await self._hand_on_letters(dispatcher)
        finally:
            # Also when this task itself is cancelled, as a loop does that shuts down.
            await self._end()
            self._ended = asyncio.get_running_loop().time()
        return self._report()

    def _report(self) -> CloseReport:
        tally = self._tally
        letters = None if self._dispatcher is None else self._dispatcher.ledger.dead_letters
        return CloseReport(
            delivered=tally.delivered,
            not_written=tally.not_written,
            unknown=tally.unknown,
            abandoned=tally.abandoned,
            dead_letters_failed=0 if letters is None else letters.failed,
            unfinished_requests=self._unfinished,
            seconds=self._ended - self._began,
        )

    async def _drain(self, dispatcher: Dispatcher, drained: asyncio.Future[None]) -> int:
        """Deliver until the time is up, then end the rest. Give the number of requests that would not stop."""
        await asyncio.wait([drained, self._time_is_up], return_when=asyncio.FIRST_COMPLETED)
        if drained.done():
            return 0
        dispatcher.abandon()
        await asyncio.wait([drained], timeout=CANCEL_GRACE)
        unfinished = len(dispatcher.sender.flights)
        dispatcher.end_unanswered()
        if unfinished:
            logger.error(
                "%s: %d requests did not stop within %s s of being cancelled; their records are UNKNOWN",
                self._destination.name,
                unfinished,
                CANCEL_GRACE,
            )
        return unfinished

    async def _hand_on_letters(self, dispatcher: Dispatcher) -> None:
        letters = dispatcher.ledger.dead_letters
        if letters is not None:
            await asyncio.wait([letters.idle(), self._time_is_up], return_when=asyncio.FIRST_COMPLETED)
