"""What the user chooses (`Policy`) and what the provider allows (`Limits`), checked against each other once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ._errors import ConfigError

if TYPE_CHECKING:
    import random


# Where neither the user, the sink nor the provider says how much one request holds.
_FALLBACK = {"max_records": 1_000, "max_bytes": 16 * 1024 * 1024}


def _require(condition: bool, sentence: str) -> None:  # noqa: FBT001 - reads as the sentence it guards
    if not condition:
        raise ConfigError(sentence)


def _require_count(name: str, value: int | None, *, is_optional: bool = True) -> None:
    if value is None and is_optional:
        return
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    _require(is_count, f"{name} ({value!r}) must be a whole number of at least 1")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _require_seconds(name: str, value: float, *, above_zero: bool = False) -> None:
    _require(_is_number(value) and value >= 0, f"{name} ({value!r}) must be a number of seconds, not negative")
    _require(value > 0 or not above_zero, f"{name} ({value!r}) must be longer than 0 seconds")


@dataclass(slots=True, frozen=True, kw_only=True)
class Backoff:
    """How long a failed entry waits before it goes again.

    The n-th wait is drawn evenly between `base` and `min(cap, base * 2**n)`; a whole request's entries share one
    draw, so that they can share a request again. A provider's own hint is honoured when it is longer.

    Attributes:
        base: seconds; the shortest wait.
        cap: seconds; the longest wait that is drawn.
        jitter: `"full"` draws as above, `"none"` always takes the upper end.
    """

    base: float = 0.1
    cap: float = 10.0
    jitter: Literal["full", "none"] = "full"

    def __post_init__(self) -> None:
        _require_seconds("backoff base", self.base, above_zero=True)
        _require_seconds("backoff cap", self.cap)
        _require(self.cap >= self.base, f"backoff cap ({self.cap!r}) must not be shorter than its base ({self.base!r})")
        _require(self.jitter in ("full", "none"), f'backoff jitter ({self.jitter!r}) must be "full" or "none"')

    def draw(self, rng: random.Random) -> float:
        """Draw the chance that all entries of one failed request share: 0 to 1."""
        return rng.random() if self.jitter == "full" else 1.0

    def delay(self, attempts: int, chance: float) -> float:
        """Seconds to wait after so many attempts (from 1), `chance` being what `draw` gave."""
        ceiling = min(self.cap, self.base * 2.0 ** min(attempts, 64))
        return self.base + chance * (ceiling - self.base)


@dataclass(slots=True, frozen=True)
class Adaptive:
    """Concurrency that finds its own level between two bounds.

    It starts at `minimum`, doubles while nothing is throttled (slow start), then rises by one for each full round of
    requests, and falls to seven tenths when the provider throttles or an attempt takes far longer than its average.
    """

    minimum: int = 1
    maximum: int = 64

    def __post_init__(self) -> None:
        _require_count("adaptive minimum", self.minimum)
        _require_count("adaptive maximum", self.maximum)
        _require(
            self.maximum >= self.minimum,
            f"adaptive maximum ({self.maximum}) must not be below its minimum ({self.minimum})",
        )


@dataclass(slots=True, frozen=True, kw_only=True)
class Rate:
    """The most that is sent a second, in each unit that is given; it applies to every attempt, first or repeated.

    Requests are spaced evenly, without bursts: one of n records holds the next back by n / `records` seconds.

    Attributes:
        records, requests, bytes: of these.
        units: of the provider's own unit of throughput, where it has one: DynamoDB's write units.
    """

    records: float | None = None
    requests: float | None = None
    bytes: float | None = None
    units: float | None = None

    def __post_init__(self) -> None:
        for name in ("records", "requests", "bytes", "units"):
            value = getattr(self, name)
            if value is not None:
                _require(_is_number(value) and value > 0, f"rate {name} ({value!r}) must be a number above 0")


@dataclass(slots=True, frozen=True, kw_only=True)
class Limits:
    """What a provider allows of one request, and what suits it where the user has not chosen.

    Attributes:
        records: the most entries of one request; `None` if the provider sets no limit.
        bytes: the most bytes of one request, in the unit of `Encoded.size`; `None` if there is no limit.
        default_records: what `Policy.max_records` means when it is not set; needed where `records` is `None`.
        default_bytes: the same for `Policy.max_bytes`.
        keys_repeat: whether one request may hold a key more than once. If not, it never does, whatever
            `Policy.order` says, and neither do two requests in flight.
        retry_unknown: what `Policy.on_unknown` means when it is not set: whether to send again what may be there
            already. True where that does no harm or where duplicates are the provider's own custom.
        coalesce: whether a newer entry takes the place of an older one of its target and key that was never sent, so
            that only the newest goes: right where a write makes those before it void. Needs `keys_repeat=False`,
            and `Policy.on_failure="continue"`.
        counts_units: whether `encode` tells each entry's `units`, so that there can be a `Rate.units`.
    """

    records: int | None = None
    bytes: int | None = None
    default_records: int | None = None
    default_bytes: int | None = None
    keys_repeat: bool = True
    retry_unknown: bool = True
    coalesce: bool = False
    counts_units: bool = False

    def __post_init__(self) -> None:
        _require(not (self.coalesce and self.keys_repeat), "coalesce=True needs keys_repeat=False")


@dataclass(slots=True, frozen=True, kw_only=True)
class Policy:
    """What the user chooses. Every number has a safe default; `None` means the sink's own.

    Attributes:
        max_records: the most records in a batch; default: as many as the provider allows.
        max_bytes: the most bytes in a batch, counted as the provider counts; default: as many as it allows.
        linger: seconds; the longest a record waits for company while another request of its target is in flight.
            An idle sink never lingers.
        concurrency: requests in flight at once; an `int`, or `Adaptive(minimum, maximum)`.
        max_pending_records: records accepted and without an outcome, or failed and their dead letter not taken yet;
            more wait. Default: 10,000, or twice what `concurrency` full batches hold, if that is more.
        max_pending_bytes: the same in bytes. Default: 64 MiB, or twice what one full batch holds, if that is more.
        attempt_timeout: seconds that one request may take; then its entries' fate is unknown.
        delivery_timeout: seconds from acceptance until a record has its outcome, whatever happens.
        max_attempts: requests that may carry one record; `None` for as many as fit into `delivery_timeout`.
        backoff: how long a failed entry waits.
        order: `"key"` keeps the order of entries with equal keys, also across retries; `"none"` does not.
        on_failure: what a key's lane does after a record of it ended without a receipt: `"continue"` with the next,
            or `"block"` until `resume(key)`.
        on_unknown: an attempt without an answer: `"retry"` (at least once; may duplicate) or `"fail"` (the outcome
            is UNKNOWN). Default: the sink's own, see its page.
        rate: a ceiling in records, requests, bytes or the provider's units a second.
    """

    max_records: int | None = None
    max_bytes: int | None = None
    linger: float = 0.005
    concurrency: int | Adaptive = 8
    max_pending_records: int | None = None
    max_pending_bytes: int | None = None
    attempt_timeout: float = 10.0
    delivery_timeout: float = 120.0
    max_attempts: int | None = None
    backoff: Backoff = field(default_factory=Backoff)
    order: Literal["key", "none"] = "key"
    on_failure: Literal["continue", "block"] = "continue"
    on_unknown: Literal["retry", "fail"] | None = None
    rate: Rate | None = None

    def __post_init__(self) -> None:
        for name in ("max_records", "max_bytes", "max_pending_records", "max_pending_bytes", "max_attempts"):
            _require_count(name, getattr(self, name))
        if not isinstance(self.concurrency, Adaptive):
            _require_count("concurrency", self.concurrency, is_optional=False)
        _require(isinstance(self.backoff, Backoff), f"backoff ({self.backoff!r}) must be a Backoff")
        _require(self.rate is None or isinstance(self.rate, Rate), f"rate ({self.rate!r}) must be a Rate")
        _require_seconds("linger", self.linger)
        _require_seconds("attempt_timeout", self.attempt_timeout, above_zero=True)
        _require_seconds("delivery_timeout", self.delivery_timeout, above_zero=True)
        _require(
            self.linger < self.delivery_timeout,
            f"linger ({self.linger!r}) must be shorter than delivery_timeout ({self.delivery_timeout!r})",
        )
        _require(
            self.attempt_timeout <= self.delivery_timeout,
            f"attempt_timeout ({self.attempt_timeout!r}) must not be longer than "
            f"delivery_timeout ({self.delivery_timeout!r})",
        )
        _require(self.order in ("key", "none"), f'order ({self.order!r}) must be "key" or "none"')
        _require(
            self.on_failure in ("continue", "block"), f'on_failure ({self.on_failure!r}) must be "continue" or "block"'
        )
        _require(
            self.on_failure == "continue" or self.order == "key",
            'on_failure="block" stops one key\'s lane, so it needs order="key"',
        )
        _require(
            self.on_unknown in (None, "retry", "fail"), f'on_unknown ({self.on_unknown!r}) must be "retry" or "fail"'
        )


@dataclass(slots=True, frozen=True, kw_only=True)
class Bounds:
    """A policy's numbers with every `None` filled in, and none above the provider's limits."""

    max_records: int
    max_bytes: int
    max_pending_records: int
    max_pending_bytes: int
    most_in_flight: int
    retries_unknown: bool
    keys_order: bool
    keys_repeat: bool
    coalesces: bool


def bounds_of(policy: Policy, limits: Limits, name: str) -> Bounds:
    """Fill in what the policy leaves to the sink, and check it against what the provider allows.

    Raises:
        ConfigError: the policy is above the provider's limits, or its own numbers contradict each other.
    """
    max_records = _within("max_records", policy.max_records, limits.records, limits.default_records, name)
    max_bytes = _within("max_bytes", policy.max_bytes, limits.bytes, limits.default_bytes, name)
    concurrency = policy.concurrency
    most_in_flight = concurrency.maximum if isinstance(concurrency, Adaptive) else concurrency
    pending_records = policy.max_pending_records or max(10_000, 2 * max_records * most_in_flight)
    pending_bytes = policy.max_pending_bytes or max(64 * 1024 * 1024, 2 * max_bytes)
    _require(
        pending_records >= max_records,
        f"max_pending_records ({pending_records:,}) must have room for one batch of max_records ({max_records:,})",
    )
    _require(
        pending_bytes >= max_bytes,
        f"max_pending_bytes ({pending_bytes:,}) must have room for one batch of max_bytes ({max_bytes:,})",
    )
    _require(
        not limits.coalesce or policy.on_failure == "continue",
        f'{name}: on_failure="block" stops a key at each record that fails, and coalesce leaves out all but the newest',
    )
    _require(
        limits.counts_units or policy.rate is None or policy.rate.units is None,
        f"{name} has no units of throughput: give the rate in records, requests or bytes",
    )
    return Bounds(
        max_records=max_records,
        max_bytes=max_bytes,
        max_pending_records=pending_records,
        max_pending_bytes=pending_bytes,
        most_in_flight=most_in_flight,
        retries_unknown=limits.retry_unknown if policy.on_unknown is None else policy.on_unknown == "retry",
        keys_order=policy.order == "key" or not limits.keys_repeat,
        keys_repeat=limits.keys_repeat,
        coalesces=limits.coalesce,
    )


def _within(name: str, chosen: int | None, allowed: int | None, default: int | None, sink: str) -> int:
    if chosen is None:
        return min((number for number in (default, allowed) if number is not None), default=_FALLBACK[name])
    _require(
        allowed is None or chosen <= allowed,
        f"{name} ({chosen:,}) is above what {sink} allows in one request ({allowed or 0:,})",
    )
    return chosen
