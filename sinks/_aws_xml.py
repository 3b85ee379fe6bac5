"""An XML answer that names the entries of a batch, read strictly. Pure.

Before: `_aws_direct` has a body. After: what botocore's client makes of it, as far as a sink reads it.
"""

from __future__ import annotations

import re
from xml.parsers.expat import ExpatError, ParserCreate

from botocore.parsers import ResponseParserError

_LISTS = ("Successful", "Failed")
_BOOLEANS = ("SenderFault",)
_DEPTH_OF_LIST = 3
_DEPTH_OF_MEMBER = 4
_DEPTH_OF_FIELD = 5

# The answer of a service that has taken all entries: plain words in a fixed order. Nothing is tried twice (`*+`), so
# that it is read or given up in a time proportional to its length.
_WORD = r"[\w.-]++"
_GAP = r"[ \t\r\n]*+"
_FIELD = r"<(Id|MessageId|SequenceNumber)>"
_FIELDS = re.compile(rf"{_FIELD}({_WORD})</\1>", re.ASCII)
_ALL_TAKEN = re.compile(
    rf'(?:<\?xml version="1\.0"\?>{_GAP})?<([A-Za-z]++)(?: xmlns="[\w:/.-]*+")?>{_GAP}<([A-Za-z]++)>{_GAP}'
    rf"(<Failed/>{_GAP})?<Successful>{_GAP}((?:<member>{_GAP}(?:{_FIELD}{_WORD}</\5>{_GAP})++</member>{_GAP})++)"
    rf"</Successful>{_GAP}(?(3)|(?:<Failed/>{_GAP})?)</\2>{_GAP}"
    rf"<ResponseMetadata>{_GAP}<RequestId>{_WORD}</RequestId>{_GAP}</ResponseMetadata>{_GAP}</\1>{_GAP}",
    re.ASCII,
)


def read_entries(operation: str, body: bytes) -> dict[str, object]:
    """Read `<OperationResponse><OperationResult>` and, in it, the members of `Successful` and `Failed`.

    Raises:
        ResponseParserError: it is not that, or has a document type, which no service sends: entities of its own could
            grow beyond all bounds.
    """
    return _all_taken(operation, body) or _parsed(operation, body)


def _all_taken(operation: str, body: bytes) -> dict[str, object] | None:
    """Read the usual answer, in a fifth of the time that a parser takes; `None` for whatever is not exactly that."""
    found = _ALL_TAKEN.fullmatch(body.decode("latin-1"))
    if found is None or found[1] != f"{operation}Response" or found[2] != f"{operation}Result":
        return None
    items: list[dict[str, str]] = []
    for member in found[4].split("</member>")[:-1]:
        fields: list[tuple[str, str]] = _FIELDS.findall(member)
        items.append(dict(fields))
        if len(items[-1]) < len(fields):
            return None  # a field comes twice
    return {"Successful": items}


def _parsed(operation: str, body: bytes) -> dict[str, object]:
    reader = _EntriesReader(operation)
    try:
        reader.parser.Parse(body, True)  # noqa: FBT003 - it takes no name
    except (ExpatError, ValueError) as error:
        raise ResponseParserError(f"the answer can't be parsed ({type(error).__name__})") from None
    return {name: items for name, items in reader.lists.items() if items is not None}


def without_document_type(body: bytes) -> bytes:
    """Return an answer that another parser may read.

    Raises:
        ResponseParserError: it has a document type, or is in an encoding that hides one.
    """
    if b"<!DOCTYPE" in body or b"\0" in body:  # of UTF-16, every other byte is zero
        raise ResponseParserError("the answer has a document type")
    return body


class _EntriesReader:
    """Gathers the members of both lists while the parser calls."""

    __slots__ = ("_member", "_outer", "_path", "_text", "lists", "parser")

    def __init__(self, operation: str) -> None:
        self._outer = [f"{operation}Response", f"{operation}Result"]
        self.lists: dict[str, list[dict[str, object]] | None] = dict.fromkeys(_LISTS)
        # Names of the open elements.
        self._path: list[str] = []
        self._member: dict[str, object] = {}
        # Of the element that was opened last.
        self._text: list[str] = []
        self.parser = ParserCreate("utf-8")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = _refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text.append

    def _start(self, name: str, _: object) -> None:
        path = self._path
        path.append(name)
        self._text.clear()
        depth = len(path)
        if depth == 1 and name != self._outer[0]:
            raise ValueError("another operation's answer")
        if depth < _DEPTH_OF_LIST or path[:2] != self._outer:
            return
        if depth == _DEPTH_OF_LIST and name in self.lists:
            if self.lists[name] is not None:
                raise ValueError("a list comes twice")
            self.lists[name] = []
        if depth > _DEPTH_OF_FIELD:
            raise ValueError("a field that is no text")

    def _end(self, name: str) -> None:
        path = self._path
        depth = len(path)
        found = self.lists.get(path[2]) if depth >= _DEPTH_OF_MEMBER and path[:2] == self._outer else None
        is_in_member = found is not None and path[3] == "member"
        path.pop()
        if found is None or not is_in_member:
            return
        if depth == _DEPTH_OF_MEMBER:
            found.append(self._member)
            self._member = {}
            return
        if name in self._member:
            raise ValueError("a field comes twice")
        text = "".join(self._text)
        self._member[name] = text == "true" if name in _BOOLEANS else text


def _refuse(*_: object) -> None:
    raise ValueError("a document type")
