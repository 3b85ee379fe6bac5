"""Where a simulated world's dead letters go: a callable in all its moods, or another sink."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from sinkwell.core import Policy, Sink
from sinkwell.core.testing import FakeDestination, FaultPlan

if TYPE_CHECKING:
    from sinkwell.core import DeadLetter, DeadLetterFailed

    from .world import World


class Letters:
    """The dead-letter target of one world, and its book."""

    def __init__(self, world: World) -> None:
        self._oracle = world.oracle
        self._kind = world.scenario.dead_letter
        self._rng = random.Random(world.scenario.seed * 5 + 3)
        self._world = world
        self._is_calm = False
        self._released: asyncio.Event = asyncio.Event()
        self._sink: Sink[Any, Any] | None = None
        # The task that hands on, for those who kill it.
        self.task: asyncio.Task[Any] | None = None
        self.failures = 0
        self.target: Any = None

    @property
    def has_sink(self) -> bool:
        """Whether the letters go to another sink."""
        return self._sink is not None

    async def open(self) -> None:
        """Make the target."""
        kind = self._kind
        if "sink" in kind:
            plan = FaultPlan(reject_entry=0.3, slow=0.1) if kind == "full sink" else FaultPlan()
            pending = 2 if kind == "full sink" else None
            self._sink = self.target = Sink(
                FakeDestination(plan=plan, seed=self._world.scenario.seed),
                Policy(max_records=2, max_pending_records=pending),
                rng=random.Random(1),
            )
            await self._sink.open()
        elif kind == "plain":
            self.target = self._plain
        elif kind != "none":
            self.target = self._slow

    def _take(self, letter: DeadLetter) -> None:
        letter.record.letters += 1
        self._oracle.note("letter", letter.record.id, letter.reason)
        self._oracle.rare("a dead letter was taken")

    def _plain(self, letter: DeadLetter) -> None:
        if not self._is_calm and self._rng.random() < 0.2:
            raise ValueError("sim: the letter box is broken")
        self._take(letter)

    async def _slow(self, letter: DeadLetter) -> None:
        self.task = asyncio.current_task()
        if not self._is_calm:
            if self._kind == "slow":
                await asyncio.sleep(self._rng.uniform(0, 2))
            elif self._kind == "failing" and self._rng.random() < 0.5:
                await asyncio.sleep(0)
                raise self._rng.choice((ValueError, asyncio.CancelledError, OSError))("sim: the letter box is broken")
            elif self._kind == "hanging" and self._rng.random() < 0.3:
                self._oracle.rare("a dead letter's target hung")
                await self._released.wait()
        self._take(letter)

    def failed(self, event: DeadLetterFailed) -> None:
        """The core says that a letter could not be handed on."""
        self.failures += 1
        self._oracle.rare("a dead letter failed")
        self._oracle.note("letter failed", event.letter.record.id)
        event.letter.record.letters += 1

    def calm(self) -> None:
        """Stop failing."""
        self._is_calm = True
        self._released.set()

    async def close(self) -> None:
        """Close the sink that took the letters."""
        if self._sink is not None:
            await self._sink.close()

    def check(self) -> None:
        """Every record without a receipt was handed on once, or reported once; nothing else was."""
        letters = self._world.watch.ledger.dead_letters
        if letters is None:
            return
        oracle = self._oracle
        failures = oracle.number_ended["not_written"] + oracle.number_ended["unknown"]
        if letters.handed_on + letters.failed != failures or letters.failed != self.failures:
            oracle.breach(
                "I1",
                f"{failures} records failed; {letters.handed_on} letters were handed on, {letters.failed} counted as "
                f"failed, {self.failures} reported",
            )
        if self._sink is not None:
            return
        for record in oracle.scenario.records:
            due = record.ended_at is not None and hasattr(record.entry.outcome, "reason")
            if record.letters != due:
                oracle.breach("I1", f"record {record.id}: {record.letters} dead letters, {int(due)} due")
