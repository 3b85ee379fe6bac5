"""What an error before COMMIT's answer means. Before: asyncpg. After: the destination, which makes verdicts of it."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

from ._extras import needs_extra

with needs_extra("postgres"):
    import asyncpg

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What the server quotes of a row that it refuses without a line: its key, or the beginning of all its values.
_KEY: Final = re.compile(r"\(([^()]+)\)=\((.*)\)", re.DOTALL)
_VALUES: Final = re.compile(r"\((.*)\)", re.DOTALL)
_LONGEST_QUOTED: Final = 64

# The server's own line among those of triggers and types; in binary COPY, the row counted from 1. In the languages of
# its translations: `COPY t, line 5, column c`, then a word for the line; `tのCOPY、行 5`; `t 복사, 5번째 줄`.
_COPY_LINE: Final = re.compile(
    r"^(?:(?:COPY .*?, |.*?のCOPY、)[^\W\d]+ |.*? 복사, )(\d+)(?:[,、번]|$)",
    re.MULTILINE,
)

# Lost, restarting, in conflict, timed out, not a primary now, or the server's own trouble: later it may pass.
_PASSING: Final = ("08", "25", "40", "53", "55", "57", "58", "XX")
# A person must mend it, or the table is not what it was: no such feature, log-in, database, schema, name or right.
_SETUP: Final = ("0A", "28", "3D", "3F", "42", "F0")
# How a COPY fails as a whole when its encoding rests on a table that has changed since.
_STALE: Final = frozenset({"08P01", "22P04"})
# A prepared statement is not there, or another's: a pooler changed the session behind the connection.
_MIXED_UP: Final = frozenset({"26000", "42P05"})
# What the client's encoders raise for a value, before asyncpg's own kinds of error.
_ENCODING: Final = (TypeError, ValueError, OverflowError, LookupError, AttributeError, ArithmeticError)


class RowsSkipped(Exception):
    """A trigger or the like kept rows out of the table without an error."""


class ShapeChanged(Exception):
    """A column's type is not what the rows were encoded for: what was copied may be garbage and is rolled back."""


@dataclass(slots=True, frozen=True)
class Fault:
    """Why nothing was written.

    Attributes:
        kind: `row` - a row is to blame; `passing` - later it may pass; `stale` - the table may have changed, else
            the suspect is to blame; `setup` - it may have changed too, else a person must mend it.
        suspect: the row's index, if it was pointed at.
        throttled: the server is short of something.
        is_sound: whether the connection can be used again after a ROLLBACK.
    """

    kind: Literal["row", "passing", "stale", "setup"]
    suspect: int | None = None
    throttled: bool = False
    is_sound: bool = True


def fault_of(error: Exception, records: int, reached: int | None) -> Fault:
    """Classify an error that came before the server could commit.

    Args:
        error: what asyncpg, or a check of ours, raised.
        records: how many rows the batch has.
        reached: the row that was encoded last; `None` if none was.
    """
    if isinstance(error, asyncpg.PostgresError):
        return _of_server(error, records)
    if isinstance(error, RowsSkipped):
        return Fault("row")
    if isinstance(error, ShapeChanged):
        return Fault("stale")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Fault("setup", is_sound=False)
    is_encoding = isinstance(error, _ENCODING) and not isinstance(error, OSError)
    if is_encoding and reached is not None:
        return Fault("row", reached if reached < records else None)
    return Fault("passing", is_sound=False)


def _of_server(error: asyncpg.PostgresError, records: int) -> Fault:
    state = error.sqlstate or "XX000"
    # With an end of the connection it is a pooler's word for a server that it lost.
    if state in _STALE and not is_fatal(error):
        return Fault("stale", is_sound=False)
    group, line, is_sound = state[:2], copy_line(error, records), not is_fatal(error)
    if state in _MIXED_UP:
        return Fault("passing", is_sound=False)
    if group in _SETUP:
        return Fault("setup", is_sound=is_sound)
    if line is not None and group in ("22", "XX"):
        # A value that the column can't read: the row's fault, unless the column is another one by now.
        return Fault("stale", line, is_sound=is_sound)
    if group not in _PASSING or state == "40002":
        return Fault("row", line, is_sound=is_sound)
    # 25006: this server is no primary any more; a new connection may find the one that is.
    is_lost = group in ("08", "58", "XX") or state == "25006"
    return Fault("passing", throttled=group == "53", is_sound=is_sound and not is_lost)


def is_fatal(error: asyncpg.PostgresError) -> bool:
    """Tell whether the server ended the connection with this: then it is no answer to what was asked."""
    return getattr(error, "severity_en", "ERROR") in ("FATAL", "PANIC")


def copy_line(error: asyncpg.PostgresError, records: int) -> int | None:
    """Return the index of the row that the server points at, if it does."""
    lines: Sequence[str] = _COPY_LINE.findall(str(getattr(error, "context", None) or ""))
    if not lines:
        return None
    index = int(lines[-1]) - 1
    return index if 0 <= index < records else None


def suspect_of(error: asyncpg.PostgresError, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> int | None:
    """Return the index of the last row that looks like the one whose values the server quotes, if one does.

    Only a hint, which the core tries alone: values are compared as Python writes them.
    """
    detail = str(getattr(error, "detail", None) or "")
    key = _KEY.search(detail)
    if key is not None:
        names = key[1].replace('"', "").split(", ")
        if not set(names) <= set(columns):
            return None
        places = [columns.index(name) for name in names]
        return _last(index for index, row in enumerate(rows) if ", ".join(str(row[at]) for at in places) == key[2])
    values = _VALUES.search(detail)
    if values is None:
        return None
    quoted = set(values[1].split(", "))
    return _last(index for index, row in enumerate(rows) if quoted.issuperset(filter(None, map(_as_quoted, row))))


def _as_quoted(value: object) -> str | None:
    """Return a value as the server quotes it; `None` if that can't be told."""
    if value is None:
        return "null"
    text = str(value) if isinstance(value, (int, str, UUID)) and not isinstance(value, bool) else ""
    return text if len(text.encode(errors="replace")) <= _LONGEST_QUOTED and ", " not in text else None


def _last(found: Iterable[int]) -> int | None:
    return max(found, default=None)
