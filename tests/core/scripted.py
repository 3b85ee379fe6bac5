"""A destination whose answers the test gives, one request after the other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from sinkwell.core import BatchRefused, Delivered, Encoded, InvalidRecord, Limits, Receipt, Rejected, Retry, Unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinkwell.core import Batch, SealReason


class ScriptedError(Exception):
    """What the provider says went wrong."""


RETRY = Retry(ScriptedError("later"))
THROTTLED = Retry(ScriptedError("slow down"), throttled=True)
REJECTED = Rejected(ScriptedError("never"))
UNKNOWN = Unknown(ScriptedError("who knows"))


@final
@dataclass(slots=True, kw_only=True)
class Ack(Receipt):
    """The provider has the record."""

    record: Any = None


@final
class Request:
    """One write on the wire, until the test answers it."""

    def __init__(self, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        self.batch = batch
        self.sent_at = loop.time()
        self.was_cancelled = False
        self._answer: asyncio.Future[Any] = loop.create_future()

    @property
    def records(self) -> list[Any]:
        return self.batch.payloads

    @property
    def reason(self) -> SealReason:
        return self.batch.reason

    @property
    def is_open(self) -> bool:
        return not self._answer.done()

    def deliver(self) -> None:
        """Acknowledge every record of it."""
        self.answer(*(delivered(entry) for entry in self.batch.entries))

    def answer(self, *verdicts: Any) -> None:
        """Give one verdict for each record; `True` stands for delivered."""
        entries = self.batch.entries
        self.answer_anything(
            [delivered(entries[index]) if verdict is True else verdict for index, verdict in enumerate(verdicts)]
        )

    def answer_anything(self, answer: Any) -> None:
        self._answer.set_result(answer)

    def fail(self, error: BaseException) -> None:
        self._answer.set_exception(error)

    def refuse(self, suspect: int | None = None) -> None:
        """Refuse all of it because of a record in it."""
        refusal = BatchRefused(suspect)
        refusal.__cause__ = ScriptedError("one of them is bad")
        self.fail(refusal)

    async def answered(self, *, stubborn: bool) -> Any:
        while True:
            try:
                return await asyncio.shield(self._answer)
            except asyncio.CancelledError:
                self.was_cancelled = True
                if not stubborn:
                    raise


def delivered(entry: Any) -> Delivered[Ack]:
    return Delivered(Ack(attempts=entry.attempts, record=entry.payload))


@final
class Scripted:
    """Keeps every request open until the test answers it.

    A record is text such as `"body"`, `"key:body"` or `"target/key:body"`, and counts as one byte; or bytes, which
    count as many as they are.

    Args:
        limits: what one request may carry.
        stubborn: go on with a request that is cancelled.
        answers_at_once: acknowledge every request without being told.
    """

    name = "scripted"

    def __init__(self, *, limits: Limits | None = None, stubborn: bool = False, answers_at_once: bool = False) -> None:
        self.limits = limits or Limits(records=10)
        self.stubborn = stubborn
        self.answers_at_once = answers_at_once
        self.requests: list[Request] = []
        self.times_opened = 0
        self.times_closed = 0
        self._unseen = 0
        self._arrived = asyncio.Event()

    async def open(self) -> None:
        self.times_opened += 1

    async def aclose(self) -> None:
        self.times_closed += 1

    def encode(self, record: Any) -> Encoded:
        if isinstance(record, bytes):
            return Encoded(record, len(record))
        if not isinstance(record, str):
            raise InvalidRecord("scripted: neither text nor bytes")
        target, _, rest = record.rpartition("/")
        key, colon, _ = rest.partition(":")
        return Encoded(record, 1, key if colon else None, target or None)

    async def write(self, batch: Batch) -> Sequence[Any]:
        assert self.times_opened == 1
        assert self.times_closed == 0
        request = Request(batch)
        self.requests.append(request)
        self._arrived.set()
        if self.answers_at_once:
            request.deliver()
        return await request.answered(stubborn=self.stubborn)

    @property
    def sent(self) -> list[list[Any]]:
        """The records of every request so far."""
        return [request.records for request in self.requests]

    @property
    def on_the_wire(self) -> list[list[Any]]:
        """The records of every request that has no answer yet."""
        return [request.records for request in self.requests if request.is_open]

    def answer_all(self) -> None:
        """Acknowledge whatever is on the wire."""
        for request in self.requests:
            if request.is_open:
                request.deliver()

    async def request(self) -> Request:
        """Wait for the next request that the test has not seen yet."""
        while self._unseen == len(self.requests):
            self._arrived.clear()
            await self._arrived.wait()
        self._unseen += 1
        return self.requests[self._unseen - 1]


async def tick() -> None:
    """Let everything run that needs no time to pass."""
    for _ in range(12):
        await asyncio.sleep(0)


def timers() -> list[Any]:
    """What the loop has scheduled for later."""
    scheduled: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return [handle for handle in scheduled if not handle.cancelled()]


def other_tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
