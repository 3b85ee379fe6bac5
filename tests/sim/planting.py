"""Plants one-line bugs in a copy of the core, one at a time, and lets the simulator look for each: it must bite."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BUGS = HERE / "planted" / "bugs.toml"
# A bug must be caught by one of so many seeds, within so many seconds.
MOST_SEEDS = 2_000
MOST_SECONDS = 120


@dataclass(slots=True, frozen=True)
class Bug:
    """One line of the core, changed for the worse."""

    name: str
    file: str
    original: str
    planted: str


@dataclass(slots=True, frozen=True)
class Hunt:
    """What came of looking for a bug. `seeds` is how many it took; 0 if none caught it."""

    bug: Bug
    seeds: int
    says: str
    seconds: float


def bugs() -> list[Bug]:
    """Read the bugs; each must apply exactly once.

    Raises:
        ValueError: the core has changed under a bug: mend the bug.
    """
    read = [Bug(**bug) for bug in tomllib.loads(BUGS.read_text())["bug"]]
    counts = [(bug, (ROOT / "core" / bug.file).read_text().count(bug.original)) for bug in read]
    stray = [f"  {bug.name}: {count} times in core/{bug.file}" for bug, count in counts if count != 1]
    if stray:
        raise ValueError(
            "\n".join(["the core has changed under these; each original must occur exactly once:", *stray])
        )
    return read


def hunt(bug: Bug) -> Hunt:
    """Plant the bug in a copy of the core, and run seeds on it until one breaks a promise."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        core = Path(folder) / "sinkwell" / "core"
        shutil.copytree(ROOT / "core", core, ignore=shutil.ignore_patterns("__pycache__"))
        file = core / bug.file
        file.write_text(file.read_text().replace(bug.original, bug.planted))
        done = subprocess.run(
            [sys.executable, "-m", "tests.sim.hunt", str(MOST_SEEDS), str(core)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=MOST_SECONDS,
            check=False,
        )
    seconds = time.monotonic() - began
    if done.returncode:
        return Hunt(bug, 0, f"the hunt itself failed: {done.stderr.strip().splitlines()[-1:]}", seconds)
    seeds, _, says = done.stdout.strip().splitlines()[-1].partition(" ")
    return Hunt(bug, int(seeds), says, seconds)


def plant_all(*, jobs: int = 2, only: str = "") -> int:
    """Look for every bug, print a table; 0 if all were caught."""
    wanted = [bug for bug in bugs() if only in bug.name]
    began = time.monotonic()
    escaped = 0
    print(f"{'seeds':>6}  {'s':>5}  planted in core/, and what the simulator says")
    with ThreadPoolExecutor(jobs) as pool:
        for found in pool.map(hunt, wanted):
            escaped += not found.seeds
            caught = f"{found.seeds:>6,}" if found.seeds else "ESCAPED"
            print(
                f"{caught}  {found.seconds:5.1f}  {found.bug.file}: {found.bug.name}\n{'':15}{found.says[:105]}",
                flush=True,
            )
    print(f"{len(wanted) - escaped} of {len(wanted)} caught in {time.monotonic() - began:.0f} s")
    return 1 if escaped else 0
