"""PostgreSQL: binary `COPY` into one table, each batch a transaction of its own. See docs/sinks/postgres.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from sinkwell.core import Adaptive, ConfigError, Policy, Sink

from ._extras import needs_extra

with needs_extra("postgres"):
    from pydantic import SecretStr, field_validator
    from pydantic_settings import NoDecode

    from ._postgres_connect import Dsn
    from ._postgres_destination import PostgresDestination, PostgresReceipt
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

    Row: TypeAlias = Sequence[object] | Mapping[str, object] | DataclassInstance

__all__ = ["Column", "PostgresReceipt", "PostgresSink"]


class PostgresSink(Sink["Row", PostgresReceipt]):
    """Copy rows into a table.

    A row is a tuple or list in the columns' order, or a dict or dataclass with exactly the columns as its names.

    ```python
    async with PostgresSink("postgresql://writer@db/app", "audit.events", ["id", "at", "what"]) as sink:
        receipt = await sink.put((1, datetime.now(UTC), "signed in"))
    ```

    Args:
        dsn: `postgresql://user:password@host/database`; `None` if there is a `pool`.
        table: `events`, `audit.events` or `"My Schema"."my.events"`; case counts as written.
        columns: the columns that every row has values for. The others get their defaults.
        pool: an asyncpg pool of your own, which stays open afterwards. It should have room for one connection more
            than `policy.concurrency`.
        tls: an `ssl.SSLContext`, or `"off"`. Default: what the dsn's `sslmode` says, else verified, host name
            included, unless the server is on this machine.
        policy: limits, timing, concurrency, retries.
        dead_letter: gets what ended without a receipt.
        observer: sees what happens.

    Raises:
        ConfigError: a name can't be one, or the dsn can't be read.
    """

    def __init__(
        self,
        dsn: str | SecretStr | None,
        table: str,
        columns: Sequence[str],
        *,
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
        policy = policy or Policy()
        concurrency = policy.concurrency
        destination = PostgresDestination(
            secret,
            table,
            columns,
            pool=pool,
            tls=False if tls == "off" else tls,
            most_in_flight=concurrency.maximum if isinstance(concurrency, Adaptive) else concurrency,
            timeout=policy.attempt_timeout,
        )
        self._rows = destination
        super().__init__(destination, policy, dead_letter=dead_letter, observer=observer)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns that rows have values for, with their types as the catalog tells them; none before `open`."""
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
            tls=settings.tls,
            policy=policy or settings.policy(),
            dead_letter=dead_letter,
            observer=observer,
        )


class PostgresSettings(PolicySettings, env_prefix="SINKWELL_POSTGRES_"):
    """The variables of `PostgresSink.from_env`."""

    dsn: SecretStr
    table: str
    columns: Annotated[tuple[str, ...], NoDecode]
    """Names, separated by commas."""
    tls: Literal["off"] | None = None

    @field_validator("columns", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value
