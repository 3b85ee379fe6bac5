"""The ranking service of `examples/ranking/` beside the code of the question that it answers: one worker, two cores.

Customers come by chance, so many a second on average, for the ranking of a hundred products; the load is this process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from _report import FLOOR, OURS, PEER, Report, median, percentile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from examples.async_batcher.load import Load, Service

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script's own folder is what Python looks into
import redis

from examples.ranking.customers import at_once, rush
from examples.ranking.shop import open_shop
from tests.servers import RedisServer

QUESTION, SINKWELL = "/question", "/rank"
NAMES = {QUESTION: "the question's code", SINKWELL: "Sinkwell"}
COLOURS = {QUESTION: PEER, SINKWELL: OURS}
RATE = 300
P95_MS = 150.0
RATES = (50, 100, 150, 200, 250, 400, 500)
CROWDS = (1, 10, 100)


def add_to(report: Report) -> None:
    """Measure and add the tables, the targets and the plot."""
    seconds, rounds = (5, 1) if report.is_quick else (20, 3)
    with RedisServer.start() as server:
        crowds = {name: _crowds(server, name) for name in NAMES}
        # In turn, so that a noisy neighbour hits both; a service of its own, because a flood is answered long after.
        at_rate = [{name: _rush(server, name, RATE, seconds) for name in NAMES} for _ in range(rounds)]
        seen = {name: [_median([each[name] for each in at_rate])] for name in NAMES}
        for name in NAMES:
            for rate in () if report.is_quick else RATES:
                seen[name].append(_rush(server, name, rate, seconds // 2))
            seen[name].sort(key=lambda one: one[0].asked_rate)
    _tell(report, crowds, seen)


def _crowds(server: RedisServer, name: str) -> list[list[float]]:
    with open_shop(server) as served:
        return [at_once(served, name, count) for count in CROWDS]


def _rush(server: RedisServer, name: str, rate: int, seconds: float) -> tuple[Load, float]:
    """Return what the customers saw, and how many commands each of them cost Redis."""
    with open_shop(server) as served, redis.Redis.from_url(server.url) as client:
        _warm_up(served, name)
        client.config_resetstat()
        seen = rush(served, name, rate, seconds)
        commands = client.info("commandstats")
    reads = sum(commands.get(f"cmdstat_{read}", {"calls": 0})["calls"] for read in ("get", "mget"))
    return seen, reads / (seen.succeeded + seen.failed)


def _warm_up(served: Service, name: str) -> None:
    rush(served, name, 50, 2)


def _median(runs: list[tuple[Load, float]]) -> tuple[Load, float]:
    """The run whose 95th percentile is the median one, with the failures of all."""
    runs = sorted(runs, key=lambda run: run[0].percentile(95))
    middle, reads = runs[len(runs) // 2]
    failed = sum(run.failed for run, _ in runs)
    cpu_ms = median(run.cpu_ms for run, _ in runs)
    return type(middle)(middle.asked_rate, middle.succeeded, failed, middle.rate, middle.times_ms, cpu_ms), reads


def _tell(report: Report, crowds: dict[str, list[list[float]]], seen: dict[str, list[tuple[Load, float]]]) -> None:
    report.table(
        "A ranking service, FastAPI and one uvicorn worker, features in Redis: many customers in the same moment",
        ["median ms", *(f"{count} at once" for count in CROWDS), *(f"p95 of {count}" for count in CROWDS)],
        [
            (NAMES[name], *(f"{median(ms):.0f}" for ms in each), *(f"{percentile(ms, 95):.0f}" for ms in each))
            for name, each in crowds.items()
        ],
        "  The question's own figures, with a Redis in Azure: 70-80 ms for one, 440-900 ms for ten at once.",
    )
    report.table(
        "The same, customers who come by chance, each for the ranking of 100 of 10,000 products",
        ["asked", "answered/s", "failed", "median ms", "p95 ms", "p99 ms", "CPU ms", "reads"],
        [
            (
                f"{NAMES[name]}, {run.asked_rate:,} a second",
                f"{run.rate:,.0f}",
                f"{run.failed:,}",
                *(f"{run.percentile(percent):.0f}" for percent in (50, 95, 99)),
                f"{run.cpu_ms:.2f}",
                f"{reads:.2f}",
            )
            for name, runs in seen.items()
            for run, reads in runs
        ],
        "  failed: no answer within 5 seconds, or an error. CPU ms: processor time of the worker for each request.",
        "  reads: GET and MGET that Redis saw for each request.",
    )
    (ours,) = (run for run, _ in seen[SINKWELL] if run.asked_rate == RATE)
    (theirs,) = (run for run, _ in seen[QUESTION] if run.asked_rate == RATE)
    report.at_most(f"failures of the ranking at {RATE} a second", ours.failed, 0, "requests")
    report.at_most(f"95th percentile of the ranking at {RATE} a second", ours.percentile(95), P95_MS, "ms")
    report.at_least("CPU a ranking of the question's code, beside ours", theirs.cpu_ms / ours.cpu_ms, 1)

    def draw(ax: Axes) -> None:
        for name, runs in seen.items():
            rates = [run.asked_rate for run, _ in runs]
            p95 = [run.percentile(95) for run, _ in runs]
            ax.plot(rates, p95, marker="o", color=COLOURS[name], label=NAMES[name])
        ax.axhline(P95_MS, color=FLOOR, linestyle=":")
        ax.set_yscale("log")
        ax.set_title("ranking, 95th percentile, ms", fontsize=10)
        ax.set_xlabel("requests a second")
        ax.legend(frameon=False)

    report.plot(draw)
