"""What will be done with one request: faults write their wishes here, the endpoint carries them out.

Before me: `_plan.py` chose the faults. After me: `_endpoint.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from ._wire import AwsError, AwsRequest, EntryError, Reply

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    Edit: TypeAlias = Callable[[Reply], None]
    Fault: TypeAlias = Callable[["Turn"], None]


@dataclass(slots=True, frozen=True)
class Pace:
    """How the bytes of an answer leave: `piece_bytes`, then a pause in seconds, and so on."""

    piece_bytes: int
    pause: float


@dataclass(slots=True)
class Turn:
    """One request's turn. A fault is any callable that takes it and changes what it should.

    Attributes:
        request: what was asked.
        rng: the chance of the plan's rule that called the fault, seeded.
        refused: entry Id to error: these fail, and are not applied.
        instead: answered in place of the service's own answer.
        is_applied: whether the request changes the service's state; without it there must be an `instead`, `hangs` or
            `cut_at=0`.
        edits: run in order over the answer.
        wait_before: seconds before the request is applied.
        wait_after: seconds between that and the answer.
        hangs: no answer leaves, and the connection stays open.
        cut_at: the share (0 to 1) of the answer's bytes after which the connection is closed.
        resets: whether that close is a TCP reset.
        pace: how the answer's bytes leave; at once when None.
    """

    request: AwsRequest
    rng: random.Random
    refused: dict[str, EntryError] = field(default_factory=dict[str, EntryError])
    instead: Reply | AwsError | None = None
    is_applied: bool = True
    edits: list[Edit] = field(default_factory=list["Edit"])
    wait_before: float = 0.0
    wait_after: float = 0.0
    hangs: bool = False
    cut_at: float | None = None
    resets: bool = False
    pace: Pace | None = None
