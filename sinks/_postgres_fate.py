"""What became of a transaction whose COMMIT was not answered. Before: a lost connection. After: a verdict."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final, Literal

from ._extras import needs_extra

with needs_extra("postgres"):
    import asyncpg

if TYPE_CHECKING:
    from uuid import UUID

    from ._postgres_connect import Connection, Pool
    from ._postgres_ledger import LedgerTable

# The caller of `write` waits meanwhile, perhaps beyond its own deadline.
SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 0.02
_MOST_SECONDS_OF_ONE: Final = 5.0
# From then on, a backend that still holds the transaction is one that does not know its client is gone.
_PATIENCE: Final = 5

# Only the backend that still runs this transaction: by now its process number may be another's. And never one that
# waits for a synchronous standby: ended there, it commits what no standby may have, and a failover loses it. It may
# begin to wait between the look and the end: so of one that was ended "committed" proves nothing where there are such.
_END_IT: Final = """
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
WHERE pid = $1 AND backend_xid = $2::text::xid8::xid AND wait_event IS DISTINCT FROM 'SyncRep'
"""

# What a crash changes: the server forgets its statistics, and may give the numbers of transactions that it forgot
# as well to new ones. A clean restart keeps both; a server that was promoted has its own, and another timeline even if
# its statistics came with a copy of the other's files.
_LIFE: Final = """((SELECT stats_reset FROM pg_catalog.pg_stat_bgwriter)::text
    || ' ' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))"""
IDENTITY: Final = f", pg_catalog.pg_backend_pid() AS pid, {_LIFE} AS life"
"""To be asked inside the transaction where a pooler may put any session, of any life, behind one connection."""
_STATUS: Final = f"SELECT pg_catalog.pg_xact_status($1::text::xid8) AS status, {_LIFE} AS life"

_HAS_STANDBYS: Final = "SELECT pg_catalog.current_setting('synchronous_standby_names') <> ''"

Fate = Literal["committed", "aborted", "unknown"]


@dataclass(slots=True, frozen=True)
class Transaction:
    """What is needed to ask for a transaction's fate: its number, its backend's process, the server's life then.

    `batch` is what its ledger, if it has one, knows it by.
    """

    xid: str
    pid: int
    life: str
    batch: UUID | None = None


async def life_of(connection: Connection) -> str:
    """Return what stays the same on this server until it crashes. One connection never sees two lives."""
    return str(await connection.fetchval(f"SELECT {_LIFE}"))


async def fate_of(
    pool: Pool, transaction: Transaction, ledger: LedgerTable | None = None, *, seconds: float | None = None
) -> Fate:
    """Ask on another connection, for a short while. Cancelled meanwhile, it can't tell."""
    seconds = SECONDS if seconds is None else seconds
    try:
        async with asyncio.timeout(seconds):
            return await _ask(pool, transaction, ledger, min(seconds / 2, _MOST_SECONDS_OF_ONE))
    except (TimeoutError, asyncio.CancelledError):
        return "unknown"


async def _ask(pool: Pool, transaction: Transaction, ledger: LedgerTable | None, seconds_of_one: float) -> Fate:
    was_ended = False
    for asked in count(1):
        try:
            connection = await pool.acquire()
        except Exception:  # noqa: BLE001 - the server may be on its way back
            await asyncio.sleep(_PAUSE_SECONDS)
            continue
        fate = None
        try:
            # One deadline for each: a connection whose server hangs must not use up the time for the others.
            # And all of it of one server: a pooler may have found another one in between.
            async with asyncio.timeout(seconds_of_one):
                async with connection.transaction(isolation="read_committed", readonly=True):
                    fate = await _ask_once(connection, transaction, ledger)
                    if fate is None and asked == _PATIENCE:
                        was_ended = True  # unless the server says that it was not: its answer may be lost
                        was_ended = bool(await connection.fetch(_END_IT, transaction.pid, transaction.xid))
                    if fate == "committed" and was_ended and await connection.fetchval(_HAS_STANDBYS):
                        fate = "unknown"
        except BaseException as error:
            with suppress(asyncpg.InterfaceError):
                connection.terminate()
            if not isinstance(error, Exception):
                raise
            if isinstance(error, TimeoutError):
                await pool.expire_connections()
        finally:
            await pool.release(connection)
        if fate is not None:
            return fate
        await asyncio.sleep(_PAUSE_SECONDS)
    raise AssertionError


async def _ask_once(connection: Connection, transaction: Transaction, ledger: LedgerTable | None) -> Fate | None:
    # What a replica says may only be old; it may be promoted soon.
    if await connection.fetchval("SELECT pg_catalog.pg_is_in_recovery()"):
        return None
    try:
        found = await connection.fetchrow(_STATUS, transaction.xid)
    except asyncpg.InvalidParameterValueError:
        # A number that was never given out: what this server remembers ends before the transaction.
        return "aborted"
    assert found is not None
    fate = _read(found["status"], is_same_life=found["life"] == transaction.life)
    if fate in ("committed", "aborted") or ledger is None or transaction.batch is None:
        return fate
    if await ledger.has(connection, transaction.batch):
        return "committed"
    # Not there, and the transaction has ended: it never will be.
    return "aborted" if fate == "unknown" else None


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
