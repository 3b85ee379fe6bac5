"""Reads a request of AWS's older query protocol: a form whose dotted names spell out a document. Pure.

`PublishBatchRequestEntries.member.1.Id=0` is the `Id` of the first item of a list; `….entry.1.Name` with
`….entry.1.Value` is one pair of a map.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import parse_qsl

_ACTION, _VERSION = "Action", "Version"
_MOST_FIELDS = 10_000


def read_form(body: bytes) -> tuple[str, dict[str, Any] | None]:
    """The action and the document of a request; no document where the form can't be understood."""
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except (ValueError, UnicodeError):
        return "", None
    tree: dict[str, Any] = {}
    for name, text in pairs:
        if not _plant(tree, name.split("."), text):
            return "", None
    action = tree.pop(_ACTION, "")
    tree.pop(_VERSION, None)
    return (action if isinstance(action, str) else ""), {name: _grown(value) for name, value in tree.items()}


def _plant(tree: dict[str, Any], path: list[str], text: str) -> bool:
    """Hang a value into the tree; False where a name is a value and a branch at once."""
    *branches, leaf = path
    for branch in branches:
        below = tree.setdefault(branch, {})
        if not isinstance(below, dict):
            return False
        tree = cast("dict[str, Any]", below)
    if leaf in tree:
        return False
    tree[leaf] = text
    return True


def _grown(value: Any) -> Any:
    """Make lists and maps of what is numbered."""
    if not isinstance(value, dict):
        return value
    branch = cast("dict[str, Any]", value)
    (only, items), *others = branch.items()
    if not others and only == "member":
        return [_grown(item) for item in _numbered(items)]
    if not others and only == "entry":
        return dict(_pair(item) for item in _numbered(items))
    return {name: _grown(item) for name, item in branch.items()}


def _numbered(given: Any) -> list[Any]:
    items = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    return [items[number] for number in sorted(items, key=lambda number: (len(number), number))]


def _pair(item: Any) -> tuple[str, Any]:
    pair = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
    value = pair.get("Value", pair.get("value", ""))
    return str(pair.get("Name", pair.get("key", ""))), _grown(value)
