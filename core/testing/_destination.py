"""A destination in memory that keeps an exact log of what was written, and fails as its plan says."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from sinkwell.core import (
    BatchRefused,
    Delivered,
    Encoded,
    InvalidRecord,
    Limits,
    Receipt,
    Rejected,
    Retry,
    Unknown,
    Verdict,
)

from ._plan import FaultPlan

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from sinkwell.core import Batch


class ProviderError(Exception):
    """What a fake provider says went wrong."""


@final
@dataclass(slots=True, kw_only=True)
class FakeReceipt(Receipt):
    """The fake provider wrote the record as its `number`-th."""

    number: int = 0


@final
@dataclass(slots=True, frozen=True, kw_only=True)
class Written:
    """A line of the log: what the provider has, whatever it answered.

    Attributes:
        record: the payload as it was written.
        target: where.
        key: its key, if it has one.
        request: the number of the request that wrote it, from 0.
        at: the loop's time.
    """

    record: Any
    target: Hashable
    key: Hashable
    request: int
    at: float


@final
class FakeDestination:
    """A provider in memory.

    Args:
        plan: what goes wrong, and how often.
        limits: what one request may carry; a request above them is an `AssertionError`.
        seed: the faults of one seed are always the same.
        size_of: bytes of a record; default: 1 each.
        key_of: a record's key; default: none.
        target_of: a record's target; default: one for all.
        is_bad: a request with such a record is refused whole with `BatchRefused`, as COPY does.

    Attributes:
        log: all that was ever written, in order.
        requests: what each request carried, in order.
        in_flight: requests being written now. `most_in_flight` is the most there ever were.
    """

    name = "fake"

    def __init__(
        self,
        *,
        plan: FaultPlan | None = None,
        limits: Limits | None = None,
        seed: int = 0,
        size_of: Callable[[Any], int] | None = None,
        key_of: Callable[[Any], Hashable] | None = None,
        target_of: Callable[[Any], Hashable] | None = None,
        is_bad: Callable[[Any], bool] | None = None,
    ) -> None:
        self.plan = plan or FaultPlan()
        self.limits = limits or Limits(records=10)
        self._rng = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._size_of = size_of
        self._key_of = key_of
        self._target_of = target_of
        self._is_bad = is_bad
        self.log: list[Written] = []
        self.requests: list[list[Any]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.is_open = False

    async def open(self) -> None:
        """Be open; connecting takes no time here."""
        self.is_open = True

    async def aclose(self) -> None:
        """Be closed."""
        self.is_open = False

    def encode(self, record: Any) -> Encoded:
        """Take any record but `None` as its own payload."""
        if record is None:
            raise InvalidRecord("fake: None is no record: put something")
        return Encoded(
            record,
            self._size_of(record) if self._size_of else 1,
            self._key_of(record) if self._key_of else None,
            self._target_of(record) if self._target_of else None,
        )

    async def write(self, batch: Batch) -> Sequence[Verdict[FakeReceipt]]:
        """Write what the plan lets be written, and answer as it says."""
        assert self.is_open, "write before open or after aclose"
        assert self.limits.records is None or len(batch) <= self.limits.records
        assert self.limits.bytes is None or batch.size <= self.limits.bytes
        number = len(self.requests)
        self.requests.append(batch.payloads)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._answer(batch, number)
        finally:
            self.in_flight -= 1

    async def _answer(self, batch: Batch, number: int) -> list[Verdict[FakeReceipt]]:
        plan = self.plan
        if self._happens(plan.hang):
            if self._happens(0.5):
                self._write(batch, range(len(batch)), number)
            await asyncio.get_running_loop().create_future()
        await self._take_time()
        if self._happens(plan.raise_before):
            raise ProviderError("failed before anything was written")
        if self._happens(plan.throttle):
            error = ProviderError("throttled")
            return [Retry(error, throttled=True, after=plan.retry_after)] * len(batch)
        self._refuse_bad(batch)
        verdicts = self._verdicts(batch, number)
        if self._happens(plan.raise_after):
            raise ProviderError("failed after everything was written")
        if self._happens(plan.short_answer):
            return verdicts[:-1]
        if self._happens(plan.long_answer):
            return [*verdicts, verdicts[0]]
        return verdicts

    async def _take_time(self) -> None:
        plan = self.plan
        seconds = plan.slow_seconds if self._happens(plan.slow) else plan.latency
        if plan.latency_spread:
            seconds += self._rng.uniform(0, plan.latency_spread)
        stubborn = self._happens(plan.stubborn)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if not stubborn:
                raise
            await asyncio.sleep(plan.stubborn_seconds)

    def _refuse_bad(self, batch: Batch) -> None:
        bad = [index for index, record in enumerate(batch.payloads) if self._is_bad and self._is_bad(record)]
        if not bad:
            return
        suspect = None
        if self._happens(self.plan.names_suspect):
            suspect = bad[0]
            if self._happens(self.plan.wrong_suspect):
                suspect = self._rng.randrange(len(batch))
        raise BatchRefused(suspect) from ProviderError("one of the records is bad")

    def _verdicts(self, batch: Batch, number: int) -> list[Verdict[FakeReceipt]]:
        plan = self.plan
        verdicts: list[Verdict[FakeReceipt]] = []
        for index, entry in enumerate(batch.entries):
            if self._happens(plan.fail_entry):
                verdicts.append(Retry(ProviderError("this entry failed")))
            elif self._happens(plan.reject_entry):
                verdicts.append(Rejected(ProviderError("this entry is refused")))
            elif self._happens(plan.unknown_entry):
                if self._happens(0.5):
                    self._write(batch, (index,), number)
                verdicts.append(Unknown(ProviderError("nobody knows")))
            else:
                self._write(batch, (index,), number)
                verdicts.append(Delivered(FakeReceipt(attempts=entry.attempts, number=len(self.log) - 1)))
        return verdicts

    def _write(self, batch: Batch, indexes: Sequence[int], number: int) -> None:
        now = asyncio.get_running_loop().time()
        for index in indexes:
            entry = batch.entries[index]
            self.log.append(Written(record=entry.payload, target=batch.target, key=entry.key, request=number, at=now))

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self._rng.random() < chance
