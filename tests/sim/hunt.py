"""`python -m tests.sim.hunt SEEDS CORE`: run seeds on the core in folder CORE until one breaks a promise.

Prints how many seeds it took (0 if none did) and what broke.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

import sinkwell.core

from .scenario import draw
from .world import live

# No seed takes a second; a step that never ends is caught by the clock.
MOST_SECONDS_PER_SEED = 10


class NeverEnds(BaseException):
    """A step of the loop goes on and on."""


def _too_long(*_: object) -> None:
    raise NeverEnds(f"I17: a step of the loop took more than {MOST_SECONDS_PER_SEED} s")


def broken_by(seed: int) -> str:
    """Say what the seed breaks; empty if nothing."""
    draw(seed)  # A world that can't be drawn is the simulator's fault, and catches nothing.
    signal.alarm(MOST_SECONDS_PER_SEED)
    try:
        return next(iter(live(seed).breaches), "")
    except (Exception, NeverEnds) as error:  # noqa: BLE001 - the core under it is broken on purpose
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


def main() -> int:
    """Hunt."""
    seeds, core = int(sys.argv[1]), Path(sys.argv[2])
    if Path(sinkwell.core.__file__).resolve().parent != core.resolve():
        print(f"this is not the planted core: {sinkwell.core.__file__}", file=sys.stderr)
        return 1
    logging.disable()
    signal.signal(signal.SIGALRM, _too_long)
    for seed in range(seeds):
        says = broken_by(seed)
        if says:
            print(seed + 1, " ".join(says.split()))
            return 0
    print(0, "nothing broke")
    return 0


if __name__ == "__main__":
    sys.exit(main())
