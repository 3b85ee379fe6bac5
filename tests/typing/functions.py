"""`@batched` as a user writes it: type-checked, never run."""

from __future__ import annotations

import asyncio
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, assert_type

from sinkwell.core import Adaptive, Batched, BatchedMethod, CloseReport, SinkStats, batched

if TYPE_CHECKING:
    from collections.abc import Sequence


class Label: ...


@batched(max_records=200, linger=0.01, concurrency=Adaptive(1, 4))
async def predict(images: list[bytes]) -> list[Label]:
    return [Label() for _ in images]


@batched(executor=ProcessPoolExecutor(), timeout=1.0, max_pending=500, when_full="refuse")
def resize(images: list[bytes]) -> list[bytes]:
    return images


@batched(key=lambda user_id: user_id, max_bytes=1_000, size_of=lambda user_id: user_id.bit_length())
async def look_up(user_ids: Sequence[int]) -> tuple[str | None, ...]:
    return tuple(None for _ in user_ids)


@batched()
async def some_fail(numbers: list[int]) -> list[Label | Exception]:
    return [ValueError() if number < 0 else Label() for number in numbers]


@batched()
def nothing(numbers: list[int]) -> list[None]:
    return [None for _ in numbers]


@batched()
def with_more(numbers: list[int], factor: float = 2.0) -> list[float]:
    return [factor * number for number in numbers]


class Model:
    @batched(max_records=8)
    async def classify(self, images: list[bytes]) -> list[Label]:
        return [Label() for _ in images]

    @batched(max_records=8)
    def score(self, images: list[bytes]) -> list[float | Exception]:
        return [0.5 for _ in images]


async def a_service() -> None:
    assert_type(predict, Batched[bytes, Label])
    assert_type(predict(b"image"), asyncio.Future[Label])
    assert_type(await predict(b"image"), Label)
    assert_type(await resize(b"image"), bytes)
    assert_type(await look_up(7), str | None)
    assert_type(await some_fail(7), Label)
    assert_type(await with_more(7), float)
    await nothing(7)
    assert_type(await asyncio.gather(*(predict(image) for image in [b"one", b"two"])), list[Label])
    async with predict as opened:
        assert_type(await opened(b"image"), Label)
    assert_type(predict.stats(), SinkStats)
    assert_type(await predict.close(timeout=0), CloseReport)


async def methods(model: Model) -> None:
    assert_type(Model.classify, BatchedMethod[Model, bytes, Label])
    assert_type(model.classify, Batched[bytes, Label])
    assert_type(await model.classify(b"image"), Label)
    assert_type(await model.score(b"image"), float)
    assert_type(await Model.score(model, b"image"), float)


async def mistakes(model: Model) -> None:
    await predict("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await predict([b"image"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await model.classify(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    batched(linger="soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    batched()(len)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
