"""Every order of a few events in worlds of three records and two keys, and longer ones that Hypothesis makes up."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from hypothesis.strategies import sampled_from

from .lockstep import LockStep

KEYS = {0: "a", 1: "a", 2: "b"}
EVENTS = ("put", "tick", "ok", "retry", "lost", "cancel", "close")
LENGTH = 5


def play(events: tuple[str, ...]) -> None:
    world = LockStep()
    for event in events:
        records = len(world.futures)
        match event:
            case "put":
                if records < len(KEYS):
                    world.put(records, KEYS[records])
            case "tick":
                world.settle()
            case "cancel":
                world.cancel(records - 1)
            case "close":
                world.close()
            case reply:
                world.reply(reply)
    world.end()


@pytest.mark.parametrize("first", EVENTS)
def test_every_order_of_events_gives_each_record_its_one_outcome(first: str) -> None:
    for rest in product(EVENTS, repeat=LENGTH - 1):
        play(("put", first, *rest))


class Machine(RuleBasedStateMachine):
    """The sink beside the model, in orders that Hypothesis makes up and shrinks."""

    def __init__(self) -> None:
        super().__init__()
        self.world = LockStep()
        self.number = 0

    @rule(key=sampled_from([None, "a", "b"]))
    def put(self, key: str | None) -> None:
        self.world.put(self.number, key)
        self.number += 1

    @rule()
    def tick(self) -> None:
        self.world.settle()

    @rule(says=sampled_from(["ok", "ok", "retry", "reject", "lost"]))
    def reply(self, says: str) -> None:
        self.world.reply(says)

    @precondition(lambda self: self.number > 0)
    @rule(which=sampled_from(range(50)))
    def cancel(self, which: int) -> None:
        self.world.cancel(which % self.number)

    @rule()
    def close(self) -> None:
        self.world.close()

    def teardown(self) -> None:
        self.world.end()


Machine.TestCase.settings = settings(max_examples=200, stateful_step_count=25, deadline=None, database=None)
test_the_sink_does_what_the_model_does = Machine.TestCase
