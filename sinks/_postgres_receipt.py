"""What the caller of a written row is told. Before: COMMIT's answer. After: the core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sinkwell.core import Delivered, Receipt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinkwell.core import Entry, Verdict

    from ._postgres_merge import Written


@dataclass(slots=True, kw_only=True)
class PostgresReceipt(Receipt):
    """The row's transaction is committed.

    Attributes:
        is_written: `False` for an upsert that keeps what is there, where a row with its key was there.
        returned: the columns that `returning` asks for, as the row has them now; `None` if it asks for none or the
            row was not written.
    """

    is_written: bool = True
    returned: Mapping[str, Any] | None = None


def delivered(entries: Sequence[Entry], written: Sequence[Written] | None) -> list[Verdict[PostgresReceipt]]:
    """Give each entry its receipt; entries that would have equal ones share one."""
    if written is not None:
        told = zip(entries, written, strict=True)
        return [Delivered(PostgresReceipt(attempts=e.attempts, is_written=w[0], returned=w[1])) for e, w in told]
    verdicts: dict[int, Verdict[PostgresReceipt]]
    verdicts = {attempts: Delivered(PostgresReceipt(attempts=attempts)) for attempts in {e.attempts for e in entries}}
    if len(verdicts) == 1:
        return [*verdicts.values()] * len(entries)
    return [verdicts[entry.attempts] for entry in entries]
