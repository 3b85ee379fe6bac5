"""What one seed stands for: first which options and faults exist at all, then how much of each (a swarm)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sinkwell.core import Adaptive, Backoff, Limits, Policy, Rate
from sinkwell.core._policy import bounds_of

from .faults import Faults, draw_faults
from .moods import BAD_IN_MOOD, KEYS_IN_MOOD, MOODS, in_mood, through_streams

if TYPE_CHECKING:
    from collections.abc import Hashable

_SOME_BAD = (0.0, 0.0, 0.0, 0.05, 0.3)

_KEYS = ("none", "uniform", "uniform", "hot", "distinct")
APIS = ("put", "fire", "put_nowait", "submit", "put_many", "stream")


@dataclass(slots=True, eq=False)
class Record:
    """A record, and all that the oracle sees happen to it."""

    id: int
    size: int
    key: Hashable
    target: Hashable
    # What the provider counts; another number where the sink's encoder estimates.
    true_size: int = 0
    is_bad: bool = False
    encode_raises: bool = False
    # --- what happened
    # None, then when it was encoded, accepted and ended; its place in the order of acceptance.
    offered_at: float | None = None
    accepted_at: float | None = None
    accepted_number: int = -1
    ended_at: float | None = None
    entry: Any = None
    # Its caller was cancelled before it was accepted: it must never be.
    is_withdrawn: bool = False
    # It came through a stream, which may withdraw it without the oracle seeing when.
    is_streamed: bool = False
    # Whether its caller was cancelled after acceptance and before the outcome: the observer must be told.
    is_orphan: bool = False
    # Its caller was cancelled in submit, and never got its future.
    is_lost: bool = False
    # The provider refused a batch with it as too large.
    is_suspect: bool = False
    # A request with it was cancelled before its first step.
    is_recalled: bool = False
    # How long the loop had stalled in all when it was accepted.
    stalled_before: float = 0.0
    # It ended when its request had been launched and had not begun.
    is_launched: bool = False
    orphaned: int = 0
    letters: int = 0
    # The newer one of its key that went in its place, when that was last sent.
    superseded_by: Record | None = None
    # One for each request that carried it, refused ones apart: see Attempt.
    attempts: list[Attempt] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)

    @property
    def units(self) -> int:
        """What it costs in the provider's unit."""
        return 1 + self.id % 3

    @property
    def payload(self) -> str:
        """What the provider must have of it."""
        return f"{self.id}:{self.id * 7919 % 9973}"


@dataclass(slots=True, eq=False)
class Attempt:
    """One request that carried a record.

    `end` is D(elivered), R(etry), H (held back, not sent), X (rejected), B (refused whole), U(nknown) or, in flight,
    empty.
    """

    began_at: float
    request: int
    number: int = 0
    ended_at: float | None = None
    end: str = ""
    # No new attempt before, by what the provider asked.
    not_before: float = 0.0
    # Nobody knows what became of it, and another attempt would not tell: there must be none.
    is_final: bool = False

    @property
    def is_charged(self) -> bool:
        """Whether it is one of those that `attempts` and `max_attempts` count."""
        return self.end not in ("B", "H")


@dataclass(slots=True)
class Producer:
    """One caller: what it puts, how, and how fast."""

    api: str
    records: list[Record]
    starts_at: float
    pause: float
    # For streams and put_many: an async source, a source that raises half-way; a reader that is slow or leaves early.
    is_async: bool = False
    raises_at: int = -1
    reader_pause: float = 0.0
    leaves_at: int = -1


@dataclass(slots=True)
class Scenario:
    """One world, before anything has happened."""

    seed: int
    policy: Policy
    limits: Limits
    producers: list[Producer]
    faults: Faults
    # (time, what) of what is done to the sink from outside.
    deeds: list[tuple[float, str]]
    # By how much the encoder's sizes are off at most, as a part of the provider's.
    size_error: float
    # How the provider says that a request is too large: it refuses all of it, rejects every entry, or raises.
    says_too_large: str
    # Chance that a request's task is cancelled before its first step.
    kill_at_launch: float
    dead_letter: str
    # Chance that a delivered answer cancels one of its callers within the next ticks.
    cancel_on_answer: float
    observer_raises: float
    # Whether the provider says of some doubts that another attempt would not clear them up.
    has_final_doubts: bool
    # Whether some of what the provider puts off was never sent: it is no attempt.
    holds_back: bool
    records: list[Record] = field(default_factory=list)

    def has_deeds(self, *kinds: str) -> bool:
        """Whether it does any of these."""
        return any(what in kinds for _, what in self.deeds)


