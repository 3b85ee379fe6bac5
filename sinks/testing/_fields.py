"""Reads the fields of a request, which may be anything: each has the type AWS's model says, or the request fails."""

from __future__ import annotations

from typing import Any, TypeGuard, cast

from ._wire import AwsError, Document


def document_of(value: Any) -> Document:
    """A JSON object.

    Raises:
        AwsError: if it is something else; so do all functions here.
    """
    if not isinstance(value, dict):
        raise AwsError("SerializationException", "Start of structure or map expected.")
    return cast("Document", value)


def text_of(document: Document, name: str) -> str | None:
    """A string where it is given."""
    value = document.get(name)
    if value is not None and not isinstance(value, str):
        raise AwsError("SerializationException", f"{name} can not be converted to a String")
    return value


def whole_of(document: Document, name: str) -> int | None:
    """A whole number where it is given."""
    value = document.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise AwsError("SerializationException", f"{name} can not be converted to an Integer")
    return value


def list_of(document: Document, name: str) -> list[Any] | None:
    """A list where it is given."""
    value = document.get(name)
    if value is None or _is_list(value):
        return value
    raise AwsError("SerializationException", f"{name} can not be converted to a list")


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def texts_of(document: Document, name: str) -> list[str]:
    """A list of strings, empty where none is given."""
    given = list_of(document, name) or []
    if not all(isinstance(item, str) for item in given):
        raise AwsError("SerializationException", f"{name} can not be converted to a list of Strings")
    return given


def text_map_of(document: Document, name: str) -> dict[str, str]:
    """A map of strings, empty where none is given."""
    given = document_of(document.get(name) or {})
    if not all(isinstance(value, str) for value in given.values()):
        raise AwsError("SerializationException", f"{name} can not be converted to a map of Strings")
    return given
