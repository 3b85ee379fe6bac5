"""Moods of a simulated world: what must meet for the rarest states, which a swarm draws together too seldom."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from sinkwell.core import Backoff

from .faults import Faults

if TYPE_CHECKING:
    from sinkwell.core import Limits, Policy

    from .scenario import Producer

# Mostly nothing is brought together.
MOODS = ("",) * 14 + ("refusals", "refused close", "late close", "flushes", "culprits", "short of room")
BAD_IN_MOOD = {"refusals": (0.1, 0.2), "refused close": (0.1, 0.3), "culprits": (0.05, 0.1)}
# How many worlds have nothing but streams, whose records are accepted a block at a time.
_STREAMS_ONLY = 0.15
KEYS_IN_MOOD = {"refusals": ("uniform", "hot"), "refused close": ("none", "uniform", "hot"), "flushes": ("hot",)}


def in_mood(
    rng: random.Random, mood: str, limits: Limits, policy: Policy, faults: Faults
) -> tuple[Limits, Policy, Faults]:
    """Bring together what must meet for the rarest states, which a swarm draws together too seldom."""
    if mood == "late close":
        delivery = rng.choice((0.3, 0.5))
        policy = replace(
            policy, delivery_timeout=delivery, attempt_timeout=0.3, concurrency=1, max_records=1, max_attempts=None
        )
        return limits, policy, replace(faults, hang=0.3, slow=0.3, heavy_tail=False)
    if mood == "short of room":
        limits = replace(limits, records=2, default_records=None)
        return limits, replace(policy, max_records=2, max_pending_records=rng.choice((2, 3))), faults
    if mood == "culprits":
        limits = replace(limits, records=25, bytes=None, default_records=None)
        policy = replace(policy, max_records=25, max_bytes=1000, max_pending_records=None, max_pending_bytes=None)
        return limits, policy, Faults(latency=0.01)
    if mood == "flushes":
        limits = replace(limits, records=10, bytes=None, default_records=None, keys_repeat=False)
        policy = replace(
            policy,
            order="key",
            linger=rng.choice((0.2, 1.0)),
            delivery_timeout=20.0,
            concurrency=4,
            max_records=10,
            max_bytes=1000,
            max_pending_records=None,
            max_pending_bytes=None,
            max_attempts=None,
            backoff=Backoff(base=0.01, cap=0.05),
        )
        return limits, policy, Faults(latency=0.01, spread=rng.choice((0.05, 0.2)), fail=0.1)
    records = rng.choice((3, 4, 6, 10))
    limits = replace(limits, records=records, default_records=None, keys_repeat=True)
    policy = replace(
        policy,
        order="key",
        max_records=records,
        max_bytes=limits.bytes or 1000,
        max_pending_records=None,
        max_pending_bytes=None,
        max_attempts=rng.choice((None, 5)),
    )
    faults = replace(faults, fail=rng.choice((0.1, 0.3)), names_suspect=0.7, hang=0.0, raise_before=0.0, throttle=0.0)
    if mood == "refused close":
        faults = replace(faults, latency=0.05, stubborn=1.0, stubborn_seconds=rng.choice((0.01, 0.4)))
    return limits, policy, faults


def through_streams(seed: int, producers: list[Producer]) -> list[Producer]:
    """Let the records of some worlds come through few long streams. Drawn apart, so that other seeds stay as they were.

    Mostly from sources that have them all at hand, and without keys: those are accepted a block at a time.
    """
    rng = random.Random(f"streams {seed}")
    if rng.random() >= _STREAMS_ONLY:
        return producers
    others = [producer for producer in producers if producer.api in ("put", "submit")] if rng.random() < 0.5 else []
    records = [record for producer in producers if producer not in others for record in producer.records]
    if not records:
        return producers
    is_keyed = rng.random() < 0.25
    count = rng.choice((1, 1, 2, 3))
    few: list[Producer] = []
    for number in range(count):
        share = records[number::count]
        for record in share:
            record.key = record.key if is_keyed else None
        few.append(
            replace(
                producers[0],
                api=rng.choice(("stream", "stream", "put_many")),
                records=share,
                is_async=rng.random() < 0.1,
                raises_at=rng.randrange(len(records)) if rng.random() < 0.1 else -1,
                leaves_at=rng.randrange(len(records)) if rng.random() < 0.1 else -1,
            )
        )
    return [*others, *few]
