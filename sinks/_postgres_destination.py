"""One batch, one binary COPY in a transaction of its own. Before: the dispatcher. After: the server.

A batch's way: (1) a connection, (2) BEGIN, (3) COPY, and to merge a statement more, (4) one question for the
transaction's number and whether the columns still are what the rows were encoded for, (5) COMMIT. Up to (4), whatever
goes wrong, nothing was written. Only (5) can be left without an answer, and then the transaction's number, or the
ledger's, tells its fate on another connection.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from sinkwell.core import BatchRefused, ConfigError, Limits, Rejected, Retry, Unknown

from ._extras import needs_extra
from ._postgres_arrays import MOST_BYTES, MOST_ROWS
from ._postgres_connect import advice, bare, sentence_of
from ._postgres_connections import Connections, broken_off_when_lost
from ._postgres_errors import RowsSkipped, ShapeChanged, fault_of, is_fatal, suspect_of
from ._postgres_fate import Transaction, fate_of
from ._postgres_ledger import LedgerTable
from ._postgres_merge import BEGIN, Merge
from ._postgres_receipt import PostgresReceipt, delivered
from ._postgres_search import FEWEST, search
from ._postgres_table import SHAPE
from ._postgres_target import Targets
from ._postgres_vectors import VECTORS

with needs_extra("postgres"):
    import asyncpg

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from sinkwell.core import Batch, Encoded, Entry, Verdict

    from ._postgres_connect import Connection, Dsn, Pool, Tls
    from ._postgres_errors import Fault
    from ._postgres_ledger import Ledger
    from ._postgres_merge import Written
    from ._postgres_spec import PostgresTable
    from ._postgres_table import Column, Table
    from ._postgres_target import Reading, Rows, Target

LIMITS: Final = Limits(bytes=2**30 - 2**20, default_records=5_000, default_bytes=8 * 1024 * 1024, retry_unknown=False)
"""A row and what is joined to it stay below 1 GiB. What may be there is not sent again: COPY would write it twice."""

_OLDEST_SERVER: Final = 13  # pg_current_xact_id and pg_xact_status by 64-bit numbers
_XID: Final = f"SELECT pg_catalog.pg_current_xact_id()::text AS xid, {SHAPE} AS shape%s"
V = TypeVar("V")


@dataclass(slots=True)
class _Attempt:
    """One batch on its way: its entries, where they go, their rows as they are sent, and what became of each."""

    entries: Sequence[Entry]
    target: Target
    reading: Reading
    rows: Rows
    # `None` if all are simply there.
    written: Sequence[Written] | None = None

    def merge(self) -> Merge:
        """Return the way by a temporary table, whatever way the table has."""
        return Merge(self.reading.table, self.target.spec)


class PostgresDestination:
    """Copies batches into one or several tables.

    Args:
        dsn: where the server is; `None` if there is a `pool`.
        tables: what is asked of each table; rows that name none go into the first.
        pool: the caller's own, which is left open; else one is made for `most_in_flight` writes.
        tls: overrides what the URI and the host ask for.
        ledger: remembers each batch in a table.
        settle_timeout: seconds for finding out what became of a COMMIT; `None` for the usual two.
        most_in_flight: how many writes there may be at once.
        timeout: seconds that connecting may take.
    """

    def __init__(
        self,
        dsn: Dsn | None,
        *tables: PostgresTable,
        pool: Pool | None = None,
        tls: Tls = None,
        ledger: Ledger | None = None,
        settle_timeout: float | None = None,
        most_in_flight: int = 8,
        timeout: float = 10.0,
    ) -> None:
        self._connections = Connections(dsn, given=pool, tls=tls, most_in_flight=most_in_flight, timeout=timeout)
        self._timeout = timeout
        self._settle_timeout = settle_timeout
        self._most_in_flight = most_in_flight
        # The caller's pool may have codecs of its own for these, which take other things.
        unchecked = frozenset({"json", "jsonb", *VECTORS}) if pool is not None else frozenset[str]()
        self._targets = Targets(tables, unchecked=unchecked)
        self._ledger = None if ledger is None else LedgerTable(ledger)
        # Checks and measures a row for the newest reading of its table (Destination.encode).
        self.encode: Callable[[Any], Encoded] = _not_open

    @property
    def name(self) -> str:
        """The first table, as messages call it."""
        return f"postgres:{self._targets.first.name}"

    @property
    def limits(self) -> Limits:
        """What suits PostgreSQL, which sets no limits. An upsert that merges may be sent again without a trace."""
        return replace(LIMITS, retry_unknown=True) if self._targets.may_repeat else LIMITS

    @property
    def columns(self) -> tuple[Column, ...]:
        """The first table's columns as they were when it was last read; none before `open`."""
        return self._targets.first.columns

    async def open(self) -> None:
        """Connect, read the tables, and try each with an empty batch, which needs the same rights as a full one.

        Raises:
            ConfigError: the server, the table or a column is not there, or not for us.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._connections.open()
                async with self._connections.pool.acquire() as connection:
                    await self._prepare(connection)
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
            ValueError,
        ) as error:
            problem = f"{self.name}: {sentence_of(error)}{advice(error)}"
            cause = bare(error)
        else:
            return
        # Raised out here, with a bare cause: asyncpg's frames hold the password.
        raise ConfigError(problem) from cause

    async def _prepare(self, connection: Connection) -> None:
        if connection.get_server_version().major < _OLDEST_SERVER:
            raise ConfigError(f"PostgreSQL {_OLDEST_SERVER} or later is needed")
        if self._ledger is not None:
            await self._ledger.open(connection)
        for target in self._targets:
            target.use(await target.read(connection))
            await self._connections.learn(connection, target.columns)
            try:
                await connection.execute(target.reading.load.begin)
                await target.reading.load.run(connection, iter(()))
                await self._transaction(connection, target, target.reading)
            finally:
                await connection.execute("ROLLBACK")
        self.encode = self._targets.encoder()

    async def aclose(self) -> None:
        """Let go of every connection; the caller's own pool is left open."""
        await self._connections.aclose()

    async def write(self, batch: Batch, /) -> Sequence[Verdict[PostgresReceipt]]:
        """Copy one batch and commit it.

        Cancelled before COMMIT was sent: nothing is written, and that is the answer. Cancelled later: the
        transaction's fate is asked for a short while first.

        Raises:
            BatchRefused: nothing was written, because of one row.
        """
        entries = batch.entries
        target = self._targets.of(batch.target)
        reading = target.reading
        attempt = _Attempt(entries, target, reading, target.check_again(batch.payloads))
        try:
            connection = await self._connections.pool.acquire()
        except asyncio.CancelledError:
            return _each(entries, Retry(TimeoutError("no connection in time: nothing was sent")))
        except Exception as error:  # noqa: BLE001 - nothing was sent, whatever it is
            return await self._not_written(None, attempt, error)
        rows = iter(attempt.rows)
        try:
            async with broken_off_when_lost(connection):
                transaction = await self._at_once(connection, attempt, batch.size)
                if transaction is None:
                    await connection.execute(reading.load.begin)
                    attempt.written = await reading.load.run(connection, rows)
                    transaction = await self._transaction(connection, target, reading)
        except asyncio.CancelledError:
            self._connections.close_soon(connection)
            return _each(entries, Retry(TimeoutError("given up before COMMIT was sent: nothing was written")))
        except Exception as error:  # noqa: BLE001 - nothing was committed, whatever it is
            # The row that was asked for last; none yet if all are left.
            left = length_hint(rows)
            reached = len(entries) - left - 1 if left < len(entries) else None
            return await self._not_written(connection, attempt, error, reached)
        return await self._commit(connection, attempt, transaction)

    async def _at_once(self, connection: Connection, attempt: _Attempt, size: int) -> Transaction | None:
        """Write a small batch in one exchange, where that can be; `None` with nothing begun where it can't."""
        arrays, rows = attempt.reading.arrays, attempt.rows
        if arrays is None or len(rows) > MOST_ROWS or size > MOST_BYTES:
            return None
        await connection.execute(BEGIN)
        try:
            found = await arrays.run(connection, rows, attempt.target.shaping)
        except Exception as error:
            fault = fault_of(error, len(rows), 0)
            if fault.kind == "passing" or not fault.is_sound:
                raise
            await connection.execute("ROLLBACK")
            return None
        if self._ledger is not None or self._connections.identity:
            return await self._transaction(connection, attempt.target, attempt.reading)
        return await self._identified(connection, attempt.reading.table, found)

    async def _transaction(self, connection: Connection, target: Target, reading: Reading) -> Transaction:
        """Return what identifies the transaction, if the columns still are what the rows were encoded for."""
        table = reading.table
        question, asked = _XID % self._connections.identity, [str(table.name), target.shaping]
        batch = None if self._ledger is None else uuid4()
        if self._ledger is None:
            found = await connection.fetchrow(question, *asked)
        else:
            found = await connection.fetchrow(f"{self._ledger.entering} {question}", *asked, batch)
        assert found is not None
        return await self._identified(connection, table, found, batch)

    async def _identified(
        self, connection: Connection, table: Table, found: asyncpg.Record, batch: UUID | None = None
    ) -> Transaction:
        if found["shape"] != table.shape:
            raise ShapeChanged(f"a column of {table.name} was changed while rows for it were on their way")
        return await self._connections.transaction(connection, found, batch)

    async def _commit(
        self, connection: Connection, attempt: _Attempt, transaction: Transaction
    ) -> Sequence[Verdict[PostgresReceipt]]:
        entries = attempt.entries
        try:
            status = await connection.execute("COMMIT")
        except asyncio.CancelledError:
            error: Exception = TimeoutError("COMMIT was sent and not answered in time")
        except asyncpg.PostgresError as answer:
            if not is_fatal(answer) and not isinstance(answer, asyncpg.PostgresConnectionError):
                # Refused at COMMIT: a deferred constraint or a serialization conflict. The transaction is rolled back.
                return await self._not_written(connection, attempt, answer)
            error = bare(answer)
        except Exception as lost:  # noqa: BLE001 - whatever it is, COMMIT may have been executed
            error = bare(lost)
        else:
            attempt.target.vain_readings = 0
            await self._give_back(connection)
            if status == "COMMIT":
                return delivered(entries, attempt.written)
            return _each(entries, Retry(RuntimeError(f"COMMIT was answered with {status}: nothing was written")))
        await self._connections.cut(connection)
        fate = await fate_of(self._connections.pool, transaction, self._ledger, seconds=self._settle_timeout)
        if fate == "committed":
            return delivered(entries, attempt.written)
        return _each(entries, Retry(error) if fate == "aborted" else Unknown(error))

    async def _give_back(self, connection: Connection) -> None:
        if self._ledger is not None and self._ledger.is_to_be_pruned():
            self._connections.use_soon(connection, self._ledger.prune(connection))
        else:
            await self._connections.give_back(connection)

    async def _not_written(
        self, connection: Connection | None, attempt: _Attempt, error: Exception, reached: int | None = None
    ) -> Sequence[Verdict[PostgresReceipt]]:
        """Leave the transaction, if there is one, and say what its failure means for each entry."""
        entries = attempt.entries
        fault = fault_of(error, len(entries), reached)
        suspect = fault.suspect
        if fault.kind == "row" and suspect is None and isinstance(error, asyncpg.PostgresError):
            suspect = suspect_of(error, attempt.target.spec.columns, attempt.rows)
        error = bare(error)
        if connection is not None:
            if fault.is_sound:
                self._connections.roll_back_soon(connection)
            else:
                await self._connections.cut(connection)
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            # A primary no more: what else is connected to it would only fail as well.
            await self._connections.pool.expire_connections()
        if fault.kind == "row":
            if suspect is None and len(entries) >= FEWEST and isinstance(error, (asyncpg.PostgresError, RowsSkipped)):
                suspect = await self._search(attempt)
            raise BatchRefused(suspect) from error
        try:
            return _each(entries, await self._answer_to(error, fault, attempt.target, attempt.reading.table))
        except asyncio.CancelledError:
            return _each(entries, Retry(error))

    async def _search(self, attempt: _Attempt) -> int | None:
        """Let the server look for the row that it will not have; if it finds none, the core halves the batch."""
        connection = None
        try:
            connection = await self._connections.pool.acquire()
            async with broken_off_when_lost(connection):
                return await search(connection, attempt.merge(), attempt.rows)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - nothing was written before, and nothing is now
            return None
        finally:
            if connection is not None:
                self._connections.roll_back_soon(connection)

    async def _answer_to(self, error: Exception, fault: Fault, target: Target, table: Table) -> Retry | Rejected:
        """Say what becomes of entries that are not written for a reason that is not in a row."""
        if fault.kind in ("passing", "row"):
            return Retry(error, throttled=fault.throttled)
        try:
            async with self._connections.pool.acquire() as connection:
                read = await target.read(connection)
                await self._connections.learn(connection, read.columns)
        except ConfigError as gone:
            gone.__cause__ = error
            return Rejected(gone)
        except Exception as unreadable:  # noqa: BLE001 - told below
            return Rejected(error) if fault.kind == "setup" else Retry(bare(unreadable))
        if read != table:
            # Before the new reading is used: whoever starts from it must not meet an encoding made for the old one.
            await self._connections.pool.expire_connections()
            target.use(read)
            self.encode = self._targets.encoder()
            return Retry(error)
        if fault.kind == "stale" and fault.suspect is not None:
            raise BatchRefused(fault.suspect) from error
        await self._connections.pool.expire_connections()
        target.vain_readings += 1
        if fault.kind == "setup" or target.vain_readings > 2 * self._most_in_flight:
            return Rejected(error)
        return Retry(error)


def _not_open(_record: Any) -> Encoded:
    raise AssertionError("the core opens a destination before it encodes")


def _each(entries: Sequence[Entry], verdict: V) -> list[V]:
    return [verdict] * len(entries)
