"""What travels: one request as it was understood, one reply before it is bytes, and AWS's errors between them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from ._xml import XML, from_xml, to_xml

if TYPE_CHECKING:
    from collections.abc import Mapping

Document: TypeAlias = dict[str, Any]
"""A JSON object as AWS sends and answers it."""

Ending: TypeAlias = Literal["open", "answered", "cut", "dropped", "hung"]

JSON_1_0 = "application/x-amz-json-1.0"


class AwsError(Exception):
    """A whole request that AWS refuses.

    Args:
        code: the error's name in AWS's model (`"QueueDoesNotExist"`) or its common name (`"InvalidParameterValue"`).

        message: what the answer says; empty takes AWS's usual words.

        status: the HTTP status; 0 takes AWS's usual one.

        details: more fields of the answer, as DynamoDB's `ThrottlingReasons`.
    """

    def __init__(self, code: str, message: str = "", status: int = 0, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, message, status)
        self.code = code
        self.message = message
        self.status = status
        self.details = dict(details or {})


@dataclass(slots=True, frozen=True)
class EntryError:
    """Why one entry of a batch failed, as it stands in the answer's `Failed` list.

    Attributes:
        code: `Code` of the answer.
        message: `Message` of the answer.
        sender_fault: `SenderFault` of the answer.
    """

    code: str
    message: str = ""
    sender_fault: bool = True


@dataclass(slots=True, eq=False)
class AwsRequest:
    """One request of the log: what was asked, what was really done, and what was answered.

    Attributes:
        number: counts every request of the endpoint, from 1.
        service: `"sqs"`, `"sns"` or `"dynamodb"`.
        action: `"SendMessageBatch"` and the like.
        at: when its last byte came, in the event loop's time.
        document: the request's JSON, or its form read as such; empty when the connection was dropped before that.
        faults: the plan's faults that acted on it, as they print.
        applied: entry Id to message id, for each entry that AWS now has (also one that was there before, see
            `deduplicated`). An action of one message stands under its message id.
        deduplicated: Ids of the entries that were answered as successful but not stored a second time.
        status: the HTTP status of the answer; 0 while there is none.
        answer: the body of the answer, all of it even when the connection was cut within.
        ending: `"answered"`: all of the answer was sent. `"cut"`: a part. `"dropped"`: the connection was closed
            without a byte. `"hung"`: nothing will be sent. `"open"`: still at work, or the client left before the end.
        signed_at: the date of its signature, as `20261121T120000Z`; empty if it told none.
    """

    number: int
    service: str
    action: str
    at: float
    document: Document = field(default_factory=dict[str, Any])
    faults: tuple[str, ...] = ()
    applied: dict[str, str] = field(default_factory=dict[str, str])
    deduplicated: list[str] = field(default_factory=list[str])
    status: int = 0
    answer: bytes = b""
    ending: Ending = "open"
    signed_at: str = ""

    @property
    def entries(self) -> list[Document]:
        """The entries as they were sent; empty for an action that takes none.

        A write for DynamoDB has none of its own: it gets its `"Table"`, and its place in the request as `"Id"`.
        """
        if "RequestItems" in self.document:
            return _writes_in(self.document["RequestItems"])
        entries: object = self.document.get("Entries") or self.document.get("PublishBatchRequestEntries")
        return cast("list[Document]", entries) if isinstance(entries, list) else []

    @property
    def answered(self) -> Document:
        """The answer's JSON or XML as the client got it; empty when it got none that can be read."""
        if self.ending != "answered":
            return {}
        if self.service == "sns":
            return from_xml(self.answer)
        try:
            document = json.loads(self.answer or b"{}")
        except ValueError:
            return {}
        return cast("Document", document) if isinstance(document, dict) else {}

    def __repr__(self) -> str:
        entries, applied = len(self.entries), len(self.applied)
        return f"<#{self.number} {self.action} entries={entries} applied={applied} {self.status} {self.ending}>"


def _writes_in(tables: object) -> list[Document]:
    listed = cast("Document", tables) if isinstance(tables, dict) else {}
    writes = [
        (name, write)
        for name, given in listed.items()
        if isinstance(given, list)
        for write in cast("list[object]", given)
    ]
    return [
        {"Id": str(place), "Table": name, **(cast("Document", write) if isinstance(write, dict) else {})}
        for place, (name, write) in enumerate(writes)
    ]


@dataclass(slots=True)
class Reply:
    """An answer before it is bytes.

    Attributes:
        status: the HTTP status.
        document: the answer's fields; what is sent unless `body` is set.
        headers: AWS's own and any that a fault adds.
        body: sent as it stands in place of `document`.
        content_type: the media type.
        xml_action: the action whose answer it is, where that is XML.
        has_result: whether the XML tells a result, which may be empty.
    """

    status: int = 200
    document: Document = field(default_factory=dict[str, Any])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    content_type: str = JSON_1_0
    xml_action: str = ""
    has_result: bool = False

    def to_body(self) -> bytes:
        """The body that is sent."""
        if self.body is None and self.xml_action:
            return to_xml(self.xml_action, self.document, has_result=self.has_result)
        if self.body is None:
            # An action without a result answers with an empty body, as AWS does.
            return json.dumps(self.document, separators=(",", ":")).encode() if self.document else b""
        return self.body


def xml_reply(action: str, document: Document) -> Reply:
    """An answer of the older query protocol."""
    return Reply(document=document, content_type=XML, xml_action=action, has_result=bool(document))


def to_wire(status: int, content_type: str, headers: Mapping[str, str], body: bytes, number: int) -> bytes:
    """The whole HTTP/1.1 response."""
    extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Status"
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nx-amzn-RequestId: {serial_uuid(number)}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode("latin-1") + body


def serial_uuid(number: int) -> str:
    """An id in the form AWS uses that counts up, so that two runs compare equal."""
    return f"00000000-0000-4000-8000-{number:012x}"
