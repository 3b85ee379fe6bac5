"""A real sink whose provider answers when it is told to, so that it can be driven step by step beside the model."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from sinkwell.core import (
    Backoff,
    CloseReport,
    Delivered,
    DeliveryError,
    Encoded,
    Limits,
    Observer,
    Policy,
    Receipt,
    Rejected,
    Retry,
    Sink,
    SinkClosed,
    Unknown,
)
from sinkwell.core.testing import VirtualLoop

from .model import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinkwell.core import Batch, RecordOrphaned

MAX_RECORDS = 2
BACKOFF = 0.5


class Prompted(Observer):
    """A provider that waits for its prompt, and an observer that notes orphans."""

    name = "prompted"
    limits = Limits(records=MAX_RECORDS, keys_repeat=False)

    def __init__(self) -> None:
        self.written: list[int] = []
        self.batch: Batch | None = None
        self.prompt: asyncio.Future[str] | None = None
        self.orphans: set[int] = set()

    async def open(self) -> None: ...

    async def aclose(self) -> None: ...

    def encode(self, record: tuple[int, str | None]) -> Encoded:
        return Encoded(record[0], 1, record[1])

    async def write(self, batch: Batch) -> Sequence[Any]:
        assert self.batch is None, "two requests at once"
        self.batch, self.prompt = batch, asyncio.get_running_loop().create_future()
        try:
            says = await self.prompt
        finally:
            self.batch = None
        if says in ("ok", "lost"):
            self.written += batch.payloads
        verdict = {"ok": Delivered(Receipt()), "retry": Retry(OSError()), "reject": Rejected(OSError())}
        return [verdict.get(says) or Unknown(OSError())] * len(batch)

    def on_record_orphaned(self, event: RecordOrphaned) -> None:
        self.orphans.add(event.record[0])


class LockStep:
    """The sink and its model; every action is done to both, then they are compared."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.model = Model(MAX_RECORDS)
        self.provider = Prompted()
        policy = Policy(
            concurrency=1,
            linger=100.0,
            on_unknown="fail",
            attempt_timeout=1e6,
            delivery_timeout=1e6,
            backoff=Backoff(base=BACKOFF, cap=BACKOFF),
        )
        self.sink: Sink[Any, Any] = Sink(self.provider, policy, observer=self.provider, rng=random.Random(0))
        self.futures: dict[int, asyncio.Future[Any]] = {}
        self.closing: asyncio.Task[CloseReport] | None = None
        self._run(self.sink.open())

    def _run(self, coroutine: Any) -> None:
        self.loop.run_until_complete(coroutine)

    def settle(self) -> None:
        """Let everything happen that needs no answer, backoff included, and compare."""
        self._run(asyncio.sleep(BACKOFF * 2))
        batch = self.provider.batch
        self.model.tick([] if batch is None else batch.payloads)
        self.compare()

    def compare(self) -> None:
        model = self.model
        assert self.provider.written == model.written
        for record, future in self.futures.items():
            if record not in model.cancelled:
                assert self._outcome(future) == model.ended.get(record)
        assert self.provider.orphans == model.cancelled & set(model.ended)
        stats = self.sink.stats()
        if not model.is_closing:
            assert stats.pending_records == len(model.waiting) + len(model.backoff) + len(model.flying)
        assert self.closing is None or self.closing.done() == model.is_drained

    @staticmethod
    def _outcome(future: asyncio.Future[Any]) -> str | None:
        if not future.done():
            return None
        error = future.exception()
        return error.outcome.value if isinstance(error, DeliveryError) else "delivered"

    def put(self, record: int, key: str | None) -> None:
        is_accepted = self.model.put(record, key)
        try:
            # On the loop, and yet without a step of it: what is put between two ticks leaves together.
            asyncio._set_running_loop(self.loop)
            self.futures[record] = self.sink.put((record, key))
        except SinkClosed:
            assert not is_accepted
        else:
            assert is_accepted
        finally:
            asyncio._set_running_loop(None)

    def reply(self, says: str) -> None:
        """Answer the request on the wire, if there is one."""
        if self.provider.batch is not None and self.provider.prompt is not None and self.model.flying:
            self.model.reply(says)
            self.provider.prompt.set_result(says)
            self.settle()

    def cancel(self, record: int) -> None:
        future = self.futures.get(record)
        if future is not None and not future.done():
            self.model.cancel(record)
            future.cancel()

    def close(self) -> None:
        self.model.close()
        if self.closing is None:
            self.closing = self.loop.create_task(self.sink.close(1e5))
            self.settle()

    def end(self) -> None:
        """Drain everything, and see that nothing is missing."""
        self.close()
        self.settle()
        for _ in range(100):
            if self.model.is_drained:
                break
            self.reply("ok")
        self.settle()
        assert self.closing is not None
        report = self.closing.result()
        ends = list(self.model.ended.values())
        assert (report.delivered, report.not_written, report.unknown) == tuple(
            ends.count(end) for end in ("delivered", "not_written", "unknown")
        )
        self.loop.close()
