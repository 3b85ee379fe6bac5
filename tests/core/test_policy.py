"""A policy is checked once, in sentences that name what is wrong and give both values."""

from __future__ import annotations

import random
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from sinkwell.core import Adaptive, Backoff, ConfigError, Limits, Policy, Rate
from sinkwell.core._policy import bounds_of

SENTENCES: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value}, f"{name} ({value!r}) must be a whole number of at least 1")
        for name in ("max_records", "max_bytes", "max_pending_records", "max_pending_bytes", "max_attempts")
        for value in (0, -1, 2.5, True, "7")
    ),
    ({"concurrency": 0}, "concurrency (0) must be a whole number of at least 1"),
    ({"concurrency": 2.5}, "concurrency (2.5) must be a whole number of at least 1"),
    ({"concurrency": None}, "concurrency (None) must be a whole number of at least 1"),
    ({"linger": -0.1}, "linger (-0.1) must be a number of seconds, not negative"),
    ({"linger": "5"}, "linger ('5') must be a number of seconds, not negative"),
    ({"linger": True}, "linger (True) must be a number of seconds, not negative"),
    ({"linger": float("nan")}, "linger (nan) must be a number of seconds, not negative"),
    ({"attempt_timeout": 0}, "attempt_timeout (0) must be longer than 0 seconds"),
    ({"delivery_timeout": 0}, "delivery_timeout (0) must be longer than 0 seconds"),
    ({"delivery_timeout": float("inf")}, "delivery_timeout (inf) must be a number of seconds, not negative"),
    (
        {"linger": 5.0, "delivery_timeout": 3.0, "attempt_timeout": 1},
        "linger (5.0) must be shorter than delivery_timeout (3.0)",
    ),
    (
        {"attempt_timeout": 5.0, "delivery_timeout": 3.0},
        "attempt_timeout (5.0) must not be longer than delivery_timeout (3.0)",
    ),
    ({"order": "fifo"}, 'order (\'fifo\') must be "key" or "none"'),
    ({"on_failure": "stop"}, 'on_failure (\'stop\') must be "continue" or "block"'),
    ({"on_failure": "block", "order": "none"}, 'on_failure="block" stops one key\'s lane, so it needs order="key"'),
    ({"on_unknown": "ignore"}, 'on_unknown (\'ignore\') must be "retry" or "fail"'),
    ({"rate": 100}, "rate (100) must be a Rate"),
    ({"backoff": 0.1}, "backoff (0.1) must be a Backoff"),
]


