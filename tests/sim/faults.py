"""The provider of a simulated world: it keeps an exact log of what was written, and fails as it was drawn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sinkwell.core import BatchRefused, Delivered, Encoded, InvalidRecord, Receipt, Rejected, Retry, Unknown

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from sinkwell.core import Batch, Entry, Limits, Policy

    from .oracle import Oracle
    from .scenario import Record


class ProviderError(Exception):
    """What the simulated provider says went wrong."""


class TooLarge(Exception):
    """By the provider's own count, a request holds more bytes than it may."""


class Superseded(Receipt):
    """The receipt of a record in whose place a newer one was delivered."""


class NotAnException(BaseException):
    """Some clients raise what `except Exception` does not catch."""


class Broken(str):
    """Stands among verdicts where a sloppy sink put something else."""

    __slots__ = ()


# A world waits so long for requests that ignored their cancellation, and would call them left behind afterwards.
LONGEST_TRAVEL = 20.0

RAISES: tuple[type[BaseException], ...] = (
    ProviderError, OSError, TimeoutError, KeyError, MemoryError, RecursionError, asyncio.CancelledError, NotAnException,
    StopIteration, GeneratorExit,
)  # fmt: skip


@dataclass(slots=True, frozen=True)
class Faults:
    """Chances for each request or entry, and times in seconds."""

    latency: float = 0.01
    spread: float = 0.0
    heavy_tail: bool = False
    slow: float = 0.0
    hang: float = 0.0
    raise_before: float = 0.0
    raise_after: float = 0.0
    any_type: bool = False
    throttle: float = 0.0
    retry_after: float | None = None
    fail: float = 0.0
    reject: float = 0.0
    unknown: float = 0.0
    wrong_answer: float = 0.0
    stubborn: float = 0.0
    stubborn_seconds: float = 0.4
    late: float = 0.0
    names_suspect: float = 0.0
    wrong_suspect: float = 0.0
    close_fails: str = ""

    @property
    def are_none(self) -> bool:
        """Whether requests fail for bad records only, so that isolation's bound can be checked."""
        chances = (self.slow, self.hang, self.raise_before, self.raise_after, self.throttle, self.fail, self.reject,
                   self.unknown, self.wrong_answer)  # fmt: skip
        return not any(chances) and not self.heavy_tail

    def stopped(self) -> Faults:
        """The same provider when its bad day is over."""
        return Faults(latency=min(self.latency, 0.01))


def draw_faults(rng: random.Random, policy: Policy) -> Faults:
    """Draw which faults exist in this world, then their rates."""
    if rng.random() < 0.15:
        return Faults(
            latency=rng.choice((0.0, 0.01, 0.02)),
            names_suspect=rng.choice((0.0, 1.0)),
            wrong_suspect=rng.choice((0.0, 0.0, 1.0)),
        )

    def some(*rates: float) -> float:
        return rng.choice(rates) if rng.random() < 0.3 else 0.0

    return Faults(
        latency=rng.choice((0.0, 0.001, 0.01, 0.05)),
        spread=some(0.01, 0.1),
        heavy_tail=rng.random() < 0.1,
        slow=some(0.05, 0.3),
        hang=some(0.02, 0.2),
        raise_before=some(0.05, 0.3),
        raise_after=some(0.05, 0.3),
        any_type=rng.random() < 0.5,
        throttle=some(0.1, 0.5),
        retry_after=rng.choice((None, None, 0.0, 0.2, 3.0)),
        fail=some(0.1, 0.5),
        reject=some(0.03, 0.3),
        unknown=some(0.05, 0.3),
        wrong_answer=some(0.05, 0.3),
        stubborn=some(0.3, 1.0),
        stubborn_seconds=rng.choice((0.01, 0.4, 2.0, 9.0, policy.attempt_timeout)),
        late=some(0.5, 1.0),
        names_suspect=some(0.5, 1.0),
        wrong_suspect=some(0.3, 1.0),
        close_fails=rng.choice(("", "", "", "raises", "hangs")),
    )


