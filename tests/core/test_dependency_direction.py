"""Who may import whom. Read from the source, so that a rule holds also where no test ever goes."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import sinkwell.core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
FOLDERS = ("core", "sinks", "cli")
TEST_DOUBLES = ("sinkwell.core.testing", "sinkwell.sinks.testing")
# Its callers are threads, whose waiting no loop's clock measures.
OUTSIDE_LOOPS = "sinkwell.core.blocking"
# Doors that would bypass the loop's own clock, or that lose a cancellation or a value on some Python we support.
BANNED_IN_CORE = {"asyncio.wait_for", "asyncio.Queue", "time.time", "time.monotonic", "time.sleep", "datetime.datetime"}


@dataclass(frozen=True)
class Import:
    """One name that a module imports, as `sinkwell.core._policy` (a module) or with `name` from it."""

    importer: str
    module: str
    name: str | None
    is_typing_only: bool

    def __str__(self) -> str:
        return f"{self.importer} imports {self.module}" + (f".{self.name}" if self.name else "")


def sources_on_disk() -> dict[str, str]:
    """The text of every module by its dotted name; a package goes by the name of its `__init__`."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = ("sinkwell", *path.relative_to(ROOT).with_suffix("").parts)
            found[".".join(parts)] = path.read_text("utf-8")
    return found


