"""What a column takes: its type's rule, or one made for an array, a range or a composite of those of its parts.

Before: the catalog's columns. After: `RowEncoder`, which asks the rules for each row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

from ._extras import needs_extra
from ._postgres_types import RULES, Rule, as_it_is, is_mapping, is_series, rough_size, type_of
from ._postgres_vectors import VECTORS, vector_rule

with needs_extra("postgres"):
    import asyncpg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._postgres_table import Column
    from ._postgres_types import Change

_UNKNOWN: Final = Rule(lambda _: True, rough_size)
# COPY's length before each field.
_LENGTH_BYTES: Final = 4


def rule_of(column: Column, *, unchecked: frozenset[str] = frozenset()) -> Rule:
    """Return what the column takes; types named in `unchecked` are left to the client's encoder."""
    name = column.base if column.element is None else column.element
    rule = _UNKNOWN
    if name not in unchecked:
        rules = [rule_of(part, unchecked=unchecked) for part in column.parts]
        if name == "range" and rules:
            rule = _range(rules[0])
        elif name == "composite" and rules:
            rule = _composite(column.parts, rules)
        elif name in VECTORS:
            rule = vector_rule(name, column.type)
        else:
            rule = RULES.get(name, _UNKNOWN)
    return rule if column.element is None or rule is _UNKNOWN else _array(rule)


def _sized(rule: Rule, value: Any, where: str = "") -> int:
    """Check a value within another, as it was changed by its rule, and return its bytes."""
    if value is None:
        return _LENGTH_BYTES
    kind = type_of(value)
    if not rule.takes(kind):
        raise ValueError(f"has {kind.__qualname__} in {where or 'it'}")
    look = rule.check_of(kind)
    try:
        return _LENGTH_BYTES + rule.size + (look(value) if look else 0)
    except ValueError as problem:
        raise ValueError(f"has a value in {where} that {problem}" if where else str(problem)) from None


def _changed(rule: Rule, value: Any) -> Any:
    change = None if value is None or not rule.takes(type_of(value)) else rule.change(type_of(value))
    return value if change is None else change(value)


def _array(element: Rule) -> Rule:
    def change_all(values: Any) -> Any:
        return [change_all(value) if is_array(value) else _changed(element, value) for value in values]

    def is_array(value: Any) -> bool:
        # A composite or a range may be a tuple: then only lists are dimensions.
        return isinstance(value, list) or (is_series(value) and not element.takes(tuple))

    def check(values: Any) -> int:
        return 4 + sum(check(value) if is_array(value) else _sized(element, value) for value in values)

    def change(_kind: type) -> Change | None:
        return None if element.change is as_it_is else change_all

    return Rule(lambda kind: issubclass(kind, (list, tuple)), check, 20, change=change)


def _range(bound: Rule) -> Rule:
    def check(value: Any) -> int:
        ends: list[Any] = [*value] if is_series(value) else [value.lower, value.upper]
        if len(ends) > 2:  # noqa: PLR2004 - a lower and an upper one
            raise ValueError("has more than two bounds")
        return 1 + sum(_sized(bound, end, "a bound") for end in ends)

    return Rule(lambda kind: issubclass(kind, (asyncpg.Range, tuple, list)), check)


def _composite(parts: Sequence[Column], rules: Sequence[Rule]) -> Rule:
    names = [part.name for part in parts]

    def values_of(value: Any) -> Sequence[Any]:
        if is_mapping(value):
            given: Mapping[Any, Any] = value
        elif is_series(value):
            if len(value) != len(names):
                raise ValueError(f"has {len(value)} values for {len(names)} parts")
            return tuple(value)
        else:
            given = {field.name: getattr(value, field.name) for field in fields(value)}
        if given.keys() != set(names):
            raise ValueError(f"has other names than {', '.join(map(repr, names))}")
        return [given[name] for name in names]

    def change(value: Any) -> tuple[Any, ...]:
        return tuple(_changed(rule, part) for rule, part in zip(rules, values_of(value), strict=True))

    def check(value: Any) -> int:
        each = zip(names, rules, value, strict=True)
        return 4 + sum(4 + _sized(rule, part, f"part {name!r}") for name, rule, part in each)

    def takes(kind: type[Any]) -> bool:
        return issubclass(kind, (tuple, list, Mapping)) or is_dataclass(kind)

    return Rule(takes, check, change=lambda _: change)
