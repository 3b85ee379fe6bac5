"""What a `FakeDestination` does wrong, and how often."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import final


@final
@dataclass(slots=True, frozen=True, kw_only=True)
class FaultPlan:
    """Chances from 0 to 1, each drawn anew for every request or entry; all 0 is a provider without faults.

    Attributes:
        latency: seconds that a request takes, before what the next two add.
        latency_spread: seconds; each request takes up to so much longer, evenly drawn.
        slow: the chance that a request takes `slow_seconds` instead.
        slow_seconds: see `slow`.
        throttle: the whole request is refused with Retry(throttled=True); nothing is written.
        retry_after: seconds that a throttle hints at; `None` for no hint.
        fail_entry: an entry of the request fails with Retry; it is not written, its neighbours are.
        reject_entry: an entry is Rejected; it is not written, its neighbours are.
        unknown_entry: an entry is Unknown; half of them are written.
        raise_before: `write` raises, nothing is written.
        raise_after: `write` raises, everything is written.
        short_answer: fewer verdicts than entries; everything is written.
        long_answer: more verdicts than entries; everything is written.
        hang: the request never ends until it is cancelled; half of them are written.
        stubborn: a cancelled request goes on for `stubborn_seconds` and then gives its verdicts after all.
        stubborn_seconds: see `stubborn`.
        names_suspect: the chance that a refusal names its culprit; `wrong_suspect` that it names another.
        wrong_suspect: see `names_suspect`.
    """

    latency: float = 0.01
    latency_spread: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 1.0
    throttle: float = 0.0
    retry_after: float | None = None
    fail_entry: float = 0.0
    reject_entry: float = 0.0
    unknown_entry: float = 0.0
    raise_before: float = 0.0
    raise_after: float = 0.0
    short_answer: float = 0.0
    long_answer: float = 0.0
    hang: float = 0.0
    stubborn: float = 0.0
    stubborn_seconds: float = 0.5
    names_suspect: float = 0.0
    wrong_suspect: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value < 0:
                raise ValueError(f"{field.name} ({value}) must not be negative")