def module_of(file: str) -> str:
    return file.removesuffix(".__init__")


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def nodes_of(tree: ast.AST, *, is_typing_only: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    for node in ast.iter_child_nodes(tree):
        yield node, is_typing_only
        if isinstance(node, ast.If) and is_type_checking(node):
            for part in node.body:
                yield part, True
                yield from nodes_of(part, is_typing_only=True)
            for part in node.orelse:
                yield part, is_typing_only
                yield from nodes_of(part, is_typing_only=is_typing_only)
        else:
            yield from nodes_of(node, is_typing_only=is_typing_only)


def base_of(file: str, node: ast.ImportFrom) -> str:
    """The absolute module that a `from ... import` names."""
    if node.level == 0:
        return node.module or ""
    package = file.split(".")[: -node.level]  # a package's file ends in `__init__`, so one level is itself
    return ".".join([*package, *([node.module] if node.module else [])])


def imports_of(sources: Mapping[str, str]) -> list[Import]:
    modules = {module_of(file) for file in sources}
    found = []
    for file, text in sources.items():
        importer = module_of(file)
        for node, is_typing_only in nodes_of(ast.parse(text)):
            if isinstance(node, ast.Import):
                found += [Import(importer, alias.name, None, is_typing_only) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = base_of(file, node)
                for alias in node.names:
                    whole = f"{base}.{alias.name}"
                    module, name = (whole, None) if whole in modules else (base, alias.name)
                    found.append(Import(importer, module, name, is_typing_only))
    return found


def core_imports_only_the_standard_library(sources: Mapping[str, str]) -> list[str]:
    allowed = {*sys.stdlib_module_names, "__future__"}
    return [
        str(found)
        for found in imports_of(sources)
        if is_within(found.importer, "sinkwell.core")
        if not is_within(found.module, "sinkwell.core") and found.module.split(".")[0] not in allowed
    ]


def no_module_needs_itself(sources: Mapping[str, str]) -> list[str]:
    graph: dict[str, set[str]] = {module_of(file): set() for file in sources}
    for found in imports_of(sources):
        if not found.is_typing_only and found.module in graph:
            graph[found.importer].add(found.module)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" needs ".join(reversed(error.args[1]))]
    return []


def a_sink_imports_no_other_sink(sources: Mapping[str, str]) -> list[str]:
    return [
        str(found)
        for found in imports_of(sources)
        if is_within(found.importer, "sinkwell.sinks") and not is_within(found.importer, TEST_DOUBLES[1])
        if is_within(found.module, "sinkwell.sinks") and found.module not in ("sinkwell.sinks", found.importer)
        if not found.module.removeprefix("sinkwell.sinks.").startswith("_")
    ]


def sinks_import_only_public_names_of_core(sources: Mapping[str, str]) -> list[str]:
    return [
        str(found)
        for found in imports_of(sources)
        if is_within(found.importer, "sinkwell.sinks") and is_within(found.module, "sinkwell.core")
        if found.module != TEST_DOUBLES[0]
        if not (found.module == "sinkwell.core" and found.name in sinkwell.core.__all__)
    ]


def nothing_imports_the_command_line(sources: Mapping[str, str]) -> list[str]:
    return [
        str(found)
        for found in imports_of(sources)
        if not is_within(found.importer, "sinkwell.cli") and is_within(found.module, "sinkwell.cli")
    ]


def only_the_demo_imports_test_doubles(sources: Mapping[str, str]) -> list[str]:
    return [
        str(found)
        for found in imports_of(sources)
        if any(is_within(found.module, double) for double in TEST_DOUBLES)
        if not any(is_within(found.importer, double) for double in TEST_DOUBLES)
        if not (is_within(found.importer, "sinkwell.cli") and "demo" in found.importer)
    ]


def nothing_goes_by_the_name_of_its_folder(sources: Mapping[str, str]) -> list[str]:
    return [str(found) for found in imports_of(sources) if found.module.split(".")[0] in FOLDERS]


def core_has_no_clock_but_the_loops(sources: Mapping[str, str]) -> list[str]:
    found = []
    for file, text in sources.items():
        if not is_within(file, "sinkwell.core") or is_within(file, TEST_DOUBLES[0]) or is_within(file, OUTSIDE_LOOPS):
            continue
        imported = {f"{one.module}.{one.name}" for one in imports_of({file: text})}
        used = {ast.unparse(node) for node, _ in nodes_of(ast.parse(text)) if isinstance(node, ast.Attribute)}
        found += [f"{module_of(file)} uses {name}" for name in sorted(BANNED_IN_CORE & (imported | used))]
    return found


RULES = (
    core_imports_only_the_standard_library,
    no_module_needs_itself,
    a_sink_imports_no_other_sink,
    sinks_import_only_public_names_of_core,
    nothing_imports_the_command_line,
    only_the_demo_imports_test_doubles,
    nothing_goes_by_the_name_of_its_folder,
    core_has_no_clock_but_the_loops,
)

PLANTED = [
    (core_imports_only_the_standard_library, {"sinkwell.core._a": "import boto3"}),
    (core_imports_only_the_standard_library, {"sinkwell.core._a": "def f():\n    from sinkwell.sinks import sqs"}),
    (
        no_module_needs_itself,
        {"sinkwell.core._a": "from ._b import b", "sinkwell.core._b": "def f():\n    from . import _a"},
    ),
    (
        no_module_needs_itself,
        {"sinkwell.core.__init__": "from ._a import a", "sinkwell.core._a": "from sinkwell.core import b"},
    ),
    (
        a_sink_imports_no_other_sink,
        {"sinkwell.sinks.sqs": "from . import sns", "sinkwell.sinks.sns": ""},
    ),
    (a_sink_imports_no_other_sink, {"sinkwell.sinks.sqs": "from sinkwell.sinks.sns import SnsSink"}),
    (sinks_import_only_public_names_of_core, {"sinkwell.sinks.sqs": "from sinkwell.core._entry import Place"}),
    (sinks_import_only_public_names_of_core, {"sinkwell.sinks.sqs": "from sinkwell.core import _entry"}),
    (sinks_import_only_public_names_of_core, {"sinkwell.sinks.sqs": "import sinkwell.core"}),
    (nothing_imports_the_command_line, {"sinkwell.sinks._aws": "import sinkwell.cli.main"}),
    (only_the_demo_imports_test_doubles, {"sinkwell.sinks.sqs": "from sinkwell.sinks.testing import AwsEndpoint"}),
    (
        only_the_demo_imports_test_doubles,
        {"sinkwell.cli.main": "from sinkwell.core import testing", "sinkwell.core.testing": ""},
    ),
    (nothing_goes_by_the_name_of_its_folder, {"sinkwell.sinks.sqs": "from core import Policy"}),
    (core_has_no_clock_but_the_loops, {"sinkwell.core._a": "import time\nnow = time.monotonic()"}),
    (core_has_no_clock_but_the_loops, {"sinkwell.core._a": "from asyncio import wait_for"}),
]

FINE = {
    "sinkwell.core.__init__": "from ._a import A",
    "sinkwell.core._a": "import asyncio\nif TYPE_CHECKING:\n    from ._b import B\nelse:\n    import os",
    "sinkwell.core._b": "from ._a import A\nnow = loop.time()",
    "sinkwell.core.blocking": "import time\ntime.monotonic()",
    "sinkwell.core.testing": "import time\nfrom ._b import B\ntime.monotonic()",
    "sinkwell.sinks._aws": "import botocore",
    "sinkwell.sinks.sqs": "import aioboto3\nfrom ._aws import client",
    "sinkwell.sinks.testing": "from sinkwell.core import testing\nfrom .sqs import SqsSink",
    "sinkwell.cli.demo": "from sinkwell.sinks.testing import AwsEndpoint\nfrom sinkwell.sinks import sqs",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_to(rule: Callable[[Mapping[str, str]], list[str]]) -> None:
    assert rule(sources_on_disk()) == []


@pytest.mark.parametrize(("rule", "planted"), PLANTED, ids=lambda part: getattr(part, "__name__", ""))
def test_a_planted_breach_is_found_by(rule: Callable[[Mapping[str, str]], list[str]], planted: dict[str, str]) -> None:
    assert rule(planted) != []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_is_allowed_is_left_alone_by(rule: Callable[[Mapping[str, str]], list[str]]) -> None:
    assert rule(FINE) == []


def test_every_folder_of_source_is_read() -> None:
    read = {file.split(".")[1] for file in sources_on_disk()}
    assert read == set(FOLDERS)
