"""PostgreSQL: binary `COPY` into tables, each batch a transaction of its own. See docs/sinks/postgres.md."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypedDict

from sinkwell.core import Adaptive, ConfigError, Policy, Sink

from ._extras import needs_extra

with needs_extra("postgres"):
    from pydantic import SecretStr, ValidationInfo, field_validator
    from pydantic_settings import NoDecode

    from ._postgres_connect import Dsn
    from ._postgres_destination import PostgresDestination
    from ._postgres_fate import SECONDS
    from ._postgres_ledger import Ledger
    from ._postgres_receipt import PostgresReceipt
    from ._postgres_spec import PostgresTable, Row
    from ._postgres_table import Column
    from ._settings import PolicySettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from _typeshed import DataclassInstance

    from sinkwell.core import DeadLetterTarget, Observer

    from ._postgres_connect import Pool
    from ._postgres_spec import Mode

    AnyRow: TypeAlias = Row | Sequence[object] | Mapping[str, object] | DataclassInstance

__all__ = ["Column", "Ledger", "PostgresReceipt", "PostgresSink", "PostgresTable", "Row"]


class PostgresSink(Sink["AnyRow", PostgresReceipt]):
    """Copy rows into a table, or into several.

    A row is a tuple or list in the columns' order, or a dict or dataclass with exactly the columns as its names;
    `Row(values, table=...)` says which of several tables it is for.

    ```python
    async with PostgresSink("postgresql://writer@db/app", "audit.events", ["id", "at", "what"]) as sink:
        receipt = await sink.put((1, datetime.now(UTC), "signed in"))
    ```

    Args:
        dsn: `postgresql://user:password@host/database`; `None` if there is a `pool`.
        table, columns, mode, conflict_columns, merge_columns, returning: a table, and how rows get into it: what
            `PostgresTable` tells of them.
        more_tables: tables besides this one, each with batches of its own.
        ledger: a table that remembers each batch, by name or as a `Ledger`: what became of an interrupted COMMIT can
            then be told also after a crash or a failover.
        settle_timeout: seconds for finding out what became of an interrupted COMMIT. A failover takes longer than the
            usual two.
        pool: an asyncpg pool of your own, which stays open afterwards. It should have room for one connection more
            than `policy.concurrency`.
        tls: an `ssl.SSLContext`, or `"off"`. Default: what the dsn's `sslmode` says, else verified, host name
            included, unless the server is on this machine.
        policy: limits, timing, concurrency, retries.
        dead_letter: gets what ended without a receipt.
        observer: sees what happens.

    Raises:
        ConfigError: a name can't be one, the dsn can't be read, or the ledger would forget a batch too soon.
    """

    def __init__(
        self,
        dsn: str | SecretStr | None,
        table: str,
        columns: Sequence[str],
        *,
        mode: Mode = "insert",
        conflict_columns: Sequence[str] = (),
        merge_columns: Sequence[str] | None = None,
        returning: Sequence[str] = (),
        more_tables: Sequence[PostgresTable] = (),
        ledger: str | Ledger | None = None,
        settle_timeout: float | None = None,
        pool: Pool | None = None,
        tls: ssl.SSLContext | Literal["off"] | None = None,
        policy: Policy | None = None,
        dead_letter: DeadLetterTarget | None = None,
        observer: Observer | None = None,
    ) -> None:
        # From here on no variable holds the password in clear: a traceback may show them all.
        secret = None if dsn is None else Dsn(dsn)
        del dsn
        if (secret is None) == (pool is None):
            raise ConfigError("PostgresSink needs a dsn or a pool, and not both")
        problem = None if secret is None else secret.problem()
        if problem is not None:
            raise ConfigError(problem)
        if settle_timeout is not None and not 0 < settle_timeout < math.inf:
            raise ConfigError(f"settle_timeout ({settle_timeout!r}) must be a number of seconds above 0")
        policy = policy or Policy()
        ledger = Ledger(ledger) if isinstance(ledger, str) else ledger
        if ledger is not None:
            ledger.check(attempt_timeout=policy.attempt_timeout, settle_timeout=settle_timeout or SECONDS)
        concurrency = policy.concurrency
        destination = PostgresDestination(
            secret,
            PostgresTable(table, columns, mode, conflict_columns, merge_columns, returning),
            *more_tables,
            ledger=ledger,
            settle_timeout=settle_timeout,
            pool=pool,
            tls=False if tls == "off" else tls,
            most_in_flight=concurrency.maximum if isinstance(concurrency, Adaptive) else concurrency,
            timeout=policy.attempt_timeout,
        )
        self._rows = destination
        super().__init__(destination, policy, dead_letter=dead_letter, observer=observer)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of `table`, in a row's order, with their types as the catalog tells them; none before `open`."""
        return self._rows.columns

    @classmethod
    def from_env(
        cls,
        env_file: str | Path | None = ".env",
        *,
        table: str | None = None,
        columns: Sequence[str] | None = None,
        policy: Policy | None = None,
        dead_letter: DeadLetterTarget | None = None,
        observer: Observer | None = None,
    ) -> Self:
        """Make a sink from `SINKWELL_POSTGRES_DSN`, `_TABLE`, `_COLUMNS` (by commas), `_LINGER`, and so on.

        Arguments count before variables; a `policy` replaces all of the policy's.

        Raises:
            ConfigError: a variable is missing, unknown, empty or wrong.
        """
        settings = PostgresSettings.load(env_file, table=table, columns=columns)
        return cls(
            settings.dsn,
            settings.table,
            settings.columns,
            **settings.options(),
            policy=policy or settings.policy(),
            dead_letter=dead_letter,
            observer=observer,
        )


class SinkOptions(TypedDict):
    """What `PostgresSink` takes by the names of variables."""

    mode: Mode
    conflict_columns: Sequence[str]
    merge_columns: Sequence[str] | None
    returning: Sequence[str]
    ledger: str | None
    settle_timeout: float | None
    tls: Literal["off"] | None


class PostgresSettings(PolicySettings, env_prefix="SINKWELL_POSTGRES_"):
    """The variables of `PostgresSink.from_env`."""

    dsn: SecretStr
    table: str
    columns: Annotated[tuple[str, ...], NoDecode]
    """Names, separated by commas, as in those below."""
    mode: Literal["insert", "upsert"] = "insert"
    conflict_columns: Annotated[tuple[str, ...], NoDecode] = ()
    merge_columns: Annotated[tuple[str, ...] | None, NoDecode] = None
    """`none` keeps the row that is there."""
    returning: Annotated[tuple[str, ...], NoDecode] = ()
    ledger: str | None = None
    settle_timeout: float | None = None
    tls: Literal["off"] | None = None

    def options(self) -> SinkOptions:
        """Return what else `PostgresSink` takes by these names."""
        return {
            "mode": self.mode,
            "conflict_columns": self.conflict_columns,
            "merge_columns": self.merge_columns,
            "returning": self.returning,
            "ledger": self.ledger,
            "settle_timeout": self.settle_timeout,
            "tls": self.tls,
        }

    @field_validator("columns", "conflict_columns", "merge_columns", "returning", mode="before")
    @classmethod
    def _split(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name == "merge_columns" and value == "none":
            return ()
        return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value
