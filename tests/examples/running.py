"""Runs an example as a reader does, and knows which ones a test file has run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_example(name: str, **environment: str) -> str:
    """What it prints."""
    finished = subprocess.run(
        [sys.executable, "-m", f"examples.{name}"],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def examples_in(folder: str) -> set[str]:
    """The modules of a folder of examples, by the names that `run_example` takes."""
    files = (ROOT / "examples" / folder).glob("[a-z]*.py")
    return {".".join(file.relative_to(ROOT / "examples").with_suffix("").parts) for file in files}


def run_by(test_file: str) -> set[str]:
    """The examples that a test file runs."""
    return set(re.findall(r'run_example\("([\w.]+)"', Path(test_file).read_text()))
