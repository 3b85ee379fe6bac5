"""A table of the batches that were written: tells what became of a COMMIT where the server can't tell any more.

Before: a batch's transaction writes its number here too, so both are there or neither is, on whatever server the data
is now. After: `fate_of` looks for the number when the server no longer knows the transaction.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sinkwell.core import ConfigError

from ._extras import needs_extra
from ._postgres_table import parse_table_name

with needs_extra("postgres"):
    import asyncpg

if TYPE_CHECKING:
    from uuid import UUID

    from ._postgres_connect import Connection

# How often one sink looks for what may be forgotten.
_PRUNING_SECONDS: Final = 600.0
# A batch must be remembered while it may still be asked for: its number's age counts from its BEGIN, by the server's
# clock. So many times over, because either side may halt for a while.
_TIMES: Final = 10
# So many at once: else the first time, on an old ledger, would hold up a connection for long.
_PRUNED_AT_ONCE: Final = 10_000


@dataclass(slots=True, frozen=True)
class Ledger:
    """A table with a row for each batch, written in the batch's own transaction.

    Attributes:
        table: its name. The role needs SELECT, INSERT and DELETE on it.
        create: whether to make it at `open` if it is not there. Else it must be:
            `CREATE TABLE sinkwell_batches (batch uuid PRIMARY KEY, written_at timestamptz NOT NULL DEFAULT now())`
        keep: seconds after which a batch is forgotten. It is looked for at once, so an hour is long; less than ten
            times `policy.attempt_timeout` and `settle_timeout` together is refused.
    """

    table: str = "sinkwell_batches"
    create: bool = False
    keep: float = 86_400.0

    def __post_init__(self) -> None:
        parse_table_name(self.table)
        if not self.keep > 0:
            raise ConfigError(f"keep ({self.keep!r}) must be more than 0 seconds")

    def check(self, *, attempt_timeout: float, settle_timeout: float) -> None:
        """See that no batch is forgotten before it is asked for.

        Raises:
            ConfigError: `keep` is too short for that.
        """
        least = _TIMES * (attempt_timeout + settle_timeout)
        if self.keep < least:
            raise ConfigError(
                f"keep ({self.keep!r}) must be at least {least:g} seconds, {_TIMES} times attempt_timeout "
                f"({attempt_timeout!r}) and settle_timeout ({settle_timeout!r}) together, else the ledger may forget a "
                "batch before it is asked for: raise the ledger's keep, or lower these"
            )


class LedgerTable:
    """The ledger as SQL."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._name = name = str(parse_table_name(ledger.table))
        self.entering = f"WITH entered AS (INSERT INTO {name} (batch) VALUES ($3))"
        self._pruned_at = float("-inf")

    async def open(self, connection: Connection) -> None:
        """Make it, if that was asked for, and see that it can be used.

        Raises:
            ConfigError: it is not there.
        """
        name = self._name
        is_there = await connection.fetchval("SELECT pg_catalog.to_regclass($1) IS NOT NULL", name)
        columns = "(batch uuid PRIMARY KEY, written_at timestamptz NOT NULL DEFAULT pg_catalog.now())"
        if not is_there and not self._ledger.create:
            raise ConfigError(f"no ledger {name}: CREATE TABLE {name} {columns}, or use Ledger(create=True)")
        if not is_there:
            # Two that make it at once: IF NOT EXISTS looks before it waits, so the later one may fail.
            with suppress(asyncpg.UniqueViolationError, asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError):
                await connection.execute(f"CREATE TABLE IF NOT EXISTS {name} {columns}")
        await connection.execute(f"SELECT batch, written_at FROM {name} WHERE false")

    async def has(self, connection: Connection, batch: UUID) -> bool:
        """Tell whether a batch was written."""
        return bool(await connection.fetchval(f"SELECT EXISTS (SELECT FROM {self._name} WHERE batch = $1)", batch))

    def is_to_be_pruned(self) -> bool:
        """Tell whether it is time again; says so once."""
        now = asyncio.get_running_loop().time()
        if now < self._pruned_at + _PRUNING_SECONDS:
            return False
        self._pruned_at = now
        return True

    async def prune(self, connection: Connection) -> None:
        """Forget old batches; those that another sink is just forgetting are left to it."""
        await connection.execute(
            f"""DELETE FROM {self._name} WHERE batch IN (
                SELECT batch FROM {self._name} WHERE written_at < pg_catalog.now() - $1::float8 * interval '1 second'
                LIMIT {_PRUNED_AT_ONCE} FOR UPDATE SKIP LOCKED)""",
            self._ledger.keep,
        )
