"""One simulated world: callers, a sink, a provider and bad luck, all drawn from one seed, in virtual time."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sinkwell.core import Observer, Receipt, Sink, SinkwellError
from sinkwell.core.testing import Deadlock, VirtualLoop

from .breach import Breach
from .callers import Callers
from .deeds import Deeds
from .faults import LONGEST_TRAVEL, SimDestination, calm
from .invariants import Watch, at_the_end, left_behind
from .letters import Letters
from .oracle import Oracle
from .scenario import Record, Scenario, draw

if TYPE_CHECKING:
    from sinkwell.core import BatchSent, DeadLetterFailed, RecordOrphaned

# After the faults have stopped, nobody may wait longer than this, in virtual seconds.
PATIENCE = 20_000.0
MOST_STEPS = 100_000
# How many requests are lawful only the policy says: one that retries every few milliseconds until delivery_timeout
# makes many, and I15 holds each to its backoff, its rate and max_attempts. What no policy allows is steps for nothing.
MOST_STEPS_A_REQUEST = 10


@dataclass(slots=True)
class Life:
    """What became of one world."""

    seed: int
    breaches: list[str]
    digest: str
    seen: set[str]
    steps: int
    records: int
    log: list[tuple[Any, ...]] = field(default_factory=list)


class SimObserver(Observer):
    """Tells the oracle what observers are told, and raises where it was drawn."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._chance = world.scenario.observer_raises

    def _maybe_raise(self) -> None:
        if self._chance and self._world.rng.random() < self._chance:
            self._world.oracle.rare("observer raised")
            raise RuntimeError("sim: the observer raises")

    def on_batch_sent(self, event: BatchSent) -> None:
        world = self._world
        world.watch.on_batch_sent(event)
        chance = world.scenario.kill_at_launch
        if chance and not world.is_calm and world.rng.random() < chance:
            world.oracle.rare("a request was cancelled before its first step")
            world.watch.cancel_newest()
        self._maybe_raise()

    def on_batch_done(self, event: object) -> None:
        self._maybe_raise()

    def on_record_failed(self, event: object) -> None:
        self._maybe_raise()

    def on_record_orphaned(self, event: RecordOrphaned) -> None:
        event.record.orphaned += 1
        self._world.oracle.rare("an orphan was reported")
        self._maybe_raise()

    def on_dead_letter_failed(self, event: DeadLetterFailed) -> None:
        self._world.letters.failed(event)
        self._maybe_raise()


