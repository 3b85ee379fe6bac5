"""One batch, one binary COPY in a transaction of its own. Before: the dispatcher. After: the server.

A batch's way: (1) a connection, (2) BEGIN, (3) COPY, (4) one question for the transaction's number and whether the
columns still are what the rows were encoded for, (5) COMMIT. Up to (4), whatever goes wrong, nothing was written.
Only (5) can be left without an answer, and then the transaction's number tells its fate on another connection.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sinkwell.core import (
    BatchRefused,
    ConfigError,
    Delivered,
    InvalidRecord,
    Limits,
    Receipt,
    Rejected,
    Retry,
    Unknown,
)

from ._extras import needs_extra
from ._postgres_connect import bare, sentence_of
from ._postgres_connections import Connections, broken_off_when_lost
from ._postgres_errors import RowsSkipped, ShapeChanged, fault_of, is_fatal
from ._postgres_fate import Transaction, fate_of
from ._postgres_rows import RowEncoder
from ._postgres_table import SHAPE, parse_table_name, quote_ident, read_table

with needs_extra("postgres"):
    import asyncpg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sinkwell.core import Batch, Encoded, Entry, Verdict

    from ._postgres_connect import Connection, Dsn, Pool, Tls
    from ._postgres_errors import Fault
    from ._postgres_table import Column, Table

LIMITS: Final = Limits(default_records=5_000, default_bytes=8 * 1024 * 1024, retry_unknown=False)
"""PostgreSQL sets none; these suit it. What may be there already is not sent again: COPY would write it twice."""

_OLDEST_SERVER: Final = 13  # pg_current_xact_id and pg_xact_status by 64-bit numbers
_XID: Final = f"SELECT pg_catalog.pg_current_xact_id()::text AS xid, {SHAPE} AS shape"
V = TypeVar("V")


@dataclass(slots=True, kw_only=True)
class PostgresReceipt(Receipt):
    """The row's transaction is committed."""


