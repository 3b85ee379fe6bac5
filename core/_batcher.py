"""Who may leave next, of one target's entries: joining, order within a key, cutting. No clock, no loop, no await.

Before: `Dispatcher.accept` adds entries. After: the sender sends what `cut` gives and says by `settle` what came back.

An entry with a key belongs to a lane. The lane's head is ready, in backoff or on the wire; the entries behind it
follow. Only heads stand in `ready`, so a key is never in two batches at once, and what follows a retrying entry waits.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, final

from ._entry import Entry, Place
from ._lane import Lane, newest, step_back, supersede

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Sequence

_READY: Final = Place.READY
_FOLLOWING: Final = Place.FOLLOWING
_RETRYING: Final = Place.RETRYING
_HELD: Final = Place.HELD
_FLYING: Final = Place.FLYING
_DONE: Final = Place.DONE
_SUPERSEDED: Final = Place.SUPERSEDED


@final
class Batcher:
    """One target's entries that are not on the wire."""

    __slots__ = (
        "_coalesces",
        "_heads",
        "_keys_repeat",
        "_max_bytes",
        "_max_records",
        "_ready",
        "blocked",
        "in_flight",
        "is_queued",
        "linger_timer",
        "ready_bytes",
        "ready_records",
        "retrying",
        "target",
    )

    def __init__(
        self, target: Hashable, *, max_records: int, max_bytes: int, keys_repeat: bool, coalesces: bool = False
    ) -> None:
        self.target = target
        self._max_records = max_records
        self._max_bytes = max_bytes
        # Whether a batch may hold a key more than once; then followers of a ready head are ready too, behind it.
        self._keys_repeat = keys_repeat
        # Whether a newer entry takes the place of an older one of its key that was never sent. Then no key repeats.
        self._coalesces = coalesces
        # Entries that may leave, oldest first; of each key only the head. One that was superseded here keeps its place
        # in the queue and stands for the newest of its versions, wherever that one's turn comes.
        self._ready: deque[Entry] = deque()
        # What a cut could take: the entries of _ready and, if keys repeat, their followers.
        self.ready_records = 0
        self.ready_bytes = 0
        # The head of each key that has an open entry.
        self._heads: dict[Hashable, Entry] = {}
        # Keys stopped by on_failure="block" until resume. The head of a blocked key is FOLLOWING: behind nobody.
        self.blocked: set[Hashable] = set()
        # Notes of the sender and the targets: requests on the wire, entries in backoff, whether it is in the queue of
        # targets that may send, its linger timer.
        self.in_flight = 0
        self.retrying = 0
        self.is_queued = False
        self.linger_timer: Any = None

    @property
    def is_full(self) -> bool:
        """Whether what is ready fills a batch: nothing that comes later could still join it."""
        return self.ready_records >= self._max_records or self.ready_bytes >= self._max_bytes

    @property
    def is_idle(self) -> bool:
        """Whether nothing of this target is left, so that it can be forgotten."""
        return not (self.in_flight or self.ready_records or self.retrying or self._heads or self.blocked)

    @property
    def oldest(self) -> Entry:
        """The entry that has been ready longest. Only while there is one."""
        return self._ready[0]

    @property
    def oldest_epoch(self) -> int:
        """The epoch of what has been open longest. Only while something is ready; asked only if that fills no batch."""
        return min(entry.epoch if entry.versions is None else entry.versions[0].epoch for entry in self._ready)

    def add(self, entry: Entry) -> None:
        """Take in an accepted entry.

        It is (1) keyless and ready, (2) the head of its key's lane, (3) in the place of an older one, or (4) behind it.
        """
        key = entry.key
        if key is None:
            self._ready.append(entry)
            self.ready_records += 1
            self.ready_bytes += entry.size
            return
        head = self._heads.get(key)
        if head is None:
            self._heads[key] = entry
            if self.blocked and key in self.blocked:
                entry.place = _FOLLOWING
            else:
                self._ready.append(entry)
                self.ready_records += 1
                self.ready_bytes += entry.size
            return
        lane = head.lane
        if self._coalesces and self._supersede(lane.entries[-1] if lane is not None and lane.entries else head, entry):
            return
        if lane is None:
            lane = head.lane = Lane()
        lane.entries.append(entry)
        lane.bytes += entry.size
        entry.place = _FOLLOWING
        if self._keys_repeat and head.place is _READY:
            self.ready_records += 1
            self.ready_bytes += entry.size

    def add_block(self, entries: Collection[Entry], size: int) -> None:
        """Take in accepted entries without keys, of so many bytes together."""
        self._ready.extend(entries)
        self.ready_records += len(entries)
        self.ready_bytes += size

    def _supersede(self, older: Entry, newer: Entry) -> bool:
        """Put an entry in the place of the last of its lane, if that was never sent; whether it was."""
        if not supersede(older, newer):
            return False
        head = self._heads[newer.key]
        if head is older:
            assert newer.place is _READY
            self._heads[newer.key] = newer
            self.ready_bytes += newer.size - older.size
        else:
            assert head.lane is not None
            head.lane.entries[-1] = newer
            head.lane.bytes += newer.size - older.size
        return True

    def cut(self) -> list[Entry]:
        """Take the next batch's entries: the longest prefix that both limits allow, at least one entry."""
        assert self.ready_records > 0
        if self.ready_records == len(self._ready) and self.ready_bytes <= self._max_bytes:
            return self._cut_heads()
        taken: list[Entry] = []
        room = self._max_bytes
        records = self._max_records
        ready = self._ready
        popped_records = popped_bytes = 0
        while ready and len(taken) < records:
            entry = ready[0]
            if entry.versions is not None:
                entry = entry.versions[-1]
            size = entry.size
            if size > room and taken:
                break
            ready.popleft()
            room -= size
            taken.append(entry)
            popped_records += 1
            popped_bytes += size
            lane = entry.lane
            if lane is not None and self._keys_repeat:
                popped_records += len(lane.entries)
                popped_bytes += lane.bytes
                room = self._cut_lane(lane, taken, room)
        self.ready_records -= popped_records
        self.ready_bytes -= popped_bytes
        assert self.ready_records >= 0
        assert self.ready_bytes >= 0
        return taken

    def _cut_heads(self) -> list[Entry]:
        """Take as many as one batch may hold, when all would fit and no head has followers to come along."""
        take_next = self._ready.popleft
        taken = [take_next() for _ in range(min(self.ready_records, self._max_records))]
        if self._coalesces:
            taken = [newest(entry) for entry in taken]
        self.ready_records -= len(taken)
        self.ready_bytes -= sum([entry.size for entry in taken])
        return taken

    def _cut_lane(self, lane: Lane, taken: list[Entry], room: int) -> int:
        while lane.entries and len(taken) < self._max_records and lane.entries[0].size <= room:
            follower = lane.entries.popleft()
            lane.bytes -= follower.size
            # Before the sender puts it on the wire; so that nobody looks for it in the lane.
            follower.place = _HELD
            room -= follower.size
            taken.append(follower)
        return room

    def settle(self, entries: Iterable[Entry], now: float) -> list[Entry]:
        """Take back the entries of a finished batch; those without an outcome are to go again.

        Returns:
            Those that are to wait for their backoff; the sender gives them to `retry` when it ends. Of one key it
            is only the first, the others wait behind it.
        """
        if self._heads:
            waiting = self._settle_lanes(entries, now)
        else:
            waiting = [entry for entry in entries if entry.place is not _DONE]
        for entry in waiting:
            entry.place = _RETRYING
        self.retrying += len(waiting)
        return waiting

    def _settle_lanes(self, entries: Iterable[Entry], now: float) -> list[Entry]:
        heads = self._heads
        waiting: list[Entry] = []
        chains: dict[Hashable, list[Entry]] = {}
        for entry in entries:
            key = entry.key
            if key is None:
                if entry.place is not _DONE:
                    waiting.append(entry)
            elif entry.place is _DONE and entry.lane is None and entry.versions is None and heads[key] is entry:
                # Nobody is behind it, here or in the batch: a follower would have come from its lane.
                del heads[key]
            else:
                chain = chains.setdefault(key, [])
                if entry.place is not _DONE:
                    chain.append(entry)
                elif entry.versions is not None:
                    self._put_back(entry)
        for key, chain in chains.items():
            head = self._settle_lane(key, chain, now)
            if head is not None:
                waiting.append(head)
        return waiting

    def _put_back(self, entry: Entry) -> None:
        """Put before all that follows what a failed entry had superseded."""
        older = step_back(entry)
        if older is not None:
            older.place = _FOLLOWING
            head = self._heads[entry.key]
            lane = head.lane = head.lane or Lane()
            lane.entries.appendleft(older)
            lane.bytes += older.size

    def _settle_lane(self, key: Hashable, chain: list[Entry], now: float) -> Entry | None:
        """Give the lane its next head; return it if it is one that has to wait for its backoff."""
        lane = self._heads[key].lane
        if not chain:
            self._promote(key, lane, now)
            return None
        head, *others = chain
        if others:
            lane = lane or Lane()
            lane.entries.extendleft(reversed(others))
            for other in others:
                lane.bytes += other.size
                other.place = _FOLLOWING
        head.lane = lane
        self._heads[key] = head
        if key in self.blocked:
            head.place = _FOLLOWING
            return None
        return head

    def _promote(self, key: Hashable, lane: Lane | None, now: float) -> None:
        """Make the first follower the head; without one the lane is gone."""
        if lane is None or not lane.entries:
            del self._heads[key]
            return
        head = lane.entries.popleft()
        lane.bytes -= head.size
        head.lane = lane if lane.entries else None
        self._heads[key] = head
        if key not in self.blocked:
            head.ready_at = now
            self._make_ready(head)

    def _make_ready(self, head: Entry) -> None:
        head.place = _READY
        self._ready.append(head)
        self._count_ready(head, 1)

    def _count_ready(self, head: Entry, sign: int) -> None:
        """Count what a ready head lets leave: itself and, if keys repeat, everything behind it."""
        self.ready_records += sign
        self.ready_bytes += sign * head.size
        if self._keys_repeat and head.lane is not None:
            self.ready_records += sign * len(head.lane.entries)
            self.ready_bytes += sign * head.lane.bytes

    def retry(self, entries: Sequence[Entry], now: float) -> None:
        """Take in entries whose backoff has ended: they go before everything that is ready."""
        self.retrying -= len(entries)
        assert self.retrying >= 0
        # They inherit the age of what they overtake, so that the first ready entry is always the one to linger by.
        ready_at = min(now, self._ready[0].ready_at) if self._ready else now
        for entry in reversed(entries):
            entry.ready_at = ready_at
            entry.place = _READY
            self._ready.appendleft(entry)
            self._count_ready(entry, 1)

    def block(self, key: Hashable) -> None:
        """Stop the key's lane: what is behind its failed entry stays until `resume`."""
        self.blocked.add(key)

    def resume(self, key: Hashable, now: float) -> bool:
        """Let a blocked key's lane go on. Whether it was blocked."""
        if key not in self.blocked:
            return False
        self.blocked.discard(key)
        head = self._heads.get(key)
        if head is not None and head.place is _FOLLOWING:
            head.ready_at = now
            self._make_ready(head)
        return True

    def drop_waiting(self) -> None:
        """Let go of everything that is not in a request: it has been ended."""
        self._ready.clear()
        self.ready_records = self.ready_bytes = self.retrying = 0
        sent = {key: head for key, head in self._heads.items() if head.place in (_FLYING, _HELD, _DONE)}
        for head in sent.values():
            if head.lane is not None:
                # Emptied, not taken away: followers may be in the head's own batch, see `settle`.
                head.lane = Lane()
        self._heads = sent
        self.blocked.clear()

    def remove(self, entry: Entry, now: float) -> None:
        """Let go of an entry that has ended without being sent: it was (1) ready, (2) in backoff, or (3) following."""
        assert entry.place not in (_HELD, _FLYING, _DONE, _SUPERSEDED)
        key = entry.key
        if entry.place is _READY:
            # What stands there for it may be one that it superseded.
            is_stand_in = entry.versions is not None
            stand_in = next(other for other in self._ready if newest(other) is entry) if is_stand_in else entry
            self._ready.remove(stand_in)
            self._count_ready(entry, -1)
        elif entry.place is _RETRYING:
            self.retrying -= 1
        if key is None:
            return
        head = self._heads[key]
        if head is entry:
            self._promote(key, entry.lane, now)
            return
        lane = head.lane
        assert lane is not None
        lane.entries.remove(entry)
        lane.bytes -= entry.size
        if self._keys_repeat and head.place is _READY:
            self.ready_records -= 1
            self.ready_bytes -= entry.size
