"""What a verdict or an outcome claims, held against what the endpoint really has."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sinkwell.core import Delivered, DeliveryError, Outcome, Receipt, Rejected, Retry, Unknown
from sinkwell.sinks.testing import (
    Contradict,
    CutAnswer,
    Drop,
    EmptyAnswer,
    FailEntries,
    Hang,
    Late,
    Omit,
    ServerError,
    Throttle,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sinkwell.sinks.testing import AwsEndpoint

D, T, R, X, U = "delivered", "throttled", "retry", "rejected", "unknown"

STORM = [
    (Throttle(), 0.10),
    (FailEntries(0.3), 0.15),
    (FailEntries(0.2, code="InvalidMessageContents", sender_fault=True), 0.05),
    (ServerError(500, applied=True), 0.05),
    (ServerError(503, applied=False), 0.05),
    (Drop(applied=True), 0.05),
    (Drop(applied=False, resets=True), 0.05),
    (Omit([0, 3], applied=True), 0.05),
    (Omit([1], applied=False), 0.05),
    (Contradict([2]), 0.05),
    (EmptyAnswer(), 0.05),
    (CutAnswer(), 0.05),
    (Hang(applied=True), 0.01),
    (Late(0.01), 0.2),
]


def unleash(aws: AwsEndpoint, action: str, seed: int, *, rejects: bool = True) -> None:
    """Meet every request of an action with the storm's faults, each with its own chance."""
    for number, (fault, probability) in enumerate(STORM):
        if rejects or getattr(fault, "sender_fault", None) is not True:
            aws.plan.always(action, fault, probability=probability, seed=seed * 100 + number)


def word(verdict: object) -> str:
    if isinstance(verdict, Retry):
        return T if verdict.throttled else R
    return {Delivered: D, Rejected: X, Unknown: U}[type(verdict)]


def verdicts_are_true(texts: Iterable[str], verdicts: Sequence[object], there: Iterable[str]) -> bool:
    """Whether each text is there if its verdict says so, and is not if that is what it says."""
    written = set(there)
    said = zip(texts, map(word, verdicts), strict=True)
    return all(what == U or (text in written) == (what == D) for text, what in said)


def assert_outcomes_are_true(records: Sequence[str], outcomes: Sequence[Any], there: Iterable[str]) -> None:
    """A receipt: it is there, at most once an attempt. NOT_WRITTEN: it is not. And nothing is there that nobody put."""
    found = Counter(there)
    assert found.keys() <= set(records)
    for record, outcome in zip(records, outcomes, strict=True):
        if isinstance(outcome, Receipt):
            assert 1 <= found[record] <= outcome.attempts
        else:
            assert isinstance(outcome, DeliveryError)
            assert outcome.outcome is Outcome.UNKNOWN or found[record] == 0
