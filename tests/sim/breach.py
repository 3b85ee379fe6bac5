"""A broken promise, and how outcomes are named in one."""

from __future__ import annotations

from typing import Any

from sinkwell.core import DeliveryError, Receipt

EPSILON = 1e-6


class Breach(AssertionError):
    """A promise was broken; the message begins with its number in the table of invariants."""


def describe(outcome: Any) -> str:
    """Say an outcome in a word or two, the same in every run."""
    if isinstance(outcome, DeliveryError):
        return f"{outcome.reason} {outcome.outcome.value} after {outcome.attempts}"
    if isinstance(outcome, Receipt):
        return f"receipt after {outcome.attempts}"
    return type(outcome).__name__
