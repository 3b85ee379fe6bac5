"""One build and two environments for all packaging tests: nothing is fetched, nothing of the work tree is seen."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a tool away from the work tree's paths; if it fails, its own words are the failure."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_", "MYPY"))}
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=env, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        pytest.fail(f"{' '.join(words)}\n{done.stdout}{done.stderr}", pytrace=False)
    return done


@dataclass(frozen=True)
class Installed:
    """A virtual environment that holds the wheel and nothing else."""

    folder: Path
    wheel: Path
    sdist: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        return next(self.folder.glob("lib/python*/site-packages"))

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        return run(self.python, "-I", "-c", code, cwd=self.folder, check=False)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("packaging")
    # Without --wheel and --sdist `build` makes the sdist first and then the wheel from it, as a release does.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", ROOT, cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    environment = Installed(folder / "env", wheel, sdist)
    run(
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--no-index"),
        *("--python", environment.python, wheel),
        cwd=folder,
    )
    return environment
