"""What became of a transaction whose COMMIT was not answered. Before: a lost connection. After: a verdict."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal

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

Fate = Literal["committed", "aborted", "unknown"]


async def fate_of(pool: Pool, xid: str, pid: int) -> Fate:
    """Ask on another connection, for a short while. Cancelled meanwhile, it can't tell."""
    try:
        async with asyncio.timeout(_SECONDS):
            return await _ask(pool, xid, pid)
    except (TimeoutError, asyncio.CancelledError):
        return "unknown"


async def _ask(pool: Pool, xid: str, pid: int) -> Fate:
    asked = 0
    while True:
        try:
            async with pool.acquire() as connection:
                status = await _status(connection, xid)
                asked += 1
                if status == "in progress" and asked == _PATIENCE:
                    await connection.fetch(_END_IT, pid, xid)
        except Exception:  # noqa: BLE001 - the server may be on its way back
            status = "in progress"
        if status == "committed":
            return "committed"
        if status == "aborted":
            return "aborted"
        if status is None:
            return "unknown"
        await asyncio.sleep(_PAUSE_SECONDS)


async def _status(connection: Connection, xid: str) -> str | None:
    """Return the server's word; `None` if it has forgotten, the transaction being too old."""
    status: str | None = await connection.fetchval("SELECT pg_catalog.pg_xact_status($1::text::xid8)", xid)
    return status
