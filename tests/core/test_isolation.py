"""The search for the culprits of a refused batch: few requests, none innocent, order kept."""

from __future__ import annotations

import math
import random

import pytest

from sinkwell.core._isolation import Isolation
from tests.core.entries import end, entry, names


def search(put: str, culprits: set[str], *, suspect: int | None = None) -> tuple[str, list[str]]:
    """The culprits found and the requests that it took, the first refused one not counted."""
    entries = [entry(name) for name in put.split()]
    isolation = Isolation()
    isolation.refused(entries, suspect)
    found, requests = [], []
    while True:
        group = isolation.next_group()
        found += isolation.culprits
        end(*isolation.culprits)
        isolation.culprits.clear()
        if not group:
            return names(found), requests
        requests.append(names(group))
        if any(each.record in culprits for each in group):
            isolation.refused(group, None)
        else:
            end(*group)
            isolation.written(all_of_it=True)


@pytest.mark.parametrize(
    ("put", "culprits", "requests"),
    [
        ("-1", "-1", []),
        ("-1 -2", "-1", ["-1", "-2"]),
        ("-1 -2", "-2", ["-1"]),
        ("-1 -2 -3 -4", "-4", ["-1 -2", "-3"]),
        ("-1 -2 -3 -4", "-1", ["-1 -2", "-1", "-2 -3 -4"]),
        ("-1 -2 -3 -4", "-1 -4", ["-1 -2", "-1", "-2 -3 -4", "-2", "-3"]),
    ],
)
def test_halving_finds_the_culprits_by_so_many_requests(put: str, culprits: str, requests: list[str]) -> None:
    assert search(put, set(culprits.split())) == (culprits, requests)


@pytest.mark.parametrize("count", [2, 3, 7, 10, 25, 100])
@pytest.mark.parametrize("bad", [1, 2, 3])
def test_it_takes_at_most_k_log2_n_plus_k_requests(count: int, bad: int) -> None:
    rng = random.Random(count)
    names_of_all = [f"-{number}" for number in range(count)]
    for _ in range(30):
        culprits = set(rng.sample(names_of_all, min(bad, count)))
        found, requests = search(" ".join(names_of_all), culprits)
        assert set(found.split()) == culprits
        assert len(requests) <= len(culprits) * math.ceil(math.log2(count)) + len(culprits)


def test_a_true_hint_costs_two_requests() -> None:
    put = " ".join(f"-{number}" for number in range(100))
    found, requests = search(put, {"-77"}, suspect=77)
    assert (found, len(requests)) == ("-77", 2)
    assert requests[0] == "-77"


def test_a_false_hint_costs_one_more_and_misleads_nobody() -> None:
    found, requests = search("-1 -2 -3 -4", {"-4"}, suspect=0)
    assert (found, requests[0]) == ("-4", "-1")


@pytest.mark.parametrize("suspect", [-1, 4, 99])
def test_a_hint_outside_the_batch_is_ignored(suspect: int) -> None:
    assert search("-1 -2 -3 -4", {"-4"}, suspect=suspect) == search("-1 -2 -3 -4", {"-4"})


def test_a_suspect_whose_key_others_share_is_not_sent_before_them() -> None:
    found, requests = search("a1 a2 b1 b2", {"a2"}, suspect=1)
    assert (found, requests) == ("a2", ["a1 a2", "a1", "b1 b2"])


def test_a_suspect_that_is_alone_with_its_key_goes_first() -> None:
    assert search("a1 b1 c1", {"b1"}, suspect=1) == ("b1", ["b1", "a1 c1"])


@pytest.mark.parametrize("seed", range(20))
def test_entries_of_a_key_are_tried_in_order(seed: int) -> None:
    rng = random.Random(seed)
    put = [f"{rng.choice('ab')}{number}" for number in range(20)]
    culprits = set(rng.sample(put, 3))
    found, requests = search(" ".join(put), culprits, suspect=rng.randrange(20))
    written = [name for request in requests for name in request.split() if not culprits & set(request.split())]
    assert set(found.split()) == culprits
    for key in "ab":
        assert [name for name in written if name[0] == key] == [n for n in put if n[0] == key and n not in culprits]


def test_a_part_that_was_not_written_whole_leaves_the_other_half_open() -> None:
    entries = [entry(name) for name in ("-1", "-2", "-3", "-4")]
    isolation = Isolation()
    isolation.refused(entries, None)
    group = isolation.next_group()
    end(*group)
    isolation.written(all_of_it=False)  # a throttle, say: of -3 and -4 nothing is known
    assert names(isolation.next_group()) == "-3 -4"


def test_what_has_its_outcome_meanwhile_is_left_out() -> None:
    entries = [entry(name) for name in ("-1", "-2", "-3", "-4")]
    isolation = Isolation()
    isolation.refused(entries, None)
    end(entries[0], entries[3])
    assert names(isolation.next_group()) == "-2 -3"


def test_a_suspect_that_has_its_outcome_meanwhile_is_not_sent() -> None:
    entries = [entry(name) for name in ("-1", "-2", "-3")]
    isolation = Isolation()
    isolation.refused(entries, 1)
    end(entries[1])
    assert names(isolation.next_group()) == "-1 -3"


def test_what_would_overtake_one_of_its_key_waits() -> None:
    entries = [entry(name) for name in ("a1", "a2", "b1", "b2")]
    isolation = Isolation()
    isolation.refused(entries, None)
    end(entries[0])
    isolation.stalled_keys.add("a")
    assert names(isolation.next_group()) == "b1 b2"
