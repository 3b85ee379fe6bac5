"""SNS's answers as XML, the way of AWS's older query protocol: out, and back in for the log. Pure.

Before me: a service's answer as a document. After me: `_wire.py` sends it.
"""

from __future__ import annotations

import re
from typing import Any, TypeGuard, cast
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

XML = "text/xml"
NAMESPACE = "http://sns.amazonaws.com/doc/2010-03-31/"
# The one field of SNS's answers that is a map and no structure.
_MAP = "Attributes"
_EMPTY: dict[str, Any] = {"Successful": [], "Failed": [], "Attributes": {}, "SenderFault": False}
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_xml(action: str, document: dict[str, Any], *, has_result: bool) -> bytes:
    """An answer: its fields in a result, where the action has one, in a response."""
    result = f"<{action}Result>{_fields(document)}</{action}Result>" if has_result else ""
    metadata = "<ResponseMetadata><RequestId>00000000-0000-4000-8000-000000000000</RequestId></ResponseMetadata>"
    return f'<{action}Response xmlns="{NAMESPACE}">{result}{metadata}</{action}Response>'.encode()


def error_to_xml(code: str, message: str, fault: str) -> bytes:
    """An error."""
    error = _fields({"Type": fault, "Code": code, "Message": message})
    return f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{error}</Error></ErrorResponse>'.encode()


def from_xml(body: bytes) -> dict[str, Any]:
    """The fields of an answer, or of an error; empty when it can't be read."""
    try:
        root = ET.fromstring(body)  # noqa: S314 - our own answer, and nobody else's
    except ET.ParseError:
        return {}
    found = [_read(child) for child in root if _name(child).endswith("Result") or _name(child) == "Error"]
    return cast("dict[str, Any]", found[0]) if found and isinstance(found[0], dict) else {}


def _fields(document: dict[str, Any]) -> str:
    return "".join(f"<{name}>{_value(name, value)}</{name}>" for name, value in document.items())


def _value(name: str, value: Any) -> str:
    if _is_list(value):
        return "".join(f"<member>{_value('', item)}</member>" for item in value)
    if isinstance(value, dict):
        given = cast("dict[str, Any]", value)
        if name == _MAP:
            return "".join(f"<entry>{_fields({'key': key, 'value': text})}</entry>" for key, text in given.items())
        return _fields(given)
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(_NOT_IN_XML.sub("?", str(value)))


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _read(element: ET.Element) -> Any:
    names = [_name(child) for child in element]
    if not names:
        text = element.text or ""
        return {"true": True, "false": False}.get(text, text)
    if names[0] == "member":
        return [_read(child) for child in element]
    if names[0] == "entry":
        return {str(_read(entry[0])): _read(entry[1]) for entry in element}
    return {name: _read(child) or _EMPTY.get(name, "") for name, child in zip(names, element, strict=True)}


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
