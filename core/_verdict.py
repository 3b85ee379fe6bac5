"""What a provider said of one entry in one attempt.

Before: `Destination.write`. After: the judge turns it into an outcome or a retry.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")


@dataclass(slots=True)
class Delivered(Generic[R]):
    """The provider acknowledged the entry. One instance may serve several entries.

    Attributes:
        receipt: goes to the caller.
        superseded: goes to the callers of those that it superseded, see `Limits.coalesce`; `None` for the same.
    """

    receipt: R
    superseded: R | None = None


@dataclass(slots=True)
class Retry:
    """The provider does not have the entry, and may take it later.

    Attributes:
        error: what the provider said.
        throttled: the provider asked for a lower pace; adaptive concurrency goes down.
        after: the provider's own hint: no new attempt before so many seconds.
        unsent: no request was made, so it was no attempt: neither `attempts` nor `max_attempts` counts it.
    """

    error: BaseException
    throttled: bool = False
    after: float | None = None
    unsent: bool = False


@dataclass(slots=True)
class Rejected:
    """The provider does not have the entry and never will take it as it is."""

    error: BaseException


@dataclass(slots=True)
class Unknown:
    """The entry was sent and no answer tells what became of it.

    Attributes:
        error: what happened instead of an answer.
        is_final: sending it again would not clear it up: its outcome is UNKNOWN, whatever `Policy.on_unknown` says.
    """

    error: BaseException
    is_final: bool = False


Verdict = Delivered[R] | Retry | Rejected | Unknown


class BatchRefused(Exception):
    """Nothing of the batch was written because of one record in it; raised by `Destination.write`.

    The core isolates the culprit: the suspect goes alone and the others together; without a suspect the batch is
    halved. A batch of one that is refused is rejected, with this exception's `__cause__` as the provider's error.

    Not for a request that is only too large as a whole: no record of it is to blame, so one would be blamed wrongly.

    Args:
        suspect: the index in `batch.entries` that the provider pointed at, if it did.
    """

    def __init__(self, suspect: int | None = None) -> None:
        super().__init__("the provider refused the batch because of a record in it")
        self.suspect = suspect
