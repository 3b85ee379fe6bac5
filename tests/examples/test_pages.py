"""The pages lead somewhere, fit a screen's width, and name what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(ROOT).as_posix()
    for folder in (
        ".",
        "docs",
        "docs/sinks",
        "examples",
        "examples/async_batcher",
        "examples/ranking",
        "examples/redis_microbatch",
    )
    for page in (ROOT / folder).glob("*.md")
)
ROOTS = (ROOT, ROOT / "tests")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
SOURCES = [path for folder in ("core", "sinks", "cli", "tests/core") for path in (ROOT / folder).rglob("*.py")]


def prose_of(page: str) -> str:
    return FENCED.sub("", (ROOT / page).read_text("utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_repository_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", prose_of(page))
    assert [link for link in links if "://" not in link and not (ROOT / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_line_of_a_page_is_wider_than_130_columns(page: str) -> None:
    lines = [line for line in prose_of(page).splitlines() if not line.startswith("|")]
    assert [line for line in lines if len(line) > 130] == []


def test_the_first_page_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 110


def test_every_name_in_the_design_is_a_name_in_the_source() -> None:
    source = "\n".join(path.read_text("utf-8") for path in SOURCES)
    modules = {path.stem for path in SOURCES}
    code = re.findall(r"`([\w./]+)`", prose_of("DESIGN.md"))
    names = {name for text in code if "/" not in text for name in text.removesuffix(".py").split(".") if name}
    known = modules | set(re.findall(r"\w+", source))
    # PostgreSQL's, and a method of aiokafka's producer.
    assert names - known == {"ctid", "send_batch"}


def test_every_file_that_the_design_names_is_there() -> None:
    names = {path.name for path in SOURCES}
    files = set(re.findall(r"`([\w./]+(?:\.py|/))`", prose_of("DESIGN.md")))
    missing = {file for file in files if file not in names and not any((root / file).exists() for root in ROOTS)}
    assert missing == {"sinks/NAME.py", "sinks/x.py", "sinks/y.py"}  # which stand for all of them


def test_every_sink_has_its_row_on_the_first_page_and_in_the_design() -> None:
    pages = {page.stem for page in (ROOT / "docs" / "sinks").glob("*.md")}
    first = (ROOT / "README.md").read_text("utf-8")
    assert [sink for sink in pages if f"`sinkwell.sinks.{sink}`" not in first] == []
    assert [sink for sink in pages if f"_{sink}_" not in (ROOT / "DESIGN.md").read_text("utf-8")] == []
    assert pages == {path.stem for path in (ROOT / "sinks").glob("[a-z]*.py")} - {"otel"}
