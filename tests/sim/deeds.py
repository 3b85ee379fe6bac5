"""What is done to a simulated sink from outside: flushes, closes, cancellations, kills, stalls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sinkwell.core import CloseReport, SinkClosed
from sinkwell.core._closing import CANCEL_GRACE

from .breach import EPSILON
from .invariants import left_behind

if TYPE_CHECKING:
    from .world import World


class Deeds:
    """Does the scenario's deeds at their times."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._oracle = world.oracle
        self._tasks: list[asyncio.Task[Any]] = []
        self.closes = 0
        self._cancelled_at: dict[asyncio.Task[Any], float] = {}
        self.report: CloseReport | None = None

    async def run(self) -> None:
        """Do them all, and wait for those that take time."""
        loop = self._world.loop
        for at, what in self._world.scenario.deeds:
            if at > loop.time():
                await asyncio.sleep(at - loop.time())
            self._do(what)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _do(self, what: str) -> None:
        world = self._world
        self._oracle.note("deed", what)
        match what:
            case "cancel":
                world.callers.cancel_one()
            case "cancel future":
                world.callers.cancel_future()
            case "flush":
                self._start(self.flush())
            case "flush and cancel":
                self._cancel_soon(self._start(self.flush()))
            case "kill":
                if world.destination.tasks:
                    self._oracle.rare("a request's task was cancelled from outside")
                    world.rng.choice(world.destination.tasks).cancel()
            case "kill letter":
                if world.letters.task is not None and not world.letters.task.done():
                    self._oracle.rare("the dead letters' task was cancelled from outside")
                    world.letters.task.cancel()
            case "stall" | "freeze":
                self._stop(what)
            case "resume":
                self._resume()
            case "look":
                assert "payload" not in repr(world.sink)
            case _:
                self._close(what)

    def _stop(self, what: str) -> None:
        """Stop the loop and let time pass, or stop the clock and let the loop go on."""
        world = self._world
        if what == "stall":
            world.stall(world.rng.choice((0.01, 0.3, 5.0)))
        else:
            world.freeze(world.rng.choice((10, 50, 300)))

    def _close(self, what: str) -> None:
        policy = self._world.scenario.policy
        timeout = {"close": None, "close at once": 0.0, "close soon": policy.attempt_timeout / 2}.get(what, 5.0)
        task = self._start(self.close(timeout))
        if what == "close and cancel":
            self._world.loop.call_later(self._world.rng.choice((0.0, 0.0, 0.005, 0.1)), self._cancel_close, task)
            task.add_done_callback(self._in_time_after_cancel)
        elif what == "close and kill":
            self._world.loop.call_later(self._world.rng.choice((0.0, 0.01, 0.1)), self._kill_close)

    def _cancel_close(self, task: asyncio.Task[Any]) -> None:
        # Less what the loop stalls, in which nothing can end.
        self._cancelled_at[task] = self._world.loop.time() - self._oracle.stalled
        task.cancel()

    def _in_time_after_cancel(self, task: asyncio.Task[Any]) -> None:
        """C5: cancelled, close takes no longer than what is on the wire takes to stop."""
        now = self._world.loop.time() - self._oracle.stalled
        took = now - self._cancelled_at.get(task, now)
        if took > self._grace() + EPSILON:
            self._oracle.breach("C5", f"close was cancelled, and took {took:.3f} s more")

    def _kill_close(self) -> None:
        for task in asyncio.all_tasks():
            if task.get_name() == "sim close":
                self._oracle.rare("the closing task was cancelled from outside")
                self._oracle.close_was_killed = True
                task.cancel()

    def _start(self, coroutine: Any) -> asyncio.Task[Any]:
        task = self._world.loop.create_task(coroutine)
        self._tasks.append(task)
        return task

    def _cancel_soon(self, task: asyncio.Task[Any]) -> None:
        self._world.loop.call_later(self._world.rng.choice((0.0, 0.0, 0.005, 0.1)), task.cancel)

    def _resume(self) -> None:
        lanes = sorted(self._oracle.blocked, key=str)
        if lanes and self._world.sink._dispatcher is not None:
            self._resume_lane(self._world.rng.choice(lanes))

    def _resume_lane(self, lane: Any) -> None:
        target, key = lane
        self._oracle.blocked.discard(lane)
        self._oracle.resumed.add(lane)
        self._oracle.note("resume", target, key)
        if self._world.sink.resume(key, target=target):
            self._oracle.rare("a blocked lane was resumed")
        elif not self._oracle.is_abandoning():
            self._oracle.breach("I6", f"key {key} was blocked, and resume said that it was not")

    async def resume_all(self) -> None:
        """Resume every lane that is blocked, again and again."""
        while self._world.sink._dispatcher is not None:
            for lane in sorted(self._oracle.blocked, key=str):
                self._resume_lane(lane)
            await asyncio.sleep(0.5)

    async def flush(self) -> None:
        """Flush: on return, all that was accepted before has its outcome."""
        oracle = self._oracle
        before = [record for record in oracle.scenario.records if record.accepted_at is not None]
        if any(record.ended_at is None for record in before):
            oracle.rare("flush with records open")
        try:
            await self._world.sink.flush()
        except SinkClosed:
            return
        missing = [record.id for record in before if record.ended_at is None]
        if missing:
            oracle.breach("I10", f"flush returned, and {missing} have no outcome")
        oracle.note("flushed")

    async def close(self, timeout: float | None) -> CloseReport | None:
        """Close: in time, with everything ended when it returns, also by an error."""
        world = self._world
        oracle = self._oracle
        oracle.is_closing = True
        self.closes += 1
        self._rare_closes()
        began = world.loop.time()
        stalled = oracle.stalled
        try:
            self.report = await world.sink.close(timeout)
        except asyncio.CancelledError:
            oracle.rare("close was cancelled")
        took = world.loop.time() - began - (oracle.stalled - stalled)
        allowed = (world.scenario.policy.delivery_timeout if timeout is None else timeout) + self._grace()
        if took > allowed + EPSILON:
            oracle.breach("I14", f"close({timeout}) took {took:.3f} s, {allowed:.3f} allowed")
        oracle.note("closed")
        if self.report is not None and not oracle.close_was_killed:
            self._world.loop.call_soon(self._nothing_left, 2, self.report.unfinished_requests)
        oracle.is_closed = True
        still = [record.id for record in oracle.scenario.records if record.accepted_at and record.ended_at is None]
        if still:
            oracle.breach("C5", f"close returned, and {still} have no outcome")
        if not world.destination.closed:
            oracle.breach("I13", "close returned, and the connection was not closed")
        return self.report

    def _nothing_left(self, ticks: int, unfinished: int) -> None:
        """I13: a tick or two after close has returned, nothing is there but the requests that it has reported."""
        if ticks:
            self._world.loop.call_soon(self._nothing_left, ticks - 1, unfinished)
            return
        if self._world.letters.has_sink:
            return  # Another sink goes on; all is looked through when that is closed too.
        # A stream's source may still be read: its reader is told of each record that it is not accepted.
        found = [what for what in left_behind(self._world.loop) if "_Feed" not in what]
        if len(found) > unfinished:
            self._oracle.breach("I13", f"left behind after close, which reported {unfinished}: {found}")

    def _grace(self) -> float:
        """What close may take beyond its timeout: a request, a dead letter and aclose that will not stop."""
        faults = self._world.scenario.faults
        grace = CANCEL_GRACE if faults.stubborn else 0.0
        return grace + (CANCEL_GRACE if faults.close_fails == "hangs" else 0.0)

    def _rare_closes(self) -> None:
        oracle = self._oracle
        if self.closes > 1:
            oracle.rare("close called again")
        watch = self._world.watch
        if self._oracle.is_closed:
            return
        if any(batcher.retrying for batcher in watch.targets.batchers.values()):
            oracle.rare("close during backoff")
        if watch.sender.flights:
            oracle.rare("close with requests in flight")
        if watch.budget.waiting:
            oracle.rare("close with callers waiting for room")
