"""What an observer and a dashboard get to see: data, never the sink's own objects, never a payload."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from ._batch import SealReason
    from ._errors import DeliveryError
    from ._receipt import Receipt


@dataclass(slots=True, frozen=True, kw_only=True)
class BatchSent:
    """A request is about to leave."""

    sink: str
    target: Hashable
    records: int
    bytes: int
    reason: SealReason
    in_flight: int


@dataclass(slots=True, frozen=True, kw_only=True)
class BatchDone:
    """A request came back, or was given up. `refused` means that all of it goes again to find the culprit."""

    sink: str
    target: Hashable
    records: int
    delivered: int
    retried: int
    rejected: int
    unknown: int
    throttled: bool
    refused: bool
    seconds: float
    error: BaseException | None


@dataclass(slots=True, frozen=True, kw_only=True)
class RecordFailed:
    """An accepted record ended without a receipt. `error.record` is the caller's object."""

    sink: str
    error: DeliveryError


@dataclass(slots=True, frozen=True, kw_only=True)
class RecordOrphaned:
    """An accepted record has its outcome, and the caller who put it had been cancelled meanwhile."""

    sink: str
    record: Any
    outcome: Receipt | DeliveryError | Any


@dataclass(slots=True, frozen=True, kw_only=True)
class DeadLetterFailed:
    """A dead letter could not be handed on: `letter` is held by nobody but this event."""

    sink: str
    letter: Any
    error: BaseException


class Observer:
    """Override what you want to see.

    Called on the event loop, so it must be quick; what it raises is logged and harms nothing.
    """

    def on_batch_sent(self, event: BatchSent) -> None:
        """A request is about to leave."""

    def on_batch_done(self, event: BatchDone) -> None:
        """A request came back or was given up."""

    def on_record_failed(self, event: RecordFailed) -> None:
        """An accepted record ended without a receipt."""

    def on_record_orphaned(self, event: RecordOrphaned) -> None:
        """A record whose caller was cancelled has its outcome."""

    def on_dead_letter_failed(self, event: DeadLetterFailed) -> None:
        """A dead letter could not be handed on."""


@dataclass(slots=True, frozen=True, kw_only=True)
class SinkStats:
    """A snapshot of one sink: gauges as they are now, counters since it was opened.

    Attributes:
        pending_records: accepted and without an outcome.
        pending_bytes: their bytes, as the provider counts, and those of failed records whose dead letter is not
            taken yet.
        waiting: callers that wait for room; their records are not accepted yet.
        requests_in_flight: requests on the wire.
        retrying: records that wait for their backoff to end.
        concurrency: requests that may be in flight now (moves if adaptive).
        oldest_seconds: how long the oldest pending record has been waiting.
        targets: targets that hold something.
        delivered, not_written, unknown: outcomes so far.
        orphaned: outcomes whose caller was cancelled; counted under its outcome too.
        requests: requests sent. `records_sent` is what they carried, repeats included.
        retries: verdicts that sent a record back to wait. `throttles`: requests that the provider throttled.
        refusals: requests refused because of one record in them.
        sealed: requests by the reason for which they left.
        dead_letters, dead_letters_failed: letters handed on, and letters that could not be.
        fill: records sent over what as many full batches hold, 0 to 1. `fill_bytes`: the same of bytes.
        bytes_sent: what the requests carried, as the provider counts, repeats included.
        superseded: delivered records in whose place a newer one of their key was sent; counted under `delivered` too.
    """

    pending_records: int = 0
    pending_bytes: int = 0
    waiting: int = 0
    requests_in_flight: int = 0
    retrying: int = 0
    concurrency: int = 0
    oldest_seconds: float = 0.0
    targets: int = 0
    delivered: int = 0
    not_written: int = 0
    unknown: int = 0
    orphaned: int = 0
    requests: int = 0
    records_sent: int = 0
    retries: int = 0
    throttles: int = 0
    refusals: int = 0
    sealed: Mapping[str, int] = field(default_factory=dict[str, int])
    dead_letters: int = 0
    dead_letters_failed: int = 0
    fill: float = 0.0
    fill_bytes: float = 0.0
    bytes_sent: int = 0
    superseded: int = 0


@dataclass(slots=True, frozen=True, kw_only=True)
class CloseReport:
    """What `close` leaves behind: every record accepted since `open` is in one of the first three.

    Attributes:
        delivered, not_written, unknown: outcomes over the sink's life.
        abandoned: how many of the last two ended only because the time to close ran out.
        dead_letters_failed: dead letters that could not be handed on.
        unfinished_requests: requests whose client would not stop when cancelled; 0 unless the client is broken.
        seconds: how long closing took.
    """

    delivered: int
    not_written: int
    unknown: int
    abandoned: int
    dead_letters_failed: int
    unfinished_requests: int
    seconds: float
