"""The asyncio shell around one open sink: acceptance, room, flush, close.

Before: `Sink.put`. After: the sender, which sends what was accepted.

A record's journey: `accept` (budget, ledger, batcher) -> `Sender._pump` (which target may send) -> `Sender._launch` (a
task a request) -> `Sender._landed` (its answer) -> `Judge.apply` (a verdict for each entry) -> `Ledger.end`, or the
receipt -> `Sender._finish` (lanes and slot are free again).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, final

from ._entry import Entry, Place
from ._errors import DeliveryAbandoned, InvalidRecord, RecordTooLarge, SinkwellError
from ._expiry import Expiry
from ._judge import Judge
from ._ledger import Ledger
from ._sender import Sender

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable, Hashable, Sequence

    from ._budget import Waiting
    from ._destination import Destination
    from ._errors import DeliveryError
    from ._observe import SinkStats
    from ._policy import Bounds, Policy
    from ._tally import Tally

_FLYING: Final = Place.FLYING
_NEW: Final = Place.NEW
_READY: Final = Place.READY
_SUPERSEDED: Final = Place.SUPERSEDED


@final
class Dispatcher:
    """Everything between acceptance and outcome, for one open sink on one event loop."""

    def __init__(
        self,
        destination: Destination[Any, Any],
        policy: Policy,
        bounds: Bounds,
        *,
        loop: asyncio.AbstractEventLoop,
        rng: random.Random,
        tally: Tally,
        error_for_caller: Callable[[DeliveryError], BaseException],
    ) -> None:
        self._name = destination.name
        self._policy = policy
        self._bounds = bounds
        self._loop = loop
        self.new_future = loop.create_future
        blocks = policy.on_failure == "block"
        self.ledger = Ledger(
            destination.name,
            bounds,
            tally,
            block=self._block if blocks else None,
            error_for_caller=error_for_caller,
        )
        self.budget = self.ledger.budget
        self._judge = Judge(destination.name, policy, self.ledger, tally, rng, retries_unknown=bounds.retries_unknown)
        self.sender = Sender(
            destination,
            policy,
            bounds,
            loop=loop,
            ledger=self.ledger,
            judge=self._judge,
            tally=tally,
            after_outcomes=self._after_outcomes,
        )
        self._targets = self.sender.targets
        self.expiry = Expiry(
            policy, loop=loop, ledger=self.ledger, targets=self._targets, after_outcomes=self._after_outcomes
        )
        # Looked up for every record.
        self._batchers = self._targets.batchers
        self._max_bytes = bounds.max_bytes
        self._keys_order = bounds.keys_order
        # Whether new records are refused.
        self.is_closing = False
        # Resolved when the last entry has its outcome and the last request is back.
        self._drained: asyncio.Future[None] | None = None

    # --- in ----------------------------------------------------------------------------------------------------------

    def accept(
        self, record: Any, entry: Entry, future: asyncio.Future[Any] | None, *, is_its_turn: bool = False
    ) -> bool:
        """Make the record's entry of what was encoded, if there is room and nobody waits; else say so.

        Args:
            record: the caller's object.
            entry: what `Destination.encode` made of it.
            future: who waits for the outcome, if anybody does.
            is_its_turn: it has stood in line, and there is room for it.

        Raises:
            RecordTooLarge: it would not fit into a batch of its own.
            InvalidRecord: its key or its target is not hashable.
        """
        size = entry.size
        budget = self.budget
        if not is_its_turn:
            if size > self._max_bytes:
                raise self._too_large(size)
            if budget.waiting or budget.records >= budget.max_records or budget.bytes + size > budget.max_bytes:
                return False
        if entry.place is not _NEW:
            raise SinkwellError(f"{self._name}: encode() returned one object for two records; make a new one each time")
        sender = self.sender
        if sender.pump_handle is None:
            sender.pump_soon()
        entry.record = record
        entry.future = future
        entry.accepted_at = entry.ready_at = sender.now
        entry.epoch = self.ledger.epoch
        entry.place = _READY
        if not self._keys_order:
            entry.key = None
        try:
            batcher = self._batchers.get(entry.target) or self._targets.make(entry.target)
            # Before anything is counted, because it fails if the key is not hashable.
            batcher.add(entry)
        except TypeError as error:
            raise self._not_hashable(entry) from error
        self.ledger.open[entry] = None
        budget.records += 1
        budget.bytes += size
        if not batcher.is_queued:
            self._targets.consider(batcher)
        if self.expiry.timer is None:
            self.expiry.begin(self.sender.now)
        return True

    def accept_block(self, records: Sequence[Any], entries: Sequence[Entry]) -> int:
        """Accept the first entries for which `accept` would have no objection and no wait, all of one target.

        The same as to accept them one by one, but for the time it takes. Nobody waits for their outcomes. `accept` is
        to be asked about the next: it says what is wrong with it, or that it has to wait.

        Returns:
            How many were accepted.
        """
        if self.budget.waiting or self.is_closing or not entries:
            return 0
        try:
            batcher = self._batchers.get(entries[0].target) or self._targets.make(entries[0].target)
        except TypeError:
            return 0
        self.sender.pump_soon()
        count, size, are_keyed = self._enter(records, entries)
        if not count:
            self._targets.tidy(batcher)
            return 0
        if are_keyed:
            for entry in entries[:count]:
                batcher.add(entry)
        else:
            batcher.add_block(entries[:count], size)
        self.budget.records += count
        self.budget.bytes += size
        if not batcher.is_queued:
            self._targets.consider(batcher)
        if self.expiry.timer is None:
            self.expiry.begin(self.sender.now)
        return count

    def _enter(self, records: Sequence[Any], entries: Sequence[Entry]) -> tuple[int, int, bool]:
        """Enter in the ledger what can be accepted: how many, their bytes, and whether keys order any of them."""
        budget, opened, epoch, now = self.budget, self.ledger.open, self.ledger.epoch, self.sender.now
        target, max_bytes, keys_order = entries[0].target, self._max_bytes, self._keys_order
        room = budget.max_records - budget.records
        room_bytes = free = budget.max_bytes - budget.bytes
        count = 0
        are_keyed = False
        for entry, record in zip(entries, records, strict=True):
            size = entry.size
            if count >= room or size > room_bytes or size > max_bytes:
                break
            if entry.place is not _NEW or entry.target is not target:
                break
            if not keys_order:
                entry.key = None
            elif entry.key is not None:
                if not _is_hashable(entry.key):
                    break
                are_keyed = True
            entry.record = record
            entry.accepted_at = entry.ready_at = now
            entry.epoch = epoch
            entry.place = _READY
            opened[entry] = None
            room_bytes -= size
            count += 1
        return count, free - room_bytes, are_keyed

    def _not_hashable(self, entry: Entry) -> InvalidRecord:
        for batcher in list(self._batchers.values()):
            self._targets.tidy(batcher)  # One may have been made for it, and stay empty.
        return InvalidRecord(
            f"{self._name}: a record's key and target must be hashable; encode() gave a key of type "
            f"{type(entry.key).__name__} and a target of type {type(entry.target).__name__}"
        )

    def _too_large(self, size: int) -> RecordTooLarge:
        return RecordTooLarge(
            f"{self._name}: a record of {size:,} bytes is above the {self._max_bytes:,} that one batch may hold: "
            "split it, or store it elsewhere and send a reference"
        )

    def wait_for_room(self, waiting: Waiting, key: asyncio.Future[Any]) -> None:
        """Queue a record that is not accepted yet; `key` is the future whose cancellation takes it out again."""
        self.sender.check_loop()
        try:
            hash((waiting.encoded.key, waiting.encoded.target))  # Otherwise it would fail others when its turn comes.
        except TypeError as error:
            raise self._not_hashable(waiting.encoded) from error
        is_first = not self.budget.waiting
        self.budget.waiting[key] = waiting
        key.add_done_callback(self._waiter_done)
        if is_first:
            # Room is short: what is ready leaves without linger, so that room comes back.
            self._targets.consider_all()

    def _waiter_done(self, key: asyncio.Future[Any]) -> None:
        """A cancelled waiter leaves no trace, and passes its turn on."""
        if self.budget.waiting.pop(key, None) is not None:
            self._admit()

    def _admit(self) -> None:
        """Accept who waits, in order, as far as there is room: here, so that nobody comes between."""
        while (waiting := self.budget.next_admitted()) is not None:
            caller = waiting.accepted or waiting.future
            assert caller is not None
            try:
                self.accept(waiting.record, waiting.encoded, waiting.future, is_its_turn=True)
            except Exception as error:  # noqa: BLE001 - what put would have raised, if there had been room
                caller.set_exception(error)
            else:
                if caller is waiting.accepted:
                    caller.set_result(waiting.encoded)

    # --- out ---------------------------------------------------------------------------------------------------------

    def _after_outcomes(self) -> None:
        """Let in who waits for room, send what may leave, and see whether all is done."""
        if self.budget.waiting:
            self._admit()
        if self._targets.are_queued:
            self.sender.pump_soon()
        if not self.ledger.open:
            self._nothing_open()

    def _nothing_open(self) -> None:
        self.expiry.stop()
        if self._drained is not None and not self.sender.flights and not self._drained.done():
            self._drained.set_result(None)

    def _block(self, entry: Entry) -> None:
        batcher = self._targets.batchers.get(entry.target)
        if batcher is not None and not self._judge.is_abandoning:
            batcher.block(entry.key)

    def dead_letter_taken(self, _failure: DeliveryError, size: int) -> None:
        """Give back the room that a failed record kept until its dead letter was handed on."""
        self.budget.give_back(1, size)
        self._after_outcomes()

    # --- flush, resume, close ----------------------------------------------------------------------------------------

    def flush(self) -> asyncio.Future[None]:
        """Let everything accepted so far leave without linger; the future resolves when all of it has its outcome."""
        done = self.ledger.flush()
        self._targets.consider_all()
        return done

    def resume(self, key: Hashable, target: Hashable) -> bool:
        """Let a lane go on that `on_failure="block"` stopped."""
        batcher = self._targets.batchers.get(target)
        if batcher is None or not batcher.resume(key, self._loop.time()):
            return False
        self._targets.tidy(batcher)
        return True

    def start_closing(self, error: BaseException) -> asyncio.Future[None]:
        """Refuse who waits for room, let the rest leave without linger; the future resolves when nothing is left."""
        self.is_closing = self._targets.is_closing = True
        waiting = list(self.budget.waiting)
        self.budget.waiting.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        self._drained = self._loop.create_future()
        self._targets.consider_all()
        self._after_outcomes()
        return self._drained

    def abandon(self) -> None:
        """End what is not on the wire, and call back what is."""
        self._judge.is_abandoning = True
        self._targets.drop_waiting()
        for entry in [entry for entry in self.ledger.open if entry.place is not _FLYING]:
            self.ledger.end(entry, DeliveryAbandoned, "was not delivered before the sink closed", None)
        self.sender.cancel_flights()
        self._after_outcomes()

    def end_unanswered(self) -> None:
        """End what is still on the wire, because its client does not stop when it is cancelled."""
        what = "was on the wire when the sink closed, and its client did not stop"
        for entry in list(self.ledger.open):
            self.ledger.end(entry, DeliveryAbandoned, what, None)
        self._after_outcomes()

    def gauges(self, counters: SinkStats) -> SinkStats:
        """Add to the counters what is pending now."""
        oldest = next(iter(self.ledger.open), None)
        capacity = counters.requests * self._bounds.max_records
        capacity_bytes = counters.requests * self._bounds.max_bytes
        return replace(
            counters,
            pending_records=len(self.ledger.open),
            pending_bytes=self.budget.bytes,
            waiting=len(self.budget.waiting),
            requests_in_flight=len(self.sender.flights),
            retrying=sum(batcher.retrying for batcher in self._targets.batchers.values()),
            concurrency=self.sender.concurrency.limit,
            oldest_seconds=0.0 if oldest is None else self._loop.time() - oldest.accepted_at,
            targets=len(self._targets.batchers),
            dead_letters=0 if self.ledger.dead_letters is None else self.ledger.dead_letters.handed_on,
            dead_letters_failed=0 if self.ledger.dead_letters is None else self.ledger.dead_letters.failed,
            fill=counters.records_sent / capacity if capacity else 0.0,
            fill_bytes=counters.bytes_sent / capacity_bytes if capacity_bytes else 0.0,
        )


def _is_hashable(key: Hashable) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True
