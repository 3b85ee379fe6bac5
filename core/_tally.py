"""Counts what happens and tells the observer.

Before: the dispatcher's events. After: `stats`, `CloseReport` and the user's observer.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, final

from ._observe import BatchDone, BatchSent, DeadLetterFailed, Observer, RecordFailed, RecordOrphaned, SinkStats
from ._receipt import Outcome
from ._verdict import Delivered, Rejected, Retry, Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._batch import Batch
    from ._entry import Entry
    from ._errors import DeliveryError

logger = logging.getLogger("sinkwell")


@final
class Tally:
    """One sink's counters. Only failures and requests are counted one by one; deliveries come a batch at a time."""

    __slots__ = (
        "_observer",
        "_sink",
        "abandoned",
        "bytes_sent",
        "delivered",
        "not_written",
        "orphans",
        "records_sent",
        "refusals",
        "requests",
        "retries",
        "sealed",
        "superseded",
        "throttles",
        "unknown",
    )

    def __init__(self, sink: str, observer: Observer | None) -> None:
        self._sink = sink
        self._observer = observer
        self.delivered = 0
        self.not_written = 0
        self.unknown = 0
        self.abandoned = 0
        self.orphans = 0
        self.requests = 0
        self.records_sent = 0
        self.bytes_sent = 0
        self.superseded = 0
        self.retries = 0
        self.throttles = 0
        self.refusals = 0
        self.sealed: dict[str, int] = {}

    def sent(self, batch: Batch, size: int, *, in_flight: int) -> None:
        """A request is about to leave."""
        self.requests += 1
        self.records_sent += len(batch)
        self.bytes_sent += size
        self.sealed[batch.reason] = self.sealed.get(batch.reason, 0) + 1
        if self._observer is not None:
            event = BatchSent(
                sink=self._sink,
                target=batch.target,
                records=len(batch),
                bytes=size,
                reason=batch.reason,
                in_flight=in_flight,
            )
            self._tell("on_batch_sent", event)

    def landed(
        self, batch: Batch, verdicts: Sequence[Any], *, seconds: float, throttled: bool, error: BaseException | None
    ) -> None:
        """A request came back with verdicts, or without any."""
        self.throttles += throttled
        if self._observer is not None:
            self._batch_done(batch, verdicts, seconds, throttled=throttled, refused=False, error=error)

    def refused(self, batch: Batch, *, seconds: float, error: BaseException) -> None:
        """A request was refused because of a record in it."""
        self.refusals += 1
        if self._observer is not None:
            self._batch_done(batch, (), seconds, throttled=False, refused=True, error=error)

    def _batch_done(
        self,
        batch: Batch,
        verdicts: Sequence[Any],
        seconds: float,
        *,
        throttled: bool,
        refused: bool,
        error: BaseException | None,
    ) -> None:
        kinds: list[type[object]] = [type(verdict) for verdict in verdicts]
        event = BatchDone(
            sink=self._sink,
            target=batch.target,
            records=len(batch),
            delivered=kinds.count(Delivered),
            retried=kinds.count(Retry),
            rejected=kinds.count(Rejected),
            unknown=kinds.count(Unknown),
            throttled=throttled,
            refused=refused,
            seconds=seconds,
            error=error,
        )
        self._tell("on_batch_done", event)

    def failed(self, failure: DeliveryError) -> None:
        """An entry ended without a receipt."""
        if failure.outcome is Outcome.UNKNOWN:
            self.unknown += 1
        else:
            self.not_written += 1
        self.abandoned += failure.reason == "abandoned"
        if self._observer is not None:
            self._tell("on_record_failed", RecordFailed(sink=self._sink, error=failure))

    def orphaned(self, entry: Entry) -> None:
        """An entry whose caller was cancelled has its outcome."""
        self.orphans += 1
        if self._observer is not None:
            event = RecordOrphaned(sink=self._sink, record=entry.record, outcome=entry.outcome)
            self._tell("on_record_orphaned", event)

    def dead_letter_failed(self, event: DeadLetterFailed) -> None:
        """A dead letter could not be handed on."""
        if self._observer is not None:
            self._tell("on_dead_letter_failed", event)

    def counters(self) -> SinkStats:
        """Put the counters into a snapshot; what is pending now, the dispatcher adds."""
        return SinkStats(
            delivered=self.delivered,
            not_written=self.not_written,
            unknown=self.unknown,
            orphaned=self.orphans,
            requests=self.requests,
            records_sent=self.records_sent,
            bytes_sent=self.bytes_sent,
            superseded=self.superseded,
            retries=self.retries,
            throttles=self.throttles,
            refusals=self.refusals,
            sealed=dict(self.sealed),
        )

    def _tell(self, method: str, event: object) -> None:
        try:
            getattr(self._observer, method)(event)
        except Exception:
            logger.exception("%s: the observer's %s raised; delivery goes on", self._sink, method)