class SimDestination:
    """The provider; it tells the oracle of everything before the core can."""

    name = "sim"

    def __init__(self, faults: Faults, limits: Limits, oracle: Oracle, rng: random.Random) -> None:
        self.faults = faults
        self.limits = limits
        self._oracle = oracle
        self._rng = rng
        # Tasks of requests under way, oldest first, for those who kill one.
        self.tasks: list[asyncio.Task[Any]] = []
        self.closed = 0
        # Whether the clock stands still: then an answer takes turns of the loop, not time.
        self.clock_stands: Callable[[], bool] = lambda: False

    async def open(self) -> None:
        """Be open."""

    async def aclose(self) -> None:
        """Be closed, or fail to."""
        self.closed += 1
        if self.faults.close_fails == "raises":
            raise ProviderError("could not close")
        if self.faults.close_fails == "hangs":
            await asyncio.get_running_loop().create_future()

    def encode(self, record: Record) -> Encoded:
        """Tell the oracle who is in line, and raise where it was drawn."""
        if record.encode_raises:
            error = InvalidRecord("sim: drawn so") if record.id % 2 else MemoryError("sim: drawn so")
            self._oracle.rare(f"encoder raised {type(error).__name__}")
            raise error
        self._oracle.offered(record)
        if record.size != record.true_size:
            self._oracle.rare(f"a size was estimated too {'low' if record.size < record.true_size else 'high'}")
        return Encoded(record.payload, record.size, record.key, record.target, record.units)

    async def write(self, batch: Batch) -> Sequence[Any]:
        """Answer as drawn; the oracle hears of every answer first."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        request = self._oracle.requests.began(batch)
        try:
            answer = await self._answer(batch, request)
        except BatchRefused as refusal:
            self._oracle.requests.refused(batch, request, refusal)
            raise
        except BaseException as error:
            self._oracle.requests.unanswered(batch, request, error)
            raise
        else:
            self._oracle.requests.answered(batch, request, answer)
            return answer
        finally:
            self.tasks.remove(task)

    async def _answer(self, batch: Batch, request: int) -> Sequence[Any]:
        faults = self.faults
        everything = range(len(batch))
        if self._happens(faults.hang):
            self._oracle.rare("request hung")
            if self._happens(0.5):
                self._write(batch, everything, request)
            await asyncio.get_running_loop().create_future()
        await self._travel(batch, request, is_outward=True)
        if self._happens(faults.raise_before):
            raise self._error()
        if self._happens(faults.throttle):
            return [
                self._put_off(entry, request, "throttled", throttled=True, after=faults.retry_after)
                for entry in batch.entries
            ]
        if (rejected := self._too_large(batch)) is not None:
            return rejected
        self._refuse_bad(batch)
        verdicts = self._verdicts(batch, request)
        await self._travel(batch, request, is_outward=False)
        if self._happens(faults.raise_after):
            raise self._error()
        if self._happens(faults.wrong_answer):
            return self._wrong(verdicts)
        return verdicts

    async def _travel(self, batch: Batch, request: int, *, is_outward: bool) -> None:
        """Take half a round trip; cancelled on the way, perhaps go on all the same, perhaps arrive later."""
        faults = self.faults
        seconds = faults.latency / 2
        if faults.spread:
            seconds += self._rng.uniform(0, faults.spread)
        if faults.heavy_tail:
            seconds = min(seconds * self._rng.paretovariate(0.7), LONGEST_TRAVEL)
            self._oracle.rare("latency had a heavy tail")
        if self._happens(faults.slow):
            seconds += 1.0
        try:
            if self.clock_stands():
                self._oracle.rare("a request was under way while the clock stood still")
                for _ in range(self._rng.randrange(1, 8)):
                    await asyncio.sleep(0)
            else:
                await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if self._happens(faults.stubborn):
                self._oracle.rare("request ignored its cancellation")
                await asyncio.sleep(faults.stubborn_seconds)
                return
            if is_outward and self._happens(faults.late):
                delay = self._rng.choice((0.0, 0.01, 1.0))
                asyncio.get_running_loop().call_later(delay, self._write_late, batch, request)
            raise

    def _error(self) -> BaseException:
        if not self.faults.any_type:
            return ProviderError("failed")
        kind = self._rng.choice(RAISES)
        self._oracle.rare(f"write raised {kind.__name__}")
        return kind("sim")

    def _too_large(self, batch: Batch) -> Sequence[Any] | None:
        """Count as the provider does, which the sink's encoder may do otherwise; give rejections, raise, or pass."""
        size = sum(record.true_size for record in self._oracle.records_of(batch))
        if self.limits.bytes is None or size <= self.limits.bytes:
            return None
        says = self._oracle.scenario.says_too_large
        error = TooLarge(f"{size} bytes")
        self._oracle.rare(f"a request was too large, and the provider {says} it")
        if says == "refuses":
            raise BatchRefused from error
        if says == "raises":
            raise error
        return [Rejected(error)] * len(batch)

    def _refuse_bad(self, batch: Batch) -> None:
        records = self._oracle.records_of(batch)
        bad = [index for index, record in enumerate(records) if record.is_bad]
        if not bad:
            return
        suspect = None
        if self._happens(self.faults.names_suspect):
            suspect = bad[0]
            if self._happens(self.faults.wrong_suspect):
                suspect = self._rng.choice((self._rng.randrange(len(batch)), len(batch), -1))
                self._oracle.rare("a wrong suspect was named")
        raise BatchRefused(suspect) from ProviderError("one of them is bad")

    def _verdicts(self, batch: Batch, request: int) -> list[Any]:
        faults = self.faults
        verdicts: list[Any] = []
        for index, entry in enumerate(batch.entries):
            if self._happens(faults.fail):
                after = faults.retry_after if self._happens(0.3) else None
                verdicts.append(self._put_off(entry, request, "failed", after=after))
            elif self._happens(faults.reject):
                verdicts.append(Rejected(ProviderError("rejected")))
            elif self._happens(faults.unknown):
                if self._happens(0.5):
                    self._write(batch, (index,), request)
                is_final = self._oracle.scenario.has_final_doubts and entry.record.id % 2 == 0
                verdicts.append(Unknown(ProviderError("nobody knows"), is_final=is_final))
            else:
                self._write(batch, (index,), request)
                receipt, superseded = Receipt(attempts=entry.attempts), Superseded(attempts=entry.attempts)
                verdicts.append(Delivered(receipt, superseded=superseded))
        return verdicts

    def _put_off(self, entry: Entry, request: int, why: str, *, after: float | None, throttled: bool = False) -> Retry:
        unsent = self._oracle.scenario.holds_back and (entry.record.id + request) % 2 == 0
        return Retry(ProviderError(why), throttled=throttled, after=after, unsent=unsent)

    def _wrong(self, verdicts: list[Any]) -> Any:
        """Make of a right answer one that can't be trusted."""
        kind = self._rng.choice(("short", "long", "empty", "none", "string", "broken"))
        self._oracle.rare(f"answer was {kind}")
        match kind:
            case "short":
                return verdicts[:-1]
            case "long":
                return [*verdicts, verdicts[0]]
            case "empty":
                return []
            case "none":
                return None
            case "string":
                return "x" * len(verdicts)
            case _:
                return [Broken("ok"), *verdicts[1:]]

    def _write(self, batch: Batch, indexes: Sequence[int], request: int) -> None:
        for index in indexes:
            self._oracle.requests.written(batch.entries[index], request, is_late=False)

    def _write_late(self, batch: Batch, request: int) -> None:
        self._oracle.rare("written after the attempt had been given up")
        for entry in batch.entries:
            self._oracle.requests.written(entry, request, is_late=True)

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self._rng.random() < chance


def calm(destination: SimDestination) -> None:
    """Stop all faults."""
    destination.faults = replace(destination.faults.stopped(), close_fails=destination.faults.close_fails)
