"""The type checkers see what a user's would see, and see all of it: both can say "no errors" having read nothing."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.packaging.conftest import run

if TYPE_CHECKING:
    from tests.packaging.conftest import Installed

ROOT = Path(__file__).parents[2]
API = ROOT / "tests" / "typing" / "api.py"
WRONG = "import sinkwell.core\n\nlinger: float = sinkwell.core.Policy(linger='soon').no_such_field\n"


def sources() -> int:
    return sum(1 for folder in ("core", "sinks", "cli") for _ in (ROOT / folder).rglob("*.py"))


def user_project(tmp_path: Path, installed: Installed, text: str) -> Path:
    """A folder outside the work tree, as a user's, that finds Sinkwell in site-packages only."""
    (tmp_path / "user.py").write_text(text)
    settings = {"include": ["user.py"], "typeCheckingMode": "strict", "reportMissingTypeStubs": "none"}
    settings |= {"venvPath": str(installed.folder.parent), "venv": installed.folder.name}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    return tmp_path


def mypy_says(folder: Path, installed: Installed) -> str:
    options = ("--strict", "--config-file=", "--cache-dir", folder / "cache", "--python-executable", installed.python)
    return run(sys.executable, "-m", "mypy", *options, "user.py", cwd=folder, check=False).stdout


def pyright_says(folder: Path) -> tuple[int, list[str]]:
    """How many files it read, and its messages."""
    done = run(sys.executable, "-m", "pyright", "--outputjson", "--project", folder, cwd=folder, check=False)
    report = json.loads(done.stdout)
    return report["summary"]["filesAnalyzed"], [item["message"] for item in report["generalDiagnostics"]]


def test_the_installed_api_passes_mypy_strict(tmp_path: Path, installed: Installed) -> None:
    folder = user_project(tmp_path, installed, API.read_text())
    assert mypy_says(folder, installed) == "Success: no issues found in 1 source file\n"


def test_the_installed_api_passes_pyright_strict(tmp_path: Path, installed: Installed) -> None:
    folder = user_project(tmp_path, installed, API.read_text())
    assert pyright_says(folder) == (1, [])


def test_both_see_a_mistake_in_how_the_installed_api_is_used(tmp_path: Path, installed: Installed) -> None:
    folder = user_project(tmp_path, installed, WRONG)
    assert "Found 2 errors in 1 file" in mypy_says(folder, installed)
    files, messages = pyright_says(folder)
    assert files == 1
    assert any("no_such_field" in message for message in messages)


def test_pyright_reads_every_file_of_ours() -> None:
    typing = len(list((ROOT / "tests" / "typing").glob("*.py")))
    files, _ = pyright_says(ROOT)
    assert files == sources() + typing


def test_mypy_reads_every_file_of_ours() -> None:
    said = run(sys.executable, "-m", "mypy", cwd=ROOT, check=False).stdout
    counted = re.search(r"(?:checked|found in) (\d+) source files", said)
    assert counted is not None, said
    assert int(counted[1]) == sources()
