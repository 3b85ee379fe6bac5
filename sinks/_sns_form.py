"""A message as it stands in SNS's form, `application/x-www-form-urlencoded`: to the byte as botocore writes it. Pure.

Before: `_sns_message` has a message's fields. After: the body of a `PublishBatch`, or the fields for the client.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, NamedTuple, cast
from urllib.parse import parse_qsl, quote_plus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
# By the byte's number. A space is a plus: what plus and percent sign stand for themselves is escaped before.
_ESCAPES = [(bytes([code]), b"+" if code == ord(" ") else b"%%%02X" % code) for code in range(256)]
_FIRST = b"%+"
# Each is a pass over the text.
_MOST_PASSES = 24


class Payload(NamedTuple):
    """A message as it goes into a request.

    Attributes:
        text: its fields, without the place in the request that each one's name begins with.
        chosen_id: a deduplication id for a FIFO topic, in case that it does not make them itself: nobody knows yet.
    """

    text: bytes
    chosen_id: str = ""

    def decided(self, *, topic_makes_ids: bool) -> Payload:
        """Return it for the topic, now that it was read."""
        return Payload(self.text if topic_makes_ids else b"%b&MessageDeduplicationId=%b" % (self.text, self._chosen))

    @property
    def _chosen(self) -> bytes:
        return self.chosen_id.encode("ascii")

    @property
    def fields(self) -> dict[str, object]:
        """The fields as the client takes them."""
        fields: dict[str, object] = {}
        attributes: dict[str, dict[str, object]] = {}
        name = ""
        for path, value in parse_qsl(self.text.decode("ascii"), strict_parsing=True):
            field = path.rpartition(".")[2]
            if not path.startswith("MessageAttributes."):
                fields[path] = value
            elif field == "Name":
                name = value
                attributes[name] = {}
                fields["MessageAttributes"] = attributes
            else:
                attributes[name][field] = b64decode(value) if field == "BinaryValue" else value
        return fields


def form_of(fields: Mapping[str, object]) -> bytes:
    """Return a message's fields as they stand in a form, attributes in the order that they have."""
    parts: list[bytes] = []
    for name, value in fields.items():
        if name == "MessageAttributes":
            attributes = cast("Mapping[str, Mapping[str, str | bytes]]", value)
            for place, (key, typed) in enumerate(attributes.items(), start=1):
                start = b"MessageAttributes.entry.%d." % place
                parts.append(start + b"Name=" + quoted(key))
                for field, content in typed.items():
                    text = b64encode(content).decode("ascii") if isinstance(content, bytes) else content
                    parts.append(b"%bValue.%b=%b" % (start, field.encode("ascii"), quoted(text)))
        else:
            parts.append(b"%b=%b" % (name.encode("ascii"), quoted(cast("str", value))))
    return b"&".join(parts)


def quoted(text: str) -> bytes:
    """Return a text as it stands in a form, like `urllib.parse.quote_plus`, which takes it byte by byte."""
    data = text.encode()
    strange = set(data.translate(None, _SAFE))
    if len(strange) > _MOST_PASSES:
        return quote_plus(data).encode("ascii")
    for code in _FIRST:
        if code in strange:
            data = data.replace(*_ESCAPES[code])
            strange.discard(code)
    for code in strange:
        data = data.replace(*_ESCAPES[code])
    return data


def request_body(arn: str, payloads: Sequence[Payload]) -> bytes:
    """Return the form of a `PublishBatch` with these messages."""
    parts = [b"Action=PublishBatch&Version=2010-03-31&TopicArn=" + quoted(arn)]
    for place, (text, _) in enumerate(payloads):
        start = b"&PublishBatchRequestEntries.member.%d." % (place + 1)
        # No value holds an ampersand of its own.
        parts.append(b"%bId=%d%b%b" % (start, place, start, text.replace(b"&", start)))
    return b"".join(parts)
