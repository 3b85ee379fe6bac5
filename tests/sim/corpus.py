"""The seeds that ever failed, replayed first and for ever."""

from __future__ import annotations

from pathlib import Path

SEEDS = Path(__file__).with_name("seeds.txt")


def corpus() -> list[int]:
    """Return the seeds in `seeds.txt`, in order."""
    lines = SEEDS.read_text().splitlines()
    return [int(line.split()[0]) for line in lines if line and not line.startswith("#")]
