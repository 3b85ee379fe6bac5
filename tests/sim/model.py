"""What a sink must do, said again without batches, clocks or tasks: records in line, and what the provider says.

One target, one request at a time, no duplicates, no time. The real sink is driven in lock-step with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Model:
    """Every record is waiting, on the wire, or ended; of a key only the first may be on the wire."""

    max_records: int
    # (record, key) in acceptance order: not on the wire and without an outcome.
    waiting: list[tuple[int, str | None]] = field(default_factory=list)
    flying: list[tuple[int, str | None]] = field(default_factory=list)
    # Failed by the last answer, and not to go again before the next tick ends.
    backoff: list[tuple[int, str | None]] = field(default_factory=list)
    # Outcomes: "delivered", "not_written" or "unknown".
    ended: dict[int, str] = field(default_factory=dict)
    # What the provider has, in order.
    written: list[int] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)
    is_closing: bool = False

    def put(self, record: int, key: str | None) -> bool:
        """Accept a record; whether it was."""
        if self.is_closing:
            return False
        self.waiting.append((record, key))
        return True

    def may_leave(self) -> list[tuple[int, str | None]]:
        """Give what the next batch may take: each key's first; what is in backoff only if nothing else is there."""
        if self.flying:
            return []
        heads: list[tuple[int, str | None]] = []
        keys: set[str | None] = {key for _, key in self.backoff}
        for record, key in self.waiting:
            if key is None or key not in keys:
                heads.append((record, key))
            keys.add(key)
        return heads or self.backoff

    def tick(self, batch: list[int]) -> None:
        """See the batch leave that the sink has chosen, check that it may, and let backoff end."""
        choice = self.may_leave()
        expected = [record for record, _ in self.flying]
        assert len(batch) == (min(self.max_records, len(choice)) or len(expected)), (batch, choice, expected)
        if choice:
            assert set(batch) <= {record for record, _ in choice}, (batch, choice)
            by_record = dict(choice)
            self.flying = [(record, by_record[record]) for record in batch]
        self.waiting = sorted({*self.backoff, *self.waiting} - {*self.flying})
        self.backoff = []

    def reply(self, says: str) -> None:
        """The request is answered: "ok", "retry", "reject" or "lost" (nobody knows, and it was written)."""
        for record, key in self.flying:
            if says == "ok":
                self.written.append(record)
                self.ended[record] = "delivered"
            elif says == "reject":
                self.ended[record] = "not_written"
            elif says == "lost":
                self.written.append(record)
                self.ended[record] = "unknown"
            else:
                self.backoff.append((record, key))
        self.flying = []

    def cancel(self, record: int) -> None:
        """Its caller gives up: nothing else changes."""
        self.cancelled.add(record)

    def close(self) -> None:
        """Refuse what comes."""
        self.is_closing = True

    @property
    def is_drained(self) -> bool:
        """Whether close may return."""
        return self.is_closing and not self.waiting and not self.backoff and not self.flying
