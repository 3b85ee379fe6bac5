"""Objects as JSON text: what a sink does with a record that is neither its own type nor text."""

from __future__ import annotations

import re

from pydantic_core import PydanticSerializationError, to_json

from sinkwell.core import InvalidRecord

# The one message of the encoder that is sure to hold a type's name and nothing of the record.
_UNKNOWN_TYPE = re.compile(r"Unable to serialize unknown type: <class '([\w.<>]+)'>")


def json_text(record: object) -> str:
    """Return the record as compact JSON: pydantic models, dataclasses, dicts, datetimes, UUIDs and the like.

    NaN and the infinities become `NaN`, `Infinity` and `-Infinity`, which strict JSON readers refuse.

    Raises:
        InvalidRecord: the record holds something that JSON has no form for. The sentence names its type, not its value.
    """
    try:
        return to_json(record).decode()
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        unknown = _UNKNOWN_TYPE.search(str(error))
    what = f"a {unknown[1]} in it" if unknown else "a value that has no JSON form, a lone surrogate, or itself in it"
    raise InvalidRecord(f"a {type(record).__name__} with {what} can't become JSON: pass encode= or mend the record")
