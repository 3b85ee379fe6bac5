"""Runs many seeds on several processes, and tells how far it is."""

from __future__ import annotations

import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING

from .world import live

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHUNK = 100


@dataclass(slots=True)
class Result:
    """What many worlds came to."""

    seeds: int = 0
    records: int = 0
    steps: int = 0
    seconds: float = 0.0
    # (seed, what it broke); at most a few are kept.
    failed: list[tuple[int, str]] = field(default_factory=list)
    crashed: list[tuple[int, str]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def add(self, other: Result) -> None:
        """Take in the result of a part."""
        self.seeds += other.seeds
        self.records += other.records
        self.steps += other.steps
        self.failed += other.failed
        self.crashed += other.crashed
        self.seen += other.seen

    def summary(self) -> str:
        """Say it all in a few lines."""
        did = (
            f"{self.seeds:,} seeds in {self.seconds:.0f} s: {self.records:,} records, {self.steps:,} steps of the loop"
        )
        lines = [f"{did}, {len(self.seen)} rare states reached"]
        for seed, breach in sorted(self.failed)[:20]:
            lines.append(f"  seed {seed} breaks {breach}")
        for seed, error in sorted(self.crashed)[:5]:
            lines.append(f"  seed {seed} crashed the simulator:\n{error}")
        if self.failed or self.crashed:
            lines.append(
                f"  {len(self.failed) + len(self.crashed)} failed; look at one: python -m tests.sim --trace --seed ..."
            )
        return "\n".join(lines)


def run_chunk(seeds: Sequence[int]) -> Result:
    """Run some seeds in this process."""
    result = Result()
    for seed in seeds:
        try:
            life = live(seed)
        except Exception:  # noqa: BLE001 - a broken simulator must name its seed too
            result.crashed.append((seed, traceback.format_exc(limit=-4)))
            continue
        result.seeds += 1
        result.records += life.records
        result.steps += life.steps
        result.seen.update(life.seen)
        if life.breaches:
            result.failed.append((seed, life.breaches[0]))
    return result


def run_seeds(
    seeds: Sequence[int],
    *,
    jobs: int = 2,
    seconds: float | None = None,
    progress: bool = False,
    stop_at_first: bool = False,
) -> Result:
    """Run the seeds, or as many as fit into `seconds`, on `jobs` processes."""
    chunks = [seeds[index : index + CHUNK] for index in range(0, len(seeds), CHUNK)]
    total = Result()
    began = time.monotonic()
    for part in _parts(chunks, jobs):
        total.add(part)
        total.seconds = time.monotonic() - began
        if progress:
            _tell_failures(part)
            _tell(total, len(seeds))
        is_late = seconds is not None and total.seconds > seconds
        if is_late or (stop_at_first and (total.failed or total.crashed)):
            break
    if progress and sys.stderr.isatty():
        print(file=sys.stderr)
    return total


def _parts(chunks: Sequence[Sequence[int]], jobs: int) -> Iterator[Result]:
    if jobs == 1:
        yield from map(run_chunk, chunks)
        return
    # Fresh processes: what a test run has imported and started must not be inherited.
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(run_chunk, chunks)


def _tell_failures(part: Result) -> None:
    """Name what failed at once: a long run may not come to its end."""
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    for seed, breach in sorted(part.failed):
        print(f"{clear}seed {seed} breaks {breach}", file=sys.stderr)
    for seed, _ in sorted(part.crashed):
        print(f"{clear}seed {seed} crashed the simulator", file=sys.stderr)


def _tell(total: Result, seeds: int) -> None:
    """On a terminal a bar; elsewhere a line now and then."""
    done = total.seeds + len(total.crashed)
    rate = done / max(total.seconds, 0.001)
    text = f"{done:,} of {seeds:,} seeds, {rate:,.0f}/s, {len(total.failed) + len(total.crashed)} failed"
    if sys.stderr.isatty():
        width = 30 * done // max(seeds, 1)
        print(f"\r[{'#' * width:<30}] {text}   ", end="", file=sys.stderr, flush=True)
    elif done % (50 * CHUNK) == 0 or done == seeds:
        print(text, file=sys.stderr, flush=True)
