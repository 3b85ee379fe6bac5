"""Which fault meets which request."""

from __future__ import annotations

import pytest

from sinkwell.sinks.testing import AwsPlan, Refuse, Throttle


def test_next_and_nth_meet_the_requests_they_name() -> None:
    plan = AwsPlan()
    first, third = Throttle(), Refuse("Third")
    plan.next("A", None, first)
    plan.nth("A", 3, third)
    assert plan.waiting == 2
    assert [[fault for fault, _ in plan.choose("A")] for _ in range(4)] == [[], [first], [third], []]
    assert plan.choose("B") == []


def test_a_cleared_plan_does_nothing_more() -> None:
    plan = AwsPlan()
    plan.next("A", Throttle())
    plan.nth("A", 1, Throttle())
    plan.always("*", Throttle())
    plan.script(lambda _: Throttle())
    plan.clear()
    assert plan.choose("A") == []
    with pytest.raises(ValueError, match="between 0 and 1"):
        plan.always("A", Throttle(), probability=2)
