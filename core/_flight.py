"""One slot in use: a batch on the wire or, after a refusal, its parts one after another.

Before: the batcher's cut. After: verdicts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    import asyncio

    from ._batch import Batch
    from ._batcher import Batcher
    from ._entry import Entry
    from ._isolation import Isolation


@final
class Flight:
    """What the sender knows of one slot."""

    __slots__ = (
        "batch",
        "batcher",
        "dues",
        "entries",
        "has_begun",
        "is_over_time",
        "isolation",
        "refusal",
        "sent_at",
        "task",
        "timer",
    )

    def __init__(self, batcher: Batcher, entries: list[Entry]) -> None:
        self.batcher = batcher
        # All that was cut for it. Its keys' lanes are busy until every part has had its answer.
        self.entries = entries
        # What is on the wire now: all of the entries, or a part of them.
        self.batch: Batch | None = None
        self.task: asyncio.Task[Any] | None = None
        # Ends the attempt at attempt_timeout; between two parts it may be the pace's.
        self.timer: asyncio.TimerHandle | None = None
        self.sent_at = 0.0
        # Whether the destination has seen the batch.
        self.has_begun = False
        self.is_over_time = False
        # When each entry that is to go again is due.
        self.dues: dict[Entry, float] = {}
        self.isolation: Isolation | None = None
        # The provider's error of the last refusal: what a culprit found is rejected with.
        self.refusal: BaseException | None = None
