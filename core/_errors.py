"""What a caller can be told went wrong.

    SinkwellError
    ├── ConfigError            the setup is wrong: a policy above the provider's limits, a missing queue
    ├── SinkClosed             the sink is not open (yet, or any more); the record was not accepted
    ├── SinkFull               put_nowait found no room; the record was not accepted
    ├── InvalidRecord          the record can't be sent as it is; it was not accepted
    │   └── RecordTooLarge
    └── DeliveryError          the record was accepted and has no receipt
        ├── DeliveryRejected   the provider refused it for good
        ├── DeliveryExpired    delivery_timeout or max_attempts ran out
        ├── DeliverySuperseded a newer record of its key took its place, and nobody knows whether that is written
        └── DeliveryAbandoned  the sink closed before it was delivered

No message holds a record's content or a secret.
"""

from ._receipt import Outcome


class SinkwellError(Exception):
    """The root of all errors that Sinkwell raises on purpose."""


class ConfigError(SinkwellError):
    """The setup is wrong: nothing can be sent until a person mends it."""


class SinkClosed(SinkwellError):
    """The sink is not open; the record was not accepted."""


class SinkFull(SinkwellError):
    """`put_nowait` found no room; the record was not accepted."""


class InvalidRecord(SinkwellError):
    """The record can't be sent as it is; it was not accepted and nothing was buffered."""


class RecordTooLarge(InvalidRecord):
    """The record alone is above the provider's or the policy's limit in bytes."""


def not_encoded(sink: str, error: Exception) -> InvalidRecord:
    """Say that a record could not be encoded; what the error says may be the record's content, so it is the cause."""
    invalid = InvalidRecord(f"{sink}: the record can't be encoded ({type(error).__name__}, see its cause)")
    invalid.__cause__ = error
    return invalid


class DeliveryError(SinkwellError):
    """An accepted record ended without a receipt. The provider's error, if there was one, is `__cause__`.

    Attributes:
        outcome: `Outcome.NOT_WRITTEN` if it is certain that the provider does not have the record,
            `Outcome.UNKNOWN` if it was sent and no answer came.
        attempts: how many requests carried the record.
        record: the caller's object, as it was put.
    """

    reason = "unknown"

    def __init__(self, message: str, *, outcome: Outcome, attempts: int, record: object) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.attempts = attempts
        self.record = record


class DeliveryRejected(DeliveryError):
    """The provider refused the record for good; sending it again would be refused again."""

    reason = "rejected"


class DeliveryExpired(DeliveryError):
    """`delivery_timeout` or `max_attempts` ran out before a receipt came."""

    reason = "expired"


class DeliverySuperseded(DeliveryError):
    """The record was never sent, because a newer one of its key took its place; of that one nobody knows the fate.

    Only where a sink lets newer records take the place of older ones (`coalesce=True`).
    """

    reason = "superseded"


class DeliveryAbandoned(DeliveryError):
    """The sink was closed, and its time ran out, before a receipt came."""

    reason = "abandoned"
