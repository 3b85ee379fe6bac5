"""The test that model-micro-batching-api published, again: images posted at once, one or two model workers and Redis.

0.5 s to decode an image, 0.5 s an inference of up to five; a sleep stands for both, as in theirs.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from _report import FLOOR, OURS, PEER, median

if TYPE_CHECKING:
    from _report import Report
    from matplotlib.axes import Axes

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script's own folder is what Python looks into
from examples.redis_microbatch.load import api_worker, left_in_redis, limit, model_workers, post
from tests.servers import RedisServer

DECODE, INFERENCE, BATCH_SIZE = 0.5, 0.5, 5
TIMES = {"DECODE_SECONDS": str(DECODE), "INFERENCE_SECONDS": str(INFERENCE), "BATCH_SIZE": str(BATCH_SIZE)}
IMAGES = (1, 10, 50, 100, 200)
ROUNDS = 3
# Seconds, by the number of batchers, as published.
THEIRS = {1: (1.07, 2.26, 7.49, 12.72, 25.1), 2: (1.07, 1.67, 4.05, 7.18, 13.0)}
MOST_ABOVE_LIMIT = 3.0  # percent


def add_to(report: Report) -> None:
    """Measure and add the table, the targets and the plots."""
    counts = IMAGES[:3] if report.is_quick else IMAGES
    with RedisServer.start() as redis:
        ours = {models: _measure(redis.url, models, counts, 1 if report.is_quick else ROUNDS) for models in THEIRS}
        left = left_in_redis(redis.url)
    _tell(report, ours, left)


def _measure(redis_url: str, models: int, counts: tuple[int, ...], rounds: int) -> list[float]:
    """Seconds from the first request to the last answer; the median of the rounds."""
    with model_workers(redis_url, models, **TIMES), api_worker(redis_url, **TIMES) as url:
        _post(url, 32)  # starts the threads and the connections
        return [median(_post(url, count) for _ in range(rounds)) for count in counts]


def _post(url: str, images: int) -> float:
    run = asyncio.run(post(url, images))
    assert run.wrong == 0, f"{run.wrong} of {images} answers were wrong"
    return run.seconds


def _limit(images: int, models: int) -> float:
    return limit(images, models, DECODE, INFERENCE, BATCH_SIZE)


def _tell(report: Report, ours: dict[int, list[float]], left: dict[str, int]) -> None:
    above = {
        (models, images): 100 * (seconds / _limit(images, models) - 1)
        for models, column in ours.items()
        for images, seconds in zip(IMAGES, column, strict=False)
    }
    rows = [
        (
            f"{models} model worker{'s' * (models > 1)}, {images} images",
            f"{theirs:.2f}",
            f"{_limit(images, models) * (1 + above[models, images] / 100):.2f}",
            f"{_limit(images, models):.1f}",
            f"{above[models, images]:.1f} %",
        )
        for models, column in THEIRS.items()
        for images, theirs in zip(IMAGES, column, strict=True)
        if (models, images) in above
    ]
    report.table(
        "Images posted at once to one API worker; model workers in other processes, over Redis",
        ["seconds until all are answered", "theirs, published", "ours", "limit", "above it"],
        rows,
        "  limit: one decoding (0.5 s), and each model worker's batches of five, one after the other (0.5 s each).",
        f"  Left in Redis afterwards: {', '.join(f'{what} {number}' for what, number in left.items())}.",
    )
    for (models, images), percent in above.items():
        what = f"{images} images, {models} model worker{'s' * (models > 1)}: above the limit"
        report.at_most(what, percent, MOST_ABOVE_LIMIT, "%")

    def draw(ax: Axes) -> None:
        for models, style in ((1, "-"), (2, "--")):
            counts = IMAGES[: len(ours[models])]
            for name, colour, column in (
                ("theirs", PEER, THEIRS[models][: len(counts)]),
                ("Sinkwell", OURS, ours[models]),
                ("limit", FLOOR, [_limit(images, models) for images in counts]),
            ):
                width = 1.0 if name == "limit" else 2.0
                ax.plot(counts, column, style, color=colour, lw=width, label=f"{name}, {models}")
        ax.set_title("images posted at once, until all are answered; 1 or 2 model workers", fontsize=10)
        ax.set_xlabel("images")
        ax.set_ylabel("seconds")
        ax.legend(frameon=False, fontsize=8)

    report.plot(draw)
