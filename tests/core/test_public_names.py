"""What `sinkwell.core` promises: the names in `__all__`, each documented, and no others."""

from __future__ import annotations

import inspect
import types
from functools import cached_property

import pytest

import sinkwell.core


def documentable(name: str) -> list[tuple[str, object]]:
    """A public class or function, and a class's own public methods; an alias or a constant is told by its module."""
    value = getattr(sinkwell.core, name)
    if inspect.isfunction(value):
        return [(name, value)]
    if not inspect.isclass(value):
        return []
    kinds = (types.FunctionType, property, cached_property, classmethod, staticmethod)
    own = [(f"{name}.{key}", item) for key, item in vars(value).items() if key[0] != "_" and isinstance(item, kinds)]
    return [(name, value), *own]


def is_documented(value: object) -> bool:
    # A dataclass without a docstring is given its signature for one.
    text = vars(value).get("__doc__") if inspect.isclass(value) else inspect.getdoc(value)
    is_generated = inspect.isclass(value) and (text or "").startswith(f"{value.__name__}(")
    return bool(text) and not is_generated


def test_there_are_public_names() -> None:
    assert len(sinkwell.core.__all__) == len(set(sinkwell.core.__all__)) > 0


@pytest.mark.parametrize("name", getattr(sinkwell.core, "__all__", ()))
def test_a_public_name_exists_and_is_documented(name: str) -> None:
    assert hasattr(sinkwell.core, name)
    assert [where for where, value in documentable(name) if not is_documented(value)] == []


def test_every_name_without_an_underscore_is_promised() -> None:
    bound = {
        name
        for name, value in vars(sinkwell.core).items()
        if name[0] != "_" and not isinstance(value, types.ModuleType) and name != "annotations"
    }
    assert bound == set(sinkwell.core.__all__)


def test_a_public_class_or_function_says_where_it_lives_inside_core() -> None:
    values = [getattr(sinkwell.core, name) for name in sinkwell.core.__all__]
    homes = {value.__module__ for value in values if inspect.isclass(value) or inspect.isfunction(value)}
    assert {home for home in homes if not home.startswith("sinkwell.core")} == set()
