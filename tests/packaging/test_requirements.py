"""What is installed for development is what was pinned, wherever it is fetched from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINNED = sorted((ROOT / "requirements").glob("*.txt"))


def pins(file: Path) -> dict[str, str]:
    """The text below each `name==version`, which is its hashes."""
    blocks = re.split(r"^(?=[a-z0-9])", file.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {block.split("==")[0]: block for block in blocks}


@pytest.mark.parametrize("file", PINNED, ids=lambda path: path.name)
def test_every_requirement_has_one_version_and_hashes(file: Path) -> None:
    assert [name for name, block in pins(file).items() if "==" not in block or "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("file", PINNED, ids=lambda path: path.name)
def test_no_requirement_names_the_host_it_comes_from(file: Path) -> None:
    assert re.findall(r"\S+://\S+|--(?:extra-)?index-url|--find-links", file.read_text("utf-8")) == []


def test_every_extra_is_installed_for_development() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    wanted = {re.split(r"[^a-z0-9-]", line)[0] for lines in extras.values() for line in lines}
    assert wanted - {"sinkwell"} <= set(pins(ROOT / "requirements" / "dev.txt"))
