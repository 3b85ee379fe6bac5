"""Entries in backoff come out when they are due, in order, and not if they have ended meanwhile."""

from __future__ import annotations

from sinkwell.core._batcher import Batcher
from sinkwell.core._entry import Place
from sinkwell.core._retry import RetryQueue
from tests.core.entries import end, entry, names

HERE = Batcher("here", max_records=1, max_bytes=1, keys_repeat=True)
THERE = Batcher("there", max_records=1, max_bytes=1, keys_repeat=True)


def waiting(name: str) -> object:
    each = entry(name)
    each.place = Place.RETRYING
    return each


def test_entries_come_out_by_target_in_order_of_their_due_times() -> None:
    queue = RetryQueue()
    for due, batcher, name in [(3.0, HERE, "-3"), (1.0, HERE, "-1"), (2.0, THERE, "-2"), (9.0, HERE, "-9")]:
        queue.push(due, batcher, waiting(name))  # type: ignore[arg-type]
    assert queue.next_due() == 1.0
    assert {batcher.target: names(due) for batcher, due in queue.pop_due(3.0).items()} == {
        "here": "-1 -3",
        "there": "-2",
    }
    assert queue.next_due() == 9.0


def test_equal_due_times_come_out_first_come_first_served() -> None:
    queue = RetryQueue()
    for number in range(20):
        queue.push(1.0, HERE, waiting(f"-{number}"))  # type: ignore[arg-type]
    assert names(queue.pop_due(1.0)[HERE]) == " ".join(f"-{number}" for number in range(20))


def test_what_has_ended_meanwhile_is_forgotten() -> None:
    queue = RetryQueue()
    ended = waiting("-1")
    queue.push(1.0, HERE, ended)  # type: ignore[arg-type]
    end(ended)  # type: ignore[arg-type]
    assert (queue.next_due(), queue.pop_due(5.0)) == (None, {})