class PostgresDestination:
    """Copies batches into one table.

    Args:
        dsn: where the server is; `None` if there is a `pool`.
        table: the table's name as the user wrote it.
        columns: the columns that a row has values for, in the order of a tuple's values.
        pool: the caller's own, which is left open; else one is made for `most_in_flight` writes.
        tls: overrides what the URI and the host ask for.
        most_in_flight: how many writes there may be at once.
        timeout: seconds that connecting may take.
    """

    def __init__(
        self,
        dsn: Dsn | None,
        table: str,
        columns: Sequence[str],
        *,
        pool: Pool | None = None,
        tls: Tls = None,
        most_in_flight: int = 8,
        timeout: float = 10.0,
    ) -> None:
        self._connections = Connections(dsn, given=pool, tls=tls, most_in_flight=most_in_flight, timeout=timeout)
        self._timeout = timeout
        self._most_in_flight = most_in_flight
        self._wanted = parse_table_name(table)
        self._names = _checked_names(columns)
        # The caller's pool may have codecs of its own for JSON, which take more than text.
        self._unchecked = frozenset({"json", "jsonb"}) if pool is not None else frozenset[str]()
        # The newest reading of the table, and what checks and measures a row for it (Destination.encode).
        self._table: Table | None = None
        self.encode: Callable[[Any], Encoded] = _not_open
        # Whether a column was changed while the sink ran: from then on rows are checked again before they go.
        self._has_changed = False
        # Readings that changed nothing since a COPY last worked: bounds retrying what a new connection does not mend.
        self._vain_readings = 0

    @property
    def name(self) -> str:
        """The table, as messages call it."""
        return f"postgres:{'.'.join(part for part in (self._wanted.schema, self._wanted.table) if part)}"

    @property
    def limits(self) -> Limits:
        """What suits PostgreSQL, which sets no limits."""
        return LIMITS

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns as they were when the table was last read; none before `open`."""
        return () if self._table is None else self._table.columns

    async def open(self) -> None:
        """Connect, read the table, and try an empty COPY, which needs the same rights as a full one.

        Raises:
            ConfigError: the server, the table or a column is not there, or not for us.
        """
        try:
            await self._connections.open()
            async with asyncio.timeout(self._timeout), self._connections.pool.acquire() as connection:
                await self._prepare(connection)
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
            ValueError,
        ) as error:
            problem = f"{self.name}: {sentence_of(error)}"
            cause = bare(error)
        else:
            return
        # Raised out here, with a bare cause: asyncpg's frames hold the password.
        raise ConfigError(problem) from cause

    async def _prepare(self, connection: Connection) -> None:
        if connection.get_server_version().major < _OLDEST_SERVER:
            raise ConfigError(f"PostgreSQL {_OLDEST_SERVER} or later is needed")
        table = await read_table(connection, self._wanted, self._names)
        self._use(table)
        await connection.execute("BEGIN")
        try:
            await _copy(connection, table, self._names, iter(()))
        finally:
            await connection.execute("ROLLBACK")

    def _use(self, table: Table) -> None:
        self._table = table
        self.encode = RowEncoder(table, unchecked=self._unchecked).encoder()

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
        table = self._table
        assert table is not None
        if self._has_changed:
            self._check_again(entries)
        try:
            connection = await self._connections.pool.acquire()
        except asyncio.CancelledError:
            return _each(entries, Retry(TimeoutError("no connection in time: nothing was sent")))
        except Exception as error:  # noqa: BLE001 - nothing was sent, whatever it is
            return await self._not_written(None, entries, bare(error), fault_of(error, len(entries), None), table)
        rows = iter(batch.payloads)
        try:
            async with broken_off_when_lost(connection):
                await connection.execute("BEGIN")
                await _copy(connection, table, self._names, rows)
                transaction = await self._transaction(connection, table)
        except asyncio.CancelledError:
            self._connections.close_soon(connection)
            return _each(entries, Retry(TimeoutError("given up before COMMIT was sent: nothing was written")))
        except Exception as error:  # noqa: BLE001 - nothing was committed, whatever it is
            # The row that was asked for last; none yet if all are left.
            left = length_hint(rows)
            fault = fault_of(error, len(entries), len(entries) - left - 1 if left < len(entries) else None)
            return await self._not_written(connection, entries, bare(error), fault, table)
        return await self._commit(connection, entries, transaction, table)

    def _check_again(self, entries: Sequence[Entry]) -> None:
        """Refuse a row that was accepted for another type of its column, which the client might bend in silence."""
        for index, entry in enumerate(entries):
            try:
                self.encode(entry.payload)
            except InvalidRecord as error:
                raise BatchRefused(index) from error

    async def _transaction(self, connection: Connection, table: Table) -> Transaction:
        """Return what identifies the transaction, if the columns still are what the rows were encoded for."""
        found = await connection.fetchrow(_XID, str(table.name), self._names)
        assert found is not None
        if found["shape"] != table.shape:
            raise ShapeChanged(f"a column of {table.name} was changed while rows for it were on their way")
        return Transaction(str(found["xid"]), connection.get_server_pid(), await self._connections.life(connection))

    async def _commit(
        self, connection: Connection, entries: Sequence[Entry], transaction: Transaction, table: Table
    ) -> Sequence[Verdict[PostgresReceipt]]:
        try:
            status = await connection.execute("COMMIT")
        except asyncio.CancelledError:
            error: Exception = TimeoutError("COMMIT was sent and not answered in time")
        except asyncpg.PostgresError as answer:
            error = bare(answer)
            if not is_fatal(answer) and not isinstance(answer, asyncpg.PostgresConnectionError):
                # Refused at COMMIT: a deferred constraint or a serialization conflict. The transaction is rolled back.
                return await self._not_written(connection, entries, error, fault_of(answer, len(entries), None), table)
        except Exception as lost:  # noqa: BLE001 - whatever it is, COMMIT may have been executed
            error = bare(lost)
        else:
            self._vain_readings = 0
            await self._connections.give_back(connection)
            if status == "COMMIT":
                return _delivered(entries)
            return _each(entries, Retry(RuntimeError(f"COMMIT was answered with {status}: nothing was written")))
        await self._connections.cut(connection)
        fate = await fate_of(self._connections.pool, transaction)
        if fate == "committed":
            return _delivered(entries)
        return _each(entries, Retry(error) if fate == "aborted" else Unknown(error))

    async def _not_written(
        self, connection: Connection | None, entries: Sequence[Entry], error: Exception, fault: Fault, table: Table
    ) -> Sequence[Verdict[PostgresReceipt]]:
        """Leave the transaction, if there is one, and say what its failure means for each entry."""
        if connection is not None:
            if fault.is_sound:
                self._connections.roll_back_soon(connection)
            else:
                await self._connections.cut(connection)
        if fault.kind == "row":
            raise BatchRefused(fault.suspect) from error
        try:
            return _each(entries, await self._answer_to(error, fault, table))
        except asyncio.CancelledError:
            return _each(entries, Retry(error))

    async def _answer_to(self, error: Exception, fault: Fault, table: Table) -> Retry | Rejected:
        """Say what becomes of entries that are not written for a reason that is not in a row."""
        if fault.kind in ("passing", "row"):
            return Retry(error, throttled=fault.throttled)
        try:
            async with self._connections.pool.acquire() as connection:
                read = await read_table(connection, self._wanted, self._names)
        except ConfigError as gone:
            gone.__cause__ = error
            return Rejected(gone)
        except Exception as unreadable:  # noqa: BLE001 - told below
            return Rejected(error) if fault.kind == "setup" else Retry(bare(unreadable))
        if read.shape != table.shape:
            # Before the new reading is used: whoever starts from it must not meet an encoding made for the old one.
            await self._connections.pool.expire_connections()
            self._vain_readings = 0
            self._has_changed = True
            self._use(read)
            return Retry(error)
        if fault.kind == "stale" and fault.suspect is not None:
            raise BatchRefused(fault.suspect) from error
        await self._connections.pool.expire_connections()
        self._vain_readings += 1
        if fault.kind == "setup" or self._vain_readings > 2 * self._most_in_flight:
            return Rejected(error)
        return Retry(error)


def _checked_names(columns: Sequence[str]) -> tuple[str, ...]:
    if isinstance(columns, str) or not columns:
        raise ConfigError("columns must be a sequence of at least one column's name")
    for column in columns:
        quote_ident(column)
    if len(set(columns)) < len(columns):
        raise ConfigError(f"columns name one twice: {', '.join(columns)}")
    return tuple(columns)


async def _copy(connection: Connection, table: Table, columns: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> None:
    name, count = table.name, length_hint(rows)
    status = await connection.copy_records_to_table(name.table, schema_name=name.schema, columns=columns, records=rows)
    if status != f"COPY {count}":
        raise RowsSkipped(f"{status} of {count} rows: a trigger on {name} leaves rows out")


def _not_open(_record: Any) -> Encoded:
    raise AssertionError("the core opens a destination before it encodes")


def _each(entries: Sequence[Entry], verdict: V) -> list[V]:
    return [verdict] * len(entries)


def _delivered(entries: Sequence[Entry]) -> list[Verdict[PostgresReceipt]]:
    verdicts: dict[int, Verdict[PostgresReceipt]]
    verdicts = {attempts: Delivered(PostgresReceipt(attempts=attempts)) for attempts in {e.attempts for e in entries}}
    if len(verdicts) == 1:
        return [*verdicts.values()] * len(entries)
    return [verdicts[entry.attempts] for entry in entries]
