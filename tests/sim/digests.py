"""Hashes of some worlds' event logs: a seed is the same world on every Python, whatever its hashes are seeded with."""

from __future__ import annotations

from pathlib import Path

from .world import live

DIGESTS = Path(__file__).with_name("digests.txt")
SEEDS = range(100, 140)


def lived() -> str:
    """Live through the seeds; a line each."""
    return "".join(f"{seed} {live(seed).digest}\n" for seed in SEEDS)


def stored() -> str:
    """Return the lines as they are kept."""
    return DIGESTS.read_text()


def store() -> None:
    """Keep them as they are now: after a change that means to have other events, or events in another order."""
    DIGESTS.write_text(lived())
