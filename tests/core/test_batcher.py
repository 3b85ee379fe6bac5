"""Who may leave next: joining, order within a key, cutting. Tables of calls, without a loop or a clock."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from sinkwell.core._batcher import Batcher
from sinkwell.core._entry import Entry, Place
from tests.core.entries import end, entry, fly, names

if TYPE_CHECKING:
    from collections.abc import Hashable


def batcher_of(*entries: Entry, max_records: int = 10, max_bytes: int = 100, keys_repeat: bool = True) -> Batcher:
    batcher = Batcher(None, max_records=max_records, max_bytes=max_bytes, keys_repeat=keys_repeat)
    for each in entries:
        batcher.add(each)
    return batcher


def keys_of(batch: list[Entry], *, repeat: bool) -> list[Hashable]:
    """The keys of a batch; each once, if it may hold them more than once."""
    keys = [each.key for each in batch if each.key is not None]
    return list(set(keys)) if repeat else keys


def cuts(batcher: Batcher) -> list[str]:
    """What leaves if every batch is delivered before the next is cut."""
    found = []
    while batcher.ready_records:
        batch = fly(batcher.cut())
        found.append(names(batch))
        end(*batch)
        assert batcher.settle(batch, 0) == []
    return found


@pytest.mark.parametrize(
    ("keys_repeat", "put", "batches"),
    [
        (True, "-1 -2 -3", ["-1 -2", "-3"]),
        (True, "a1 a2 a3", ["a1 a2", "a3"]),
        (True, "a1 -1 a2 b1", ["a1 a2", "-1 b1"]),
        (True, "a1 b1 a2 b2", ["a1 a2", "b1 b2"]),
        (False, "a1 a2 a3", ["a1", "a2", "a3"]),
        (False, "a1 b1 a2 b2", ["a1 b1", "a2 b2"]),
        (False, "a1 a2 -1 -2", ["a1 -1", "-2 a2"]),
    ],
)
def test_what_leaves_together(keys_repeat: bool, put: str, batches: list[str]) -> None:
    entries = [entry(name) for name in put.split()]
    assert cuts(batcher_of(*entries, max_records=2, keys_repeat=keys_repeat)) == batches


def test_a_lane_that_does_not_fit_by_bytes_is_cut_where_it_is_full() -> None:
    entries = [entry("a1", size=4), entry("a2", size=4), entry("a3", size=4), entry("-1", size=2)]
    assert cuts(batcher_of(*entries, max_bytes=10)) == ["a1 a2 -1", "a3"]


def test_full_means_that_nothing_which_comes_later_could_join() -> None:
    batcher = batcher_of(entry("-1"), max_records=2, max_bytes=10)
    assert not batcher.is_full
    batcher.add(entry("-2", size=9))
    assert batcher.is_full
    assert batcher_of(entry("-1", size=10), max_bytes=10).is_full


@pytest.mark.parametrize(("keys_repeat", "ready"), [(True, 3), (False, 1)])
def test_followers_count_as_ready_only_where_a_key_may_repeat(keys_repeat: bool, ready: int) -> None:
    batcher = batcher_of(entry("a1"), entry("a2"), entry("a3"), keys_repeat=keys_repeat)
    assert (batcher.ready_records, batcher.ready_bytes) == (ready, ready)


def test_of_a_key_in_flight_nothing_more_is_ready() -> None:
    batcher = batcher_of(entry("a1"))
    fly(batcher.cut())
    batcher.add(entry("a2"))
    assert batcher.ready_records == 0


def test_a_keyless_entry_that_failed_goes_before_everything_that_is_ready() -> None:
    first = entry("-1", at=1)
    batcher = batcher_of(first)
    batch = fly(batcher.cut())
    assert batcher.settle(batch, 2) == [first]
    assert (first.place, batcher.retrying) == (Place.RETRYING, 1)
    batcher.add(entry("-2", at=3))
    batcher.retry([first], 5)
    assert (batcher.retrying, first.ready_at) == (0, 3)  # it inherits the age of what it overtakes
    assert names(batcher.cut()) == "-1 -2"


def test_a_retry_with_nobody_to_overtake_is_as_old_as_its_backoffs_end() -> None:
    first = entry("-1", at=1)
    batcher = batcher_of(first)
    batcher.settle(fly(batcher.cut()), 2)
    batcher.retry([first], 5)
    assert batcher.oldest.ready_at == 5


def test_of_several_failed_entries_of_a_key_only_the_first_waits_the_others_follow_it() -> None:
    batcher = batcher_of(entry("a1"), entry("a2"), entry("a3"))
    batch = fly(batcher.cut())
    batcher.add(entry("a4"))
    end(batch[0])
    assert names(batcher.settle(batch, 0)) == "a2"
    batcher.retry([batch[1]], 1)
    assert cuts(batcher) == ["a2 a3 a4"]


def test_a_failed_head_without_followers_gets_no_lane() -> None:
    batcher = batcher_of(entry("a1"))
    [head] = fly(batcher.cut())
    assert batcher.settle([head], 0) == [head]
    assert head.lane is None


def test_after_its_last_entry_a_key_is_forgotten() -> None:
    batcher = batcher_of(entry("a1"), entry("-1"))
    batch = fly(batcher.cut())
    assert not batcher.is_idle
    end(*batch)
    batcher.settle(batch, 0)
    assert batcher.is_idle


@pytest.mark.parametrize("keys_repeat", [True, False])
def test_removing_the_ready_head_makes_the_next_one_ready(keys_repeat: bool) -> None:
    entries = [entry(name) for name in ("a1", "a2", "a3")]
    batcher = batcher_of(*entries, keys_repeat=keys_repeat)
    batcher.remove(entries[0], 7)
    assert batcher.oldest.ready_at == 7
    assert " ".join(cuts(batcher)) == "a2 a3"


@pytest.mark.parametrize("keys_repeat", [True, False])
def test_removing_a_follower_leaves_the_others_in_order(keys_repeat: bool) -> None:
    entries = [entry(name, size=3) for name in ("a1", "a2", "a3")]
    batcher = batcher_of(*entries, keys_repeat=keys_repeat)
    batcher.remove(entries[1], 7)
    assert " ".join(cuts(batcher)) == "a1 a3"
    assert (batcher.ready_records, batcher.ready_bytes) == (0, 0)


def test_removing_a_follower_of_a_flying_head_leaves_nothing_behind() -> None:
    first, second = entry("a1"), entry("a2")
    batcher = batcher_of(first)
    batch = fly(batcher.cut())
    batcher.add(second)
    batcher.remove(second, 0)
    end(first)
    batcher.settle(batch, 0)
    assert batcher.is_idle


def test_removing_an_entry_in_backoff_lets_its_key_go_on() -> None:
    batcher = batcher_of(entry("a1"))
    [head] = batcher.settle(fly(batcher.cut()), 0)
    batcher.add(entry("a2"))
    batcher.remove(head, 9)
    assert (batcher.retrying, names(batcher.cut())) == (0, "a2")


def test_removing_a_keyless_entry_leaves_nothing_behind() -> None:
    only = entry("-1")
    batcher = batcher_of(only)
    batcher.remove(only, 0)
    assert batcher.is_idle


def test_a_blocked_key_waits_for_resume_and_is_remembered() -> None:
    batcher = batcher_of()
    batcher.block("a")
    batcher.add(entry("a1"))
    batcher.add(entry("a2"))
    batcher.add(entry("b1"))
    assert cuts(batcher) == ["b1"]
    assert batcher.resume("a", 4) is True
    assert batcher.oldest.ready_at == 4
    assert cuts(batcher) == ["a1 a2"]
    assert batcher.resume("a", 5) is False
    assert batcher.is_idle


def test_resuming_a_key_on_the_wire_does_not_make_it_ready_twice() -> None:
    batcher = batcher_of(entry("a1"), entry("a2"), keys_repeat=True)
    batch = fly(batcher.cut())
    batcher.block("a")
    assert batcher.resume("a", 0) is True
    assert batcher.ready_records == 0
    end(*batch)
    batcher.settle(batch, 0)
    assert batcher.is_idle


def test_dropping_what_waits_keeps_what_is_on_the_wire() -> None:
    batcher = batcher_of(entry("a1"), entry("-1"), max_records=1)
    batch = fly(batcher.cut())
    batcher.add(entry("a2"))
    batcher.block("b")
    batcher.drop_waiting()
    assert (batcher.ready_records, batcher.ready_bytes, batcher.is_idle) == (0, 0, False)
    end(*batch)
    batcher.settle(batch, 0)
    assert batcher.is_idle


@pytest.mark.parametrize("seed", range(40))
def test_whatever_fails_each_key_leaves_in_order_within_the_caps_and_nothing_is_lost(seed: int) -> None:
    rng = random.Random(seed)
    repeat = bool(seed % 2)
    batcher = batcher_of(max_records=3, max_bytes=9, keys_repeat=repeat)
    put = [entry(f"{rng.choice('abc-')}{number}", size=rng.randint(1, 9)) for number in range(30)]
    flying: list[list[Entry]] = []
    backoff: list[Entry] = []
    coming, written = list(put), []
    while coming or flying or backoff or batcher.ready_records:
        step = rng.random()
        if coming and step < 0.4:
            batcher.add(coming.pop(0))
        elif batcher.ready_records and step < 0.7:
            flying.append(fly(batcher.cut()))
            assert 0 < len(flying[-1]) <= 3
            assert sum(each.size for each in flying[-1]) <= 9
            keys = [key for batch in flying for key in keys_of(batch, repeat=repeat)]
            assert len(keys) == len(set(keys))
        elif flying and step < 0.9:
            batch = flying.pop(rng.randrange(len(flying)))
            good = batch[: rng.randint(0, len(batch))]
            end(*good)
            written += good
            backoff += batcher.settle(batch, 0)
        elif backoff:
            batcher.retry([backoff.pop(rng.randrange(len(backoff)))], 0)
    assert batcher.is_idle
    assert (batcher.ready_bytes, batcher.retrying) == (0, 0)
    for key in "abc":
        assert [each for each in written if each.key == key] == [each for each in put if each.key == key]
    assert set(written) == set(put)
