"""`python -m tests.sim`: run seeds, look at one, or plant bugs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from .corpus import corpus
from .digests import DIGESTS, store
from .planting import plant_all
from .rare import RARE
from .runner import run_seeds
from .scenario import draw
from .trace import journey, show
from .world import live

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLES = """\
examples:
  python -m tests.sim                        every seed that ever failed, then 20,000 new ones
  python -m tests.sim --seeds 1000000        before a release
  python -m tests.sim --seed 4711            one world; says which promise broke, if any
  python -m tests.sim --seed 4711 --trace    ... and everything that happened in it, in order
  python -m tests.sim --seed 4711 --trace --record 12     only what concerns record 12
  python -m tests.sim --planted              plant bugs in the core: each must be caught
  python -m tests.sim --rare                 how often each rare state occurred
  python -m tests.sim --digests              keep the event logs' hashes anew, where their events are meant to differ

A seed that fails goes to tests/sim/seeds.txt with a line of story, and the fault is mended; it is replayed for ever.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 0 if every promise held."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.sim", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20_000, metavar="N", help="how many worlds to run")
    parser.add_argument("--start", type=int, default=0, metavar="S", help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, metavar="J", help="processes (default 2)")
    parser.add_argument("--seed", type=int, metavar="SEED", help="run this one only")
    parser.add_argument("--trace", action="store_true", help="with --seed: print what happened, in order")
    parser.add_argument("--record", type=int, metavar="ID", help="with --trace: only this record's journey")
    parser.add_argument(
        "--planted", action="store_true", help="plant bugs in the core, one at a time: each must be caught"
    )
    parser.add_argument("--only", metavar="NAME", help="with --planted: only bugs whose name contains this")
    parser.add_argument("--rare", action="store_true", help="print how many seeds reached each rare state")
    parser.add_argument("--digests", action="store_true", help=f"write {DIGESTS.name} anew")
    asked = parser.parse_args(arguments)
    if asked.digests:
        store()
        return 0
    if asked.planted:
        return plant_all(jobs=asked.jobs, only=asked.only or "")
    if asked.seed is not None:
        return _one(asked.seed, trace=asked.trace, record=asked.record)
    return _many(asked.seeds, asked.start, jobs=asked.jobs, rare=asked.rare)


def _one(seed: int, *, trace: bool, record: int | None) -> int:
    life = live(seed)
    if trace:
        print(show(draw(seed)))
        print("\n".join(journey(life.log, record)))
    print(f"seed {seed}: {life.records} records, {life.steps} steps of the loop, event log {life.digest or '-'}")
    for breach in life.breaches:
        print(f"  broken: {breach}")
    return 1 if life.breaches else 0


def _many(seeds: int, start: int, *, jobs: int, rare: bool) -> int:
    result = run_seeds([*corpus(), *range(start, start + seeds)], jobs=jobs, progress=True)
    print(result.summary())
    if rare:
        for name in sorted(RARE, key=lambda name: -result.seen[name]):
            print(f"{result.seen[name]:>9,}  {name}")
    return 1 if result.failed or result.crashed else 0


if __name__ == "__main__":
    sys.exit(main())
