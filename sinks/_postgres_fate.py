"""What became of a transaction whose COMMIT was not answered. Before: a lost connection. After: a verdict."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final, Literal

from ._extras import needs_extra

with needs_extra("postgres"):
    import asyncpg

if TYPE_CHECKING:
    from ._postgres_connect import Connection, Pool

# The caller of `write` waits meanwhile, perhaps beyond its own deadline.
_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.02
# From then on, a backend that still holds the transaction is one that does not know its client is gone.
_PATIENCE: Final = 5

# Only the backend that still runs this transaction: by now its process number may be another's.
_END_IT: Final = """
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
WHERE pid = $1 AND backend_xid = $2::text::xid8::xid
"""

# What a crash changes: the server forgets its statistics, and may give the numbers of transactions that it forgot
# as well to new ones. A clean restart keeps both; a server that was promoted has its own.
_LIFE: Final = "(SELECT stats_reset FROM pg_catalog.pg_stat_bgwriter)::text"
_STATUS: Final = f"SELECT pg_catalog.pg_xact_status($1::text::xid8) AS status, {_LIFE} AS life"

Fate = Literal["committed", "aborted", "unknown"]


@dataclass(slots=True, frozen=True)
class Transaction:
    """What is needed to ask for a transaction's fate: its number, its backend's process, the server's life then."""

    xid: str
    pid: int
    life: str


async def life_of(connection: Connection) -> str:
    """Return what stays the same on this server until it crashes. One connection never sees two lives."""
    return str(await connection.fetchval(f"SELECT {_LIFE}"))


async def fate_of(pool: Pool, transaction: Transaction) -> Fate:
    """Ask on another connection, for a short while. Cancelled meanwhile, it can't tell."""
    try:
        async with asyncio.timeout(_SECONDS):
            return await _ask(pool, transaction)
    except (TimeoutError, asyncio.CancelledError):
        return "unknown"


async def _ask(pool: Pool, transaction: Transaction) -> Fate:
    for asked in count(1):
        try:
            async with pool.acquire() as connection:
                found = await connection.fetchrow(_STATUS, transaction.xid)
                if asked == _PATIENCE:
                    await connection.fetch(_END_IT, transaction.pid, transaction.xid)
        except asyncpg.InvalidParameterValueError:
            # A number that was never given out: what this server remembers ends before the transaction.
            return "aborted"
        except Exception:  # noqa: BLE001 - the server may be on its way back
            found = None
        if found is not None:
            fate = _read(found["status"], is_same_life=found["life"] == transaction.life)
            if fate is not None:
                return fate
        await asyncio.sleep(_PAUSE_SECONDS)
    raise AssertionError


def _read(status: str | None, *, is_same_life: bool) -> Fate | None:
    """Return what the server's word means; `None` while it is in progress.

    After a crash the number may be another transaction's by now, so its success proves nothing. Its failure proves that
    ours is not there: had it been committed, the server would know. Statistics can also be reset without a crash, so a
    transaction that is in progress may always be ours.
    """
    if status is None:
        return "unknown"
    if status == "committed":
        return "committed" if is_same_life else "unknown"
    return "aborted" if status == "aborted" else None
