"""AWS's clock, and what it thinks of a signature's date.

Before me: `_plan.py` has chosen the fault. After me: `_turn.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING

from ._wire import AwsError

if TYPE_CHECKING:
    from ._turn import Turn
    from ._wire import Reply

_TOLERATED = timedelta(minutes=5)


@dataclass(slots=True, frozen=True)
class ClockAhead:
    """AWS's clock is ahead of this machine's: a signature more than five minutes off is refused, and nothing applied.

    Attributes:
        seconds: how far; negative if it is behind.
    """

    seconds: float

    def __call__(self, turn: Turn) -> None:
        now = datetime.now(UTC) + timedelta(seconds=self.seconds)
        turn.edits.append(partial(_add_date, format_datetime(now, usegmt=True)))
        signed, off = turn.request.signed_at, _TOLERATED
        if _stamp(now - off) <= signed <= _stamp(now + off):
            return
        is_old = signed < _stamp(now)
        edge = f"earlier than {_stamp(now - off)}" if is_old else f"later than {_stamp(now + off)}"
        words = f"Signature {'expired' if is_old else 'not yet current'}: {signed} is now {edge}"
        # The query protocol's name of it, and JSON's.
        is_query = turn.request.service == "sns"
        code, status = ("SignatureDoesNotMatch", 403) if is_query else ("InvalidSignatureException", 400)
        turn.instead, turn.is_applied = AwsError(code, words, status), False


def _stamp(time: datetime) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ")


def _add_date(date: str, reply: Reply) -> None:
    reply.headers["Date"] = date
