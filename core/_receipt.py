"""What the caller is told in the end.

Before: a verdict for each attempt. After: nothing; this is the end of the journey.
"""

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """How an accepted record can end without a receipt.

    With a receipt, the provider acknowledged the record. There is no fourth end.
    """

    NOT_WRITTEN = "not_written"
    """It is certain that the provider does not have the record."""
    UNKNOWN = "unknown"
    """The record was sent and no answer came: the provider may have it, once or more."""


@dataclass(slots=True, kw_only=True)
class Receipt:
    """The provider acknowledged the record. Each sink adds what its provider tells.

    Records of which the same is to be told may share one: it is to be read, not changed.

    Attributes:
        attempts: how many requests carried the record; above 1, an earlier one may have left a duplicate.
    """

    attempts: int = 1
