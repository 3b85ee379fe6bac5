"""The load test that async-batcher published, again: one worker and locust, side by side on this machine.

The model takes 11 ms for one and 13 ms for a batch of 200, in a thread. Users ask once in every second, each at moments
of its own, and give up after one second. A rate is held if nothing failed, 97 % of it was answered, and 95 % of the
answers came within 60 ms. Rates rise until two in a row are not held.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from _report import FLOOR, OURS, PEER, Report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script's own folder is what Python looks into
from examples.async_batcher.load import Load, load, service

UNBATCHED, SINKWELL, PEERS = "/predict", "/optimized_predict", "/async_batcher"
NAMES = {UNBATCHED: "unbatched", SINKWELL: "Sinkwell", PEERS: "async-batcher"}
COLOURS = {UNBATCHED: FLOOR, SINKWELL: OURS, PEERS: PEER}
RATE = 500
P95_MS = 60.0
STEPS = (750, 1_000, 1_250, 1_500, 1_750, 2_000, 2_250, 2_500, 3_000)


def add_to(report: Report) -> None:
    """Measure and add the table, the targets and the plots."""
    seconds, rounds = (5, 1) if report.is_quick else (20, 3)
    with service() as served:
        load(served, SINKWELL, 50, 1)  # warms up
        # In turn, so that a noisy neighbour hits both.
        at_rate = [{name: load(served, name, RATE, seconds) for name in (SINKWELL, PEERS)} for _ in range(rounds)]
        seen: dict[str, list[Load]] = {name: [_median(at[name] for at in at_rate)] for name in (SINKWELL, PEERS)}
        for rate in STEPS[:1] if report.is_quick else STEPS:
            for name in (SINKWELL, PEERS):
                if any(map(_is_held, seen[name][-2:])):
                    seen[name].append(load(served, name, rate, seconds // 2))
    with service() as served:  # of its own: what it leaves behind would be answered first
        seen[UNBATCHED] = [load(served, UNBATCHED, rate, seconds // 2) for rate in (50, 100, RATE)]
    _tell(report, seen)


def _median(loads: Iterable[Load]) -> Load:
    """The run whose 95th percentile is the median one; each run's failures are added to it."""
    runs = sorted(loads, key=lambda run: run.percentile(95))
    middle = runs[len(runs) // 2]
    return replace(
        middle,
        failed=sum(run.failed for run in runs),
        rate=statistics.median(run.rate for run in runs),
        cpu_ms=statistics.median(run.cpu_ms for run in runs),
        generator_cores=statistics.median(run.generator_cores for run in runs),
    )


def _is_held(run: Load) -> bool:
    return run.failed == 0 and run.rate >= 0.97 * run.asked_rate and run.percentile(95) <= P95_MS


def _highest(runs: list[Load]) -> int:
    return max((run.asked_rate for run in runs if _is_held(run)), default=0)


def _tell(report: Report, seen: dict[str, list[Load]]) -> None:
    rows = [
        (
            f"{NAMES[name]}, {run.asked_rate:,} a second",
            f"{run.rate:,.0f}",
            f"{run.failed:,}",
            f"{run.percentile(50):.0f}",
            f"{run.percentile(95):.0f}",
            f"{run.percentile(99):.0f}",
            f"{run.cpu_ms:.2f}",
            f"{run.generator_cores:.2f}",
            "held" if _is_held(run) else "",
        )
        for name in (UNBATCHED, PEERS, SINKWELL)
        for run in seen[name]
    ]
    report.table(
        "A predict service, FastAPI and one uvicorn worker, under locust on the same two cores",
        ["asked", "answered/s", "failed", "median ms", "p95 ms", "p99 ms", "CPU ms", "locust", ""],
        rows,
        "  CPU ms: processor time of the worker for each request, FastAPI's and uvicorn's own included.",
        "  locust: processors that the load kept busy, its own start included; near 1.00 it can't ask for more.",
        *(f"  Highest rate held by {NAMES[name]}: {_highest(seen[name]):,} a second." for name in (PEERS, SINKWELL)),
        "  async-batcher's own figures, 12 workers on 12 cores: unbatched 130/s with most failing; batched about",
        "  500/s, average 96 ms, 95th percentile under 300 ms.",
    )
    ours = seen[SINKWELL][0]
    report.at_most(f"failures of Sinkwell at {RATE} a second", ours.failed, 0, "requests")
    report.at_most(f"95th percentile of Sinkwell at {RATE} a second", ours.percentile(95), P95_MS, "ms")
    report.at_least("highest rate that Sinkwell holds", _highest(seen[SINKWELL]), RATE, "a second")
    report.at_least("the same, beside async-batcher's", _highest(seen[SINKWELL]), _highest(seen[PEERS]), "a second")

    def draw_times(ax: Axes) -> None:
        for name, runs in seen.items():
            ax.plot(
                [run.asked_rate for run in runs],
                [run.percentile(95) for run in runs],
                marker="o",
                color=COLOURS[name],
                label=NAMES[name],
            )
        ax.axhline(P95_MS, color=FLOOR, linestyle=":")
        ax.set_yscale("log")
        ax.set_title("95th percentile, ms", fontsize=10)
        ax.set_xlabel("requests a second")
        ax.legend(frameon=False)

    def draw_answers(ax: Axes) -> None:
        for name, runs in seen.items():
            rates = [run.asked_rate for run in runs]
            ax.plot(rates, [run.rate for run in runs], marker="o", color=COLOURS[name], label=NAMES[name])
        ax.set_title("answered in time, a second", fontsize=10)
        ax.set_xlabel("requests a second")

    report.plot(draw_times)
    report.plot(draw_answers)
