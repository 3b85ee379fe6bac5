"""Which part of a refused batch goes next, until its culprits are found. No clock, no loop, no await.

Before: the sender, when `write` raised `BatchRefused`. After: the sender has the judge reject the culprits.

What is known of the entries that have no answer yet is one of two things: of `_bad`, that it holds a culprit; of
`_rest`, nothing. There are four cases:

1. A suspect was named: it goes alone. Refused, it is the culprit, and of the others nothing is known.
2. `_bad` has one entry: it is the culprit, by deduction, without another request.
3. `_bad` has more: its first half goes. Refused, that half is bad, and of the second half nothing is known.
   Written, the second half is bad. So each halving costs one request, not two.
4. `_bad` is empty: all of `_rest` goes at once.

For k culprits among n entries that is at most k * log2(n) + k requests. Entries are tried in order, so that those of
one key are written in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from ._entry import Place

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from ._entry import Entry


@final
class Isolation:
    """The search for the culprits of one refused batch."""

    __slots__ = ("_bad", "_rest", "_suspect", "_trying", "culprits", "stalled_keys")

    def __init__(self) -> None:
        self._bad: list[Entry] = []
        self._rest: list[Entry] = []
        self._suspect: Entry | None = None
        # What the last request carried.
        self._trying: list[Entry] = []
        # Found since the caller last took them away.
        self.culprits: list[Entry] = []
        # Keys of entries that were answered by "later": what follows them must not overtake them.
        self.stalled_keys: set[Hashable] = set()

    def refused(self, group: Sequence[Entry], suspect: int | None) -> None:
        """Learn that the group holds a culprit, and perhaps which one it is said to be."""
        self._forget_tried()
        if len(group) == 1:
            self.culprits.append(group[0])
            # Whether what was bad held another culprit is not known.
            self._distrust()
            return
        # Whatever was bad before held this group; what it leaves of it is unknown.
        self._rest[:0] = self._bad
        self._bad = list(group)
        if suspect is not None and 0 <= suspect < len(group):
            named = group[suspect]
            # Alone and first it would overtake an earlier entry of its own key; then only halving keeps the order.
            if named.key is None or sum(entry.key == named.key for entry in group) == 1:
                self._suspect = named

    def written(self, *, all_of_it: bool) -> None:
        """Learn that the last group was not refused; `all_of_it` says that every entry of it was delivered."""
        self._forget_tried()
        if not all_of_it:
            self._distrust()

    def next_group(self) -> list[Entry]:
        """Give what to send next; empty when every entry has had its answer."""
        self._drop_the_settled()
        if self._suspect is not None:
            self._trying = [self._suspect]
            self._suspect = None
        elif len(self._bad) == 1:
            self.culprits.append(self._bad.pop())
            return self.next_group()
        elif self._bad:
            self._trying = self._bad[: len(self._bad) // 2]
        else:
            self._trying = self._rest
        return list(self._trying)

    def _forget_tried(self) -> None:
        """Take what was just answered out of what is still to be answered."""
        tried = set(self._trying)
        self._bad = [entry for entry in self._bad if entry not in tried]
        self._rest = [entry for entry in self._rest if entry not in tried]
        self._trying = []

    def _distrust(self) -> None:
        """Of what was bad nothing is known any more: a culprit of it may have been found, or have gone elsewhere."""
        self._rest[:0] = self._bad
        self._bad = []
        self._suspect = None

    def _drop_the_settled(self) -> None:
        """Leave out entries that got their outcome meanwhile, or that must wait behind one of their key."""
        bad = [entry for entry in self._bad if self._may_go(entry)]
        if len(bad) != len(self._bad):
            self._bad = bad
            self._distrust()
        self._rest = [entry for entry in self._rest if self._may_go(entry)]

    def _may_go(self, entry: Entry) -> bool:
        return entry.place is not Place.DONE and (entry.key is None or entry.key not in self.stalled_keys)
