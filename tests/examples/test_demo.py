"""What `make demo` runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_accounts_for_every_record() -> None:
    words = [sys.executable, "-m", "examples.demo"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "336,776 of 336,776 flights are there, as in the file" in done.stdout
    assert "20,000 of 20,000 flights are in the queue" in done.stdout
    assert "6 dead letters, for exactly the spoiled lines" in done.stdout
    assert "✗" not in done.stdout