def draw(seed: int) -> Scenario:
    """Draw everything that a seed decides before its world begins."""
    rng = random.Random(seed)
    limits = _limits(rng)
    policy = _policy(rng, limits)
    faults = draw_faults(rng, policy)
    mood = rng.choice(MOODS)
    if mood:
        limits, policy, faults = in_mood(rng, mood, limits, policy, faults)
    # Drawn apart: worlds without these are the same as before there were any.
    extra = random.Random(seed * 5 + 3)
    limits, policy = _extras(extra, limits, policy)
    bounds_of(policy, limits, "sim")  # Raises if no sink could be made so: then it is drawn wrongly.
    rates = BAD_IN_MOOD.get(mood) or ((0.0, 0.1, 0.1, 0.3) if faults.are_none else _SOME_BAD)
    producers = _producers(rng, limits, policy, bad=rng.choice(rates), keys=KEYS_IN_MOOD.get(mood, _KEYS))
    producers = through_streams(seed, producers)
    span = max(producer.starts_at + producer.pause * len(producer.records) for producer in producers) + 0.05
    deeds = _deeds(rng, span, policy)
    if mood == "flushes":
        deeds = sorted([*deeds, *((rng.uniform(0, span + 0.2), "flush") for _ in range(10))])
    elif mood in ("refused close", "late close"):
        deeds = sorted([*deeds, (rng.uniform(0, span + 0.3), rng.choice(("close", "close at once", "close soon")))])
    size_error = 0.0 if mood == "culprits" else rng.choice((0.0, 0.0, 0.0, 0.2))
    for record in (record for producer in producers for record in producer.records):
        record.true_size = max(1, round(record.size * rng.uniform(1 - size_error, 1 + size_error)))
    records = sorted((record for producer in producers for record in producer.records), key=lambda record: record.id)
    return Scenario(
        seed=seed,
        policy=policy,
        limits=limits,
        producers=producers,
        faults=faults,
        deeds=deeds,
        size_error=size_error,
        says_too_large=rng.choice(("refuses", "rejects", "raises")),
        kill_at_launch=rng.choice((0.0,) * 9 + (0.2,)),
        dead_letter=rng.choice(
            ("none", "none", "none", "plain", "async", "slow", "failing", "hanging", "sink", "full sink")
        ),
        cancel_on_answer=0.9 if mood == "short of room" else rng.choice((0.0, 0.0, 0.1, 0.5)),
        observer_raises=rng.choice((0.0, 0.0, 0.0, 0.3, 1.0)),
        has_final_doubts=extra.random() < 0.3,
        holds_back=extra.random() < 0.3,
        records=records,
    )


def _limits(rng: random.Random) -> Limits:
    records = rng.choice((1, 2, 3, 5, 10, 10, 10, 25, None))
    return Limits(
        records=records,
        bytes=rng.choice((None, 20, 50, 100)),
        default_records=rng.choice((None, records)) if records else 8,
        keys_repeat=rng.random() < 0.5,
        retry_unknown=rng.random() < 0.7,
    )


def _extras(rng: random.Random, limits: Limits, policy: Policy) -> tuple[Limits, Policy]:
    may_coalesce = not limits.keys_repeat and policy.on_failure == "continue"
    limits = replace(limits, counts_units=True, coalesce=may_coalesce and rng.random() < 0.5)
    if policy.rate is not None and rng.random() < 0.5:
        policy = replace(policy, rate=replace(policy.rate, units=rng.choice((20.0, 200.0))))
    return limits, policy


def _policy(rng: random.Random, limits: Limits) -> Policy:
    max_records = limits.records or 8
    if rng.random() < 0.3:
        max_records = rng.randint(1, max_records)
    max_bytes = limits.bytes or 1000
    order = rng.choice(("key", "key", "none"))
    base = rng.choice((0.01, 0.1, 0.5))
    delivery = rng.choice((0.3, 2.0, 20.0, 120.0))
    return Policy(
        max_records=max_records,
        max_bytes=max_bytes,
        linger=rng.choice((0.0, 0.001, 0.005, 0.02, 0.2)),
        concurrency=rng.choice((1, 1, 2, 4, 8, Adaptive(1, 8), Adaptive(2, 3))),
        max_pending_records=rng.choice((None, None, max_records, max_records + 1, 2 * max_records)),
        max_pending_bytes=rng.choice((None, None, None, max_bytes, max_bytes + 7)),
        attempt_timeout=min(delivery, rng.choice((0.05, 0.3, 1.0, 10.0))),
        delivery_timeout=delivery,
        max_attempts=rng.choice((None, None, 1, 2, 5)),
        backoff=Backoff(base=base, cap=base * rng.choice((1, 4, 20)), jitter=rng.choice(("full", "full", "none"))),
        order=order,
        on_failure="block" if order == "key" and rng.random() < 0.25 else "continue",
        on_unknown=rng.choice((None, "retry", "fail")),
        rate=_rate(rng) if rng.random() < 0.15 else None,
    )


