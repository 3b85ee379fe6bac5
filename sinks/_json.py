"""Objects as JSON text: what a sink does with a record that is neither its own type nor text."""

from __future__ import annotations

from pydantic_core import PydanticSerializationError, to_json

from sinkwell.core import InvalidRecord


def json_text(record: object) -> str:
    """Return the record as compact JSON: pydantic models, dataclasses, dicts, datetimes, UUIDs and the like.

    NaN and the infinities become `NaN`, `Infinity` and `-Infinity`, which strict JSON readers refuse.

    Raises:
        InvalidRecord: the record holds something that JSON has no form for. The sentence names its type, not its value.
    """
    try:
        return to_json(record).decode()
    except UnicodeEncodeError:
        # Told by the sentence alone: the encoder's own error carries the text it stumbled over.
        problem = "it holds a lone surrogate"
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        problem = str(error)[:200] if isinstance(error, PydanticSerializationError) else "it contains itself"
    raise InvalidRecord(f"a {type(record).__name__} can't become JSON ({problem}): pass encode= or mend the record")
