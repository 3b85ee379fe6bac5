"""The example of docs/testing.md runs as it stands, and the page names what the test kit has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sinkwell.core.testing

_SECTION = (
    (Path(__file__).parents[2] / "docs" / "testing.md").read_text().partition("## A local AWS that fails on demand")[0]
)


def test_the_example_finds_every_outcome_true() -> None:
    code = _SECTION.partition("```python\n")[2].partition("```")[0]
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (run.stdout.split(" in ")[0], run.stderr) == ("1000 outcomes, all of them true,", "")


def test_the_page_names_the_whole_test_kit() -> None:
    missing = [name for name in sinkwell.core.testing.__all__ if f"`{name}" not in _SECTION]
    assert missing == ["FakeReceipt", "Written"]  # what FakeDestination gives, described by itself