def _rate(rng: random.Random) -> Rate:
    return Rate(
        records=rng.choice((None, 50.0, 500.0)),
        requests=rng.choice((None, 5.0, 100.0)),
        bytes=rng.choice((None, 300.0)),
    )


def _producers(
    rng: random.Random, limits: Limits, policy: Policy, *, bad: float, keys: tuple[str, ...]
) -> list[Producer]:
    count = rng.choice((1, 2, 3, 5, 8, 12, 20, 50))
    total = rng.choice((3, 8, 15, 30, 60))
    kind = rng.choice(keys)
    targets = rng.choice((1, 1, 2, 4))
    widest = min(limits.bytes or 1000, policy.max_bytes or 1000)
    sizes = rng.choice(((1, 1), (1, 9), (1, widest // 2), (1, widest), (widest // 3, widest + widest // 4)))
    encode_raises = rng.choice((0.0, 0.0, 0.0, 0.1))
    apis = rng.sample(APIS, rng.randint(1, 3))
    spread = rng.choice((0.0, 0.0, 0.05, 0.5))
    pause = rng.choice((0.0, 0.0, 0.001, 0.02))
    per_producer = max(1, total // count)
    producers: list[Producer] = []
    number = 0
    for _ in range(count):
        records: list[Record] = []
        for _ in range(per_producer):
            records.append(
                Record(
                    id=number,
                    size=max(1, rng.randint(*sizes)),
                    key=_key(rng, kind, number),
                    target=f"t{rng.randrange(targets)}" if targets > 1 else None,
                    is_bad=rng.random() < bad,
                    encode_raises=rng.random() < encode_raises,
                )
            )
            number += 1
        producers.append(
            Producer(
                api=rng.choice(apis),
                records=records,
                starts_at=rng.choice((0.0, rng.uniform(0, spread))),
                pause=pause,
                is_async=rng.random() < 0.5,
                raises_at=rng.randrange(per_producer) if rng.random() < 0.1 else -1,
                reader_pause=rng.choice((0.0, 0.0, 0.03)),
                leaves_at=rng.randrange(per_producer) if rng.random() < 0.15 else -1,
            )
        )
    return producers


def _key(rng: random.Random, keys: str, number: int) -> Hashable:
    match keys:
        case "uniform":
            return f"k{rng.randrange(4)}"
        case "hot":
            return "hot" if rng.random() < 0.8 else f"k{rng.randrange(20)}"
        case "distinct":
            return f"k{number}"
        case _:
            return None


def _deeds(rng: random.Random, span: float, policy: Policy) -> list[tuple[float, str]]:
    """Draw what is done from outside, and when: mostly in the time in which records are put, some later."""
    kinds = {
        "cancel": (1, 3, 10),
        "cancel future": (1, 3),
        "flush": (1, 2, 5),
        "flush and cancel": (1, 2),
        "kill": (1, 2, 5),
        "kill letter": (1,),
        "stall": (1, 2),
        "freeze": (1, 3),
        "resume": (1, 3, 10),
        "look": (1, 3),
    }
    deeds: list[tuple[float, str]] = []
    later = span + rng.choice((0.1, 1.0, policy.delivery_timeout))
    for kind, counts in kinds.items():
        chance = 1.0 if kind == "resume" and policy.on_failure == "block" else 0.3
        if rng.random() < chance:
            deeds += [(rng.uniform(0, span if rng.random() < 0.7 else later), kind) for _ in range(rng.choice(counts))]
    if rng.random() < 0.5:
        closes = ["close", "close at once", "close soon", "close and cancel", "close and kill"]
        at = rng.uniform(0, span * 1.5 if rng.random() < 0.7 else later)
        deeds.append((at, rng.choice(closes)))
        if rng.random() < 0.4:
            deeds.append((rng.choice((at, at + rng.uniform(0, 0.5))), rng.choice(closes[:4])))
    deeds.sort()
    return deeds
