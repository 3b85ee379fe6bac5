"""The public API as a user writes it: type-checked against the installed wheel, never run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, assert_type

from sinkwell.core import (
    Adaptive,
    Backoff,
    Batch,
    BatchRefused,
    CloseReport,
    ConfigError,
    DeadLetter,
    Delivered,
    DeliveryError,
    Encoded,
    Limits,
    Observer,
    Outcome,
    Policy,
    Rate,
    Receipt,
    RecordFailed,
    Rejected,
    Retry,
    Sink,
    SinkFull,
    SinkStats,
    SinkwellError,
    Unknown,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class PagerReceipt(Receipt):
    """A sink of one's own brings a receipt of its own."""


class Pager:
    """A `Destination` that someone else wrote: no base class, the methods are enough."""

    @property
    def name(self) -> str:
        return "pager:night-shift"

    @property
    def limits(self) -> Limits:
        return Limits(records=10, bytes=1_000, keys_repeat=False)

    async def open(self) -> None:
        raise ConfigError("no such shift")

    def encode(self, record: str, /) -> Encoded:
        return Encoded(payload=record.encode(), size=len(record), key=record[:1])

    async def write(self, batch: Batch, /) -> Sequence[Verdict[PagerReceipt]]:
        if not batch.payloads:
            raise BatchRefused(suspect=0)
        return [
            Delivered(PagerReceipt()),
            Retry(OSError("busy"), throttled=True, after=1.0),
            Rejected(ValueError("no")),
            Unknown(TimeoutError()),
        ]

    async def aclose(self) -> None:
        return None


class Watch(Observer):
    def on_record_failed(self, event: RecordFailed) -> None:
        assert_type(event.error, DeliveryError)


async def keep(letter: DeadLetter) -> None:
    assert_type(letter.error.outcome, Outcome)


def a_policy() -> Policy:
    return Policy(
        linger=0.01,
        concurrency=Adaptive(minimum=1, maximum=32),
        backoff=Backoff(base=0.1, cap=5.0, jitter="none"),
        rate=Rate(requests=100),
        order="none",
    )


async def records() -> AsyncIterator[str]:
    yield "one"


async def a_service() -> None:
    async with Sink(Pager(), a_policy(), dead_letter=keep, observer=Watch()) as sink:
        assert_type(sink, Sink[str, PagerReceipt])
        assert_type(await sink.put("wake up"), PagerReceipt)
        delivery = await sink.submit("later")
        assert_type(delivery, asyncio.Future[PagerReceipt])
        try:
            assert_type((await sink.put_nowait("now")).attempts, int)
        except SinkFull:
            assert_type(sink.stats(), SinkStats)
        assert_type(await sink.put_many(["a", "b"]), list[PagerReceipt | SinkwellError])
        async for outcome in sink.stream(records()):
            assert_type(outcome, PagerReceipt | SinkwellError)
        assert_type(sink.resume("k"), bool)
        await sink.flush()
        assert_type(await sink.close(timeout=5.0), CloseReport)
