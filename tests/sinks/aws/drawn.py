"""Parts of messages as Hypothesis draws them, right and wrong; and how many bytes AWS counts for attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from sinkwell.core import Encoded
    from sinkwell.sinks._aws_message import MessageAttribute

IDS = (
    st.none() | st.text(st.characters(codec="ascii"), max_size=5) | st.sampled_from(["g", "g g", "x" * 128, "x" * 129])
)
NAMES = st.sampled_from(["k", "a.b", "AWS.x", "", "é", "a" * 256]) | st.text("ab.", min_size=1, max_size=5)
TYPES = st.sampled_from(["String", "String.Array", "Number", "Binary.x", "Other", ""])


def attributes_of(kind: type[MessageAttribute], texts: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a message's attributes, some of them with a type of their own: of this class."""
    typed = st.builds(kind, TYPES, texts | st.binary(max_size=9))
    values = texts | st.integers() | st.floats() | st.binary(max_size=40) | typed | st.decimals() | st.booleans()
    return st.dictionaries(NAMES, values, max_size=11)


def bytes_of_attributes(encoded: Encoded) -> int:
    attributes: dict[str, dict[str, str | bytes]] = encoded.payload.fields.get("MessageAttributes", {})  # type: ignore[attr-defined]
    parts = [part for name, value in attributes.items() for part in (name, *value.values())]
    return sum(len(part if isinstance(part, bytes) else part.encode()) for part in parts)
