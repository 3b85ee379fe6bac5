"""The public API as a user writes it: type-checked against the installed wheel, never run."""

from __future__ import annotations

from sinkwell.core._policy import Adaptive, Backoff, Policy, Rate


def a_policy() -> Policy:
    return Policy(
        linger=0.01,
        concurrency=Adaptive(minimum=1, maximum=32),
        backoff=Backoff(base=0.1, cap=5.0, jitter="none"),
        rate=Rate(requests=100),
        order="none",
    )
