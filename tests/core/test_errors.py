"""The error tree: what a caller can catch, and what it can read from what it caught."""

from __future__ import annotations

import pytest

from sinkwell.core import (
    BatchRefused,
    ConfigError,
    DeliveryAbandoned,
    DeliveryError,
    DeliveryExpired,
    DeliveryRejected,
    InvalidRecord,
    Outcome,
    RecordTooLarge,
    SinkClosed,
    SinkFull,
    SinkwellError,
)


@pytest.mark.parametrize("kind", [ConfigError, SinkClosed, SinkFull, InvalidRecord, DeliveryError])
def test_everything_raised_on_purpose_is_a_sinkwell_error(kind: type[Exception]) -> None:
    assert kind.__bases__ == (SinkwellError,)


def test_too_large_is_a_kind_of_invalid() -> None:
    assert issubclass(RecordTooLarge, InvalidRecord)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (DeliveryError, "unknown"),
        (DeliveryRejected, "rejected"),
        (DeliveryExpired, "expired"),
        (DeliveryAbandoned, "abandoned"),
    ],
)
def test_a_delivery_error_tells_its_reason_outcome_attempts_and_record(kind: type[DeliveryError], reason: str) -> None:
    error = kind("why", outcome=Outcome.UNKNOWN, attempts=3, record="mine")
    assert isinstance(error, DeliveryError)
    assert (str(error), error.reason, error.outcome, error.attempts, error.record) == (
        "why",
        reason,
        Outcome.UNKNOWN,
        3,
        "mine",
    )


def test_a_refusal_is_no_sinkwell_error_for_it_never_reaches_a_caller() -> None:
    assert not issubclass(BatchRefused, SinkwellError)
    assert (BatchRefused().suspect, BatchRefused(3).suspect) == (None, 3)
