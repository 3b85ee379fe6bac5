"""Whether SQS stored what was sent, by the MD5 that its answer tells. Pure.

Before: an entry of `Successful`. After: the entry's verdict.
Source: "Calculating the MD5 message digest for message attributes" (developer guide, November 2026). AWS's client for
Java checks it; botocore doesn't.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._sqs_message import Payload

_ATTRIBUTES = (
    ("MD5OfMessageAttributes", "MessageAttributes"),
    ("MD5OfMessageSystemAttributes", "MessageSystemAttributes"),
)
_BINARY = b"\x02"
_STRING = b"\x01"


def first_difference(payload: Payload, said: Mapping[str, object]) -> str | None:
    """Return the digest in the answer that isn't of what was sent; one that is not told proves nothing."""
    body = said.get("MD5OfMessageBody")
    if body is not None and body != payload.body_digest:
        return "MD5OfMessageBody"
    for name, field in _ATTRIBUTES:
        told = said.get(name)
        if told is not None and told != _digest_of_all(cast("_Attributes", payload.fields.get(field) or {})):
            return name
    return None


_Attributes = dict[str, dict[str, object]]


def _digest_of_all(attributes: _Attributes) -> str:
    """Digest attributes by name, each part with its length before it; of the value also whether it is binary."""
    parts: list[bytes] = []
    for name, typed in sorted(attributes.items()):
        binary = typed.get("BinaryValue")
        is_binary = isinstance(binary, bytes)
        content = binary if isinstance(binary, bytes) else cast("str", typed["StringValue"]).encode()
        for part in (name.encode(), cast("str", typed["DataType"]).encode()):
            parts += [_length(part), part]
        parts += [_BINARY if is_binary else _STRING, _length(content), content]
    return digest_of(b"".join(parts))


def _length(part: bytes) -> bytes:
    return struct.pack(">I", len(part))


def digest_of(content: bytes) -> str:
    """Return what SQS says of a text that it stored."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
