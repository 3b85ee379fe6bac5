"""From the repository's root a bare `import core` works by accident, and gives a second copy of every class."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("line", ["import core", "from sinks import sqs", "from core._policy import Policy"])
def test_the_linter_refuses_a_source_folder_by_its_bare_name(line: str) -> None:
    file = ROOT / "tests" / "core" / "planted.py"
    options = ("--no-cache", "--select", "TID251", "--stdin-filename", file, "-")
    assert "TID251" in run(sys.executable, "-m", "ruff", "check", *options, cwd=ROOT, check=False, stdin=line).stdout


def test_no_test_has_loaded_a_second_copy() -> None:
    loaded = {name.split(".")[0] for name in sys.modules}
    assert loaded & {"core", "sinks", "cli"} == set()
