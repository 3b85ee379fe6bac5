"""Which faults meet which request. Pure: no clock, no loop; chance comes from seeds.

Before me: the endpoint has read a request's head. After me: `_turn.py`.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._turn import Fault
    from ._wire import AwsRequest

    Script: TypeAlias = Callable[[AwsRequest], Fault | None]


@dataclass(slots=True, frozen=True)
class _Rule:
    action: str
    fault: Fault
    probability: float
    rng: random.Random


class AwsPlan:
    """What to do with which request; without a word to it, everything is answered as AWS would.

    The faults of one request act together, in this order: `next`, `nth`, `always`, `script`. `action` is AWS's name of
    it; `"*"` means each.

    ```python
    aws.plan.next("SendMessageBatch", Throttle(), Drop(applied=True))  # the next one, then the one after it
    aws.plan.always("SendMessageBatch", FailEntries(0.1), seed=7)
    aws.plan.script(lambda request: Hang() if request.number % 100 == 0 else None)
    ```

    Args:
        seed: of the chance that faults given to `next`, `nth` and `script` draw from.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - repeatable chance is the point
        self._next: defaultdict[str, deque[Fault | None]] = defaultdict(deque)
        self._nth: dict[tuple[str, int], Fault] = {}
        self._rules: list[_Rule] = []
        self._scripts: list[Script] = []
        self._seen: Counter[str] = Counter()

    def next(self, action: str, *faults: Fault | None) -> None:
        """Meet the coming requests of an action with one fault each, after those that are already waiting.

        Args:
            action: for example `"SendMessageBatch"`.

            faults: the first for the next request, the second for the one after; `None` lets one pass unharmed.
        """
        self._next[action].extend(faults)

    def nth(self, action: str, n: int, fault: Fault) -> None:
        """Meet the n-th request of an action (from 1, counted since the endpoint began)."""
        self._nth[action, n] = fault

    def always(self, action: str, fault: Fault, *, probability: float = 1.0, seed: int = 0) -> None:
        """Meet every request of an action, or each with a probability.

        Raises:
            ValueError: if `probability` is not between 0 and 1.
        """
        if not 0 <= probability <= 1:
            raise ValueError(f"probability ({probability!r}) must be between 0 and 1")
        chance = random.Random(seed)  # noqa: S311 - repeatable chance is the point
        self._rules.append(_Rule(action, fault, probability, chance))

    def script(self, decide: Script) -> None:
        """Ask a function of yours about every request; it sees the request and returns a fault or None."""
        self._scripts.append(decide)

    def clear(self) -> None:
        """Forget every fault; the count for `nth` goes on."""
        self._next.clear()
        self._nth.clear()
        self._rules.clear()
        self._scripts.clear()

    @property
    def waiting(self) -> int:
        """How many faults given to `next` have not met their request yet."""
        return sum(len(faults) for faults in self._next.values())

    def choose(self, action: str) -> list[tuple[Fault, random.Random]]:
        """The faults for one request that has just begun. Called once for each, by the endpoint."""
        self._seen[action] += 1
        self._seen["*"] += 1
        chosen: list[tuple[Fault, random.Random]] = []
        for name in (action, "*"):
            waiting = self._next.get(name)
            fault = waiting.popleft() if waiting else None
            at = self._nth.pop((name, self._seen[name]), None) if self._nth else None
            chosen += [(found, self._rng) for found in (fault, at) if found is not None]
        for rule in self._rules:
            if rule.action in (action, "*") and (rule.probability == 1 or rule.rng.random() < rule.probability):
                chosen.append((rule.fault, rule.rng))
        return chosen

    def ask_scripts(self, request: AwsRequest) -> list[tuple[Fault, random.Random]]:
        """The scripts' faults for a request that has been read. Called by the endpoint."""
        asked = [decide(request) for decide in self._scripts]
        return [(fault, self._rng) for fault in asked if fault is not None]
