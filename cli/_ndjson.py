"""One JSON value a line. Before: lines. After: records, or why a line is none."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard

from ._lines import BadLine, Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class NdjsonReader:
    """Reads JSON lines; empty ones are passed over.

    Args:
        exact: give numbers with a point as `Decimal`, so that no digit is lost.
    """

    def __init__(self, *, exact: bool = False) -> None:
        parse_float = Decimal if exact else None
        self._decode = json.JSONDecoder(parse_float=parse_float, parse_constant=_refuse_constant).decode
        self._number = 0

    def feed(self, lines: Iterable[str | BadLine], *, is_last: bool = False) -> Iterator[Line | BadLine]:  # noqa: ARG002 - as CSV's, whose records may span lines
        """Give the records of these lines."""
        for line in lines:
            self._number += 1
            if isinstance(line, BadLine):
                line.number = self._number
                yield line
            elif not line.isspace():
                yield self._read(line.rstrip("\r\n"))

    def _read(self, text: str) -> Line | BadLine:
        try:
            return Line(self._number, text, self._decode(text))
        except json.JSONDecodeError as error:
            return BadLine(self._number, text, f"broken JSON: {error.msg} at character {error.pos + 1}")
        except (ValueError, RecursionError) as error:
            return BadLine(self._number, text, f"JSON that can't be read: {error}")

    def record_of(self, line: Line) -> Any:
        """Give the record as a dead letter shows it."""
        return json.loads(line.text)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether a JSON value has fields."""
    return isinstance(value, dict)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")
