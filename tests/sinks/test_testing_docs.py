"""The example of docs/testing.md runs and prints what the page says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sinkwell.sinks.testing

_PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_example_prints_what_the_page_shows() -> None:
    section = _PAGE.read_text().partition("## A local AWS that fails on demand")[2]
    code, shown = (section.partition(f"```{kind}\n")[2].partition("```")[0] for kind in ("python", "text"))
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == (shown, "")


def test_the_page_names_every_fault() -> None:
    text = _PAGE.read_text()
    package = sinkwell.sinks.testing
    modules = {f"sinkwell.sinks.testing.{name}" for name in ("_faults", "_answers", "_clock")}
    names = [name for name in package.__all__ if getattr(package, name).__module__ in modules]
    assert len(names) > 20
    assert [name for name in names if f"`{name}(" not in text] == []