class World:
    """One seed's world."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.loop = VirtualLoop()
        self.loop.after_step = self._after_step
        self.rng = random.Random(scenario.seed * 2 + 1)
        self.oracle = Oracle(scenario)
        self.oracle.time = self.loop.time
        self.destination = SimDestination(
            scenario.faults, scenario.limits, self.oracle, random.Random(scenario.seed * 3 + 2)
        )
        self.steps = 0
        # The clock at the end of the last stall of this step, subtracted to know up to when timers have run.
        self.stalled_now = 0.0
        self.is_calm = False
        # For so many more steps the clock stands still.
        self.still_for = 0
        self.destination.clock_stands = lambda: self.still_for > 0
        self.sink: Sink[Record, Receipt]
        self.watch: Watch
        self.letters: Letters

    def live(self) -> Life:
        """Live through it all, and say what became of it."""
        scenario = self.scenario
        oracle = self.oracle
        self.loop.set_exception_handler(self._exception)
        try:
            self.loop.run(self._main())
        except Deadlock as error:
            oracle.breach("I17", str(error))
        except (Breach, RuntimeError):
            # Ended in the middle of a step, the loop's own tidying up may complain too.
            if not oracle.breaches:
                raise
        return Life(
            seed=scenario.seed,
            breaches=oracle.breaches,
            digest=oracle.digest() if not oracle.breaches else "",
            seen=oracle.seen,
            steps=self.steps,
            records=len(scenario.records),
            log=oracle.log,
        )

    def _exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Whatever reaches the loop's handler escaped from a callback: nothing of ours may."""
        if "never retrieved" in context["message"]:
            return
        error = context.get("exception")
        self.oracle.breach("I16", f"{context['message']}: {error!r}")

    def _after_step(self) -> None:
        self.steps += 1
        if hasattr(self, "watch"):
            self.watch.after_step(self.loop.time() - self.stalled_now)
        self.stalled_now = 0.0
        if self.steps > MOST_STEPS + MOST_STEPS_A_REQUEST * self.oracle.requests.made:
            self.oracle.breach("I17", f"the loop spins: {self.steps:,} steps")
        if self.oracle.breaches:
            # What the loop's own tidying up does from here on is no news.
            self.loop.after_step = None
            self.oracle.is_over = True
            raise Breach(self.oracle.breaches[0])

    def stall(self, seconds: float) -> None:
        """Block the loop, as a slow synchronous call would."""
        self.oracle.note("stall", seconds)
        self.oracle.rare("the loop stalled")
        self.oracle.stall(seconds)
        self.stalled_now += seconds
        self.loop.stall(seconds)

    def freeze(self, steps: int) -> None:
        """Let the clock stand still for some steps, in which work goes on."""
        if not self.still_for:
            self.oracle.rare("the clock stood still")
            self.still_for = steps
            self._stand_still()

    def _stand_still(self) -> None:
        # The clock moves only when nothing is ready: something always is.
        self.still_for -= 1
        if self.still_for:
            self.loop.call_soon(self._stand_still)

    async def _main(self) -> None:
        scenario = self.scenario
        self.letters = Letters(self)
        await self.letters.open()
        self.sink = Sink(
            self.destination,
            scenario.policy,
            dead_letter=self.letters.target,
            observer=SimObserver(self),
            rng=random.Random(scenario.seed),
        )
        await self.sink.open()
        self.watch = Watch(self.oracle, self.sink)
        self.callers = Callers(self)
        self.deeds = Deeds(self)
        if scenario.cancel_on_answer:
            self.oracle.on_answer = self.callers.cancel_around
        tasks = [*self.callers.start(), self.loop.create_task(self.deeds.run(), name="sim deeds")]
        await asyncio.wait(tasks, timeout=2 * scenario.policy.delivery_timeout + 5)
        await self._liveness(tasks)
        await self._end()

    async def _liveness(self, tasks: list[asyncio.Task[None]]) -> None:
        """Faults stop: then everything must drain, and one fresh record must go through."""
        oracle = self.oracle
        oracle.note("calm")
        calm(self.destination)
        self.is_calm = True
        self.letters.calm()
        resumer = self.loop.create_task(self.deeds.resume_all(), name="sim resumer")
        _, waiting = await asyncio.wait(tasks, timeout=PATIENCE)
        if waiting:
            names = sorted(task.get_name() for task in waiting)
            oracle.breach("I17", f"faults have stopped, and {names} still wait")
            return
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                oracle.breach("I1", f"{task.get_name()} got {error!r}")
        if self.sink._closing is None:
            await self._drain()
            await self._fresh_record()
        resumer.cancel()
        await asyncio.wait([resumer])

    async def _drain(self) -> None:
        """Wait for what nobody waits for any more: a caller was cancelled, the record it had put was not."""
        deadline = self.loop.time() + PATIENCE
        while self.watch.open or self.watch.budget.waiting:
            await self.deeds.flush()
            await asyncio.sleep(0.1)
            if self.loop.time() > deadline:
                self.oracle.breach("I17", f"faults have stopped, and {len(self.watch.open)} records do not drain")
                return

    async def _fresh_record(self) -> None:
        record = Record(id=10_000_000, size=1, true_size=1, key="fresh", target=None)
        self.scenario.records.append(record)
        # A rate may still make up for what was sent last, and a request that ignored its cancellation hold its slot.
        # Both have an end, after which nothing at all may stand in the way.
        await asyncio.sleep(max(2 * LONGEST_TRAVEL, self.watch.sender._pace.free_at - self.loop.time()))
        if self.watch.sender.flights:
            self.oracle.breach("I17", "faults have stopped, nothing is open, and slots are still in use")
        began = self.loop.time()
        try:
            async with asyncio.timeout(PATIENCE):
                self.oracle.told(record, await self.sink.put(record))
        except (SinkwellError, TimeoutError) as error:
            self.oracle.breach("I17", f"faults have stopped, and a fresh record gets {error!r}")
        if self.loop.time() - began > LONGEST_TRAVEL:
            self.oracle.breach("I17", f"a fresh record on an idle sink took {self.loop.time() - began:.3f} s")

    async def _end(self) -> None:
        oracle = self.oracle
        await asyncio.sleep(30)  # Requests that ignored their cancellation end too.
        report = await self.deeds.close(None)
        await asyncio.sleep(30)
        await self.letters.close()
        for _ in range(3):
            await asyncio.sleep(0)
        found = left_behind(self.loop)
        if found:
            oracle.breach("I13", f"left behind after close: {found}")
        if self.destination.closed != 1:
            oracle.breach("I13", f"the destination was closed {self.destination.closed} times")
        self.letters.check()
        if report is not None:
            at_the_end(oracle, self.sink, report, self.watch)
        if oracle.breaches:
            raise Breach(oracle.breaches[0])


def live(seed: int) -> Life:
    """Draw a world and live through it."""
    logging.getLogger("sinkwell").setLevel(logging.CRITICAL + 1)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
    return World(draw(seed)).live()