@pytest.mark.parametrize(("options", "sentence"), SENTENCES)
def test_a_wrong_policy_is_refused_by_a_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Policy(**options)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Backoff(base=0), "backoff base (0) must be longer than 0 seconds"),
        (lambda: Backoff(base=5, cap=3), "backoff cap (3) must not be shorter than its base (5)"),
        (lambda: Backoff(cap=-1), "backoff cap (-1) must be a number of seconds, not negative"),
        (lambda: Backoff(jitter="some"), 'backoff jitter (\'some\') must be "full" or "none"'),  # type: ignore[arg-type]
        (lambda: Adaptive(minimum=0), "adaptive minimum (0) must be a whole number of at least 1"),
        (lambda: Adaptive(maximum=0), "adaptive maximum (0) must be a whole number of at least 1"),
        (lambda: Adaptive(minimum=9, maximum=8), "adaptive maximum (8) must not be below its minimum (9)"),
        (lambda: Rate(records=0), "rate records (0) must be a number above 0"),
        (lambda: Rate(bytes=-1), "rate bytes (-1) must be a number above 0"),
    ],
)
def test_a_wrong_part_of_a_policy_is_refused_by_a_sentence(make: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == sentence


def test_a_policy_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Policy().linger = 1  # type: ignore[misc]


# --- against the provider's limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "limits", "sentence"),
    [
        (
            Policy(max_records=11),
            Limits(records=10),
            "max_records (11) is above what sqs:orders allows in one request (10)",
        ),
        (
            Policy(max_bytes=2_000_000),
            Limits(records=10, bytes=1_048_576),
            "max_bytes (2,000,000) is above what sqs:orders allows in one request (1,048,576)",
        ),
        (
            Policy(max_pending_records=5),
            Limits(records=10),
            "max_pending_records (5) must have room for one batch of max_records (10)",
        ),
        (
            Policy(max_pending_bytes=5),
            Limits(records=10, bytes=1_000),
            "max_pending_bytes (5) must have room for one batch of max_bytes (1,000)",
        ),
    ],
)
def test_a_policy_above_the_provider_is_refused_by_name_and_not_clipped(
    policy: Policy, limits: Limits, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        bounds_of(policy, limits, "sqs:orders")
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("policy", "limits", "records", "size"),
    [
        (Policy(), Limits(), 1_000, 16 * 1024 * 1024),
        (Policy(), Limits(records=10, bytes=1_000), 10, 1_000),
        (Policy(), Limits(default_records=500, default_bytes=5_000), 500, 5_000),
        (Policy(), Limits(records=9, default_records=5, bytes=90, default_bytes=50), 5, 50),
        (Policy(), Limits(records=3, default_records=5, bytes=30, default_bytes=50), 3, 30),
        (Policy(max_records=7, max_bytes=70), Limits(records=9, bytes=90, default_records=5), 7, 70),
        (Policy(max_records=7, max_bytes=70), Limits(), 7, 70),
    ],
)
def test_what_the_policy_leaves_open_the_sink_and_the_provider_fill_in(
    policy: Policy, limits: Limits, records: int, size: int
) -> None:
    bounds = bounds_of(policy, limits, "fake")
    assert (bounds.max_records, bounds.max_bytes) == (records, size)


@pytest.mark.parametrize(
    ("policy", "limits", "records", "size"),
    [
        (Policy(), Limits(records=10), 10_000, 64 * 1024 * 1024),
        (Policy(concurrency=8), Limits(records=5_000), 80_000, 64 * 1024 * 1024),
        (Policy(concurrency=Adaptive(1, 4)), Limits(records=5_000), 40_000, 64 * 1024 * 1024),
        (Policy(), Limits(bytes=100_000_000), 16_000, 200_000_000),
        (Policy(max_pending_records=20, max_pending_bytes=90), Limits(records=10, bytes=80), 20, 90),
    ],
)
def test_the_room_for_pending_records_has_a_default_that_fits_the_batches(
    policy: Policy, limits: Limits, records: int, size: int
) -> None:
    bounds = bounds_of(policy, limits, "fake")
    assert (bounds.max_pending_records, bounds.max_pending_bytes) == (records, size)


@pytest.mark.parametrize(
    ("on_unknown", "retry_unknown", "retries"),
    [(None, True, True), (None, False, False), ("retry", False, True), ("fail", True, False)],
)
def test_the_sink_says_whether_to_retry_the_unknown_unless_the_user_does(
    on_unknown: Any, retry_unknown: bool, retries: bool
) -> None:
    bounds = bounds_of(Policy(on_unknown=on_unknown), Limits(retry_unknown=retry_unknown), "fake")
    assert bounds.retries_unknown is retries


# --- backoff ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attempts", "chance", "seconds"),
    [(1, 0, 1), (1, 1, 2), (1, 0.5, 1.5), (2, 1, 4), (3, 1, 8), (4, 1, 10), (4, 0, 1), (10_000, 1, 10)],
)
def test_a_wait_is_drawn_between_the_base_and_a_ceiling_that_doubles(
    attempts: int, chance: float, seconds: float
) -> None:
    assert Backoff(base=1, cap=10).delay(attempts, chance) == seconds


def test_full_jitter_draws_from_the_generator_it_is_given_and_none_draws_nothing() -> None:
    assert Backoff().draw(random.Random(7)) == random.Random(7).random()
    assert Backoff(jitter="none").draw(random.Random(7)) == 1.0
