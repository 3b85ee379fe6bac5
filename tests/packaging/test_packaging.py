"""What a user gets who installs the wheel, and only the wheel."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from email.message import Message

    from tests.packaging.conftest import Installed

ROOT = Path(__file__).parents[2]
SINKS = ("dynamodb", "kafka", "postgres", "rabbitmq", "sns", "sqs")
EXTRAS = (*SINKS, "otel")
NOT_SINKS = {"testing", "otel"}


def modules_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}


def test_nothing_but_sinkwell_lands_in_site_packages(installed: Installed) -> None:
    found = {path.name for path in installed.site_packages.iterdir()}
    assert found - {"_virtualenv.py", "_virtualenv.pth"} == {"sinkwell", f"sinkwell-{version_of(installed)}.dist-info"}


def test_sinkwell_is_a_namespace_that_others_can_add_to(installed: Installed) -> None:
    found = {path.name for path in (installed.site_packages / "sinkwell").iterdir()}
    assert found == {"core", "sinks", "cli"}


@pytest.mark.parametrize("package", ["core", "sinks", "cli"])
def test_every_module_is_installed_and_marked_as_typed(installed: Installed, package: str) -> None:
    folder = installed.site_packages / "sinkwell" / package
    assert modules_in(folder) == modules_in(ROOT / package)
    assert (folder / "py.typed").is_file()


@pytest.mark.parametrize("package", ["core", "sinks", "cli"])
def test_the_source_folders_are_not_importable_by_their_bare_names(installed: Installed, package: str) -> None:
    assert "ModuleNotFoundError" in installed.run(f"import {package}").stderr


def test_core_and_sinks_are_imported_with_no_dependency_installed(installed: Installed) -> None:
    done = installed.run("import sinkwell.core, sinkwell.core.testing, sinkwell.sinks; print(sinkwell.core.__file__)")
    assert done.stdout.startswith(str(installed.site_packages)), done.stderr


def test_importing_core_brings_nothing_but_the_standard_library(installed: Installed) -> None:
    code = "import sys; before = {*sys.modules}; import sinkwell.core; print(*({*sys.modules} - before))"
    brought = {name.split(".")[0] for name in installed.run(code).stdout.split()}
    assert brought - sys.stdlib_module_names == {"sinkwell"}


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_module_without_its_extra_says_in_one_sentence_what_to_install(installed: Installed, extra: str) -> None:
    done = installed.run(f"try:\n    import sinkwell.sinks.{extra}\nexcept ImportError as error:\n    print(error)")
    assert len(done.stdout.splitlines()) == 1, done.stdout + done.stderr
    assert f'pip install "sinkwell[{extra}]"' in done.stdout


def test_every_sink_is_in_the_list_above() -> None:
    found = {path.stem for path in (ROOT / "sinks").iterdir() if not path.name.startswith(("_", ".", "py.typed"))}
    assert found - NOT_SINKS == set(SINKS)


def test_nothing_is_required_that_is_not_an_extra(installed: Installed) -> None:
    required = metadata_of(installed).get_all("Requires-Dist", [])
    assert [line for line in required if "extra ==" not in line] == []


def test_the_licence_goes_along(installed: Installed) -> None:
    with tarfile.open(installed.sdist) as sdist:
        assert f"sinkwell-{version_of(installed)}/LICENSE" in sdist.getnames()
    assert metadata_of(installed)["License-Expression"] == "Apache-2.0"


def metadata_of(installed: Installed) -> Message:
    with zipfile.ZipFile(installed.wheel) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return Parser().parsestr(wheel.read(name).decode())


def version_of(installed: Installed) -> str:
    return metadata_of(installed)["Version"]
