"""Every seed that ever failed, then as many new ones as fit: no promise may break, and no rare state be missing."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .corpus import corpus
from .digests import lived, stored
from .rare import RARE
from .runner import Result, run_seeds
from .world import live

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = int(os.environ.get("SIM_SEEDS", "20000"))
SECONDS = float(os.environ.get("SIM_SECONDS", "150"))


@pytest.fixture(scope="module")
def swarm(pytestconfig: pytest.Config) -> Result:
    result = run_seeds([*corpus(), *range(SEEDS)], jobs=2, seconds=SECONDS)
    # Past pytest's capture: how many worlds were lived through is news also when all is well.
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{result.summary()}")
    return result


@pytest.mark.parametrize("seed", corpus())
def test_a_seed_that_once_failed_holds_every_promise(seed: int) -> None:
    assert live(seed).breaches == []


def test_no_promise_breaks_in_any_world(swarm: Result, record_property: Callable[[str, object], None]) -> None:
    record_property("seeds", swarm.seeds)
    assert swarm.failed == []
    assert swarm.crashed == []
    # As many as each planted bug must be caught within, so that finding nothing means something. How many more fit into
    # the time is the machine's affair; `make sim-long` has no limit.
    assert swarm.seeds >= min(SEEDS, 2_000)


def test_every_rare_state_has_occurred(swarm: Result) -> None:
    assert len(RARE) >= 40
    assert sorted(name for name in RARE if not swarm.seen[name]) == [], f"in {swarm.seeds} seeds"


def test_the_same_seed_is_the_same_world_on_every_python() -> None:
    assert lived() == stored(), "if the events are meant to be others: python -m tests.sim --digests"


def test_a_world_does_not_depend_on_the_seed_of_hashes() -> None:
    for hash_seed in ("0", "1", "4711"):
        run = subprocess.run(
            [sys.executable, "-c", "from tests.sim.digests import lived; print(lived(), end='')"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join([".", "_dev"])},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout == stored()
