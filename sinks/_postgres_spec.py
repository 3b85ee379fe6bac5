"""What is asked of a table, and a row that says which table it is for. Before: the user. After: the destination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sinkwell.core import ConfigError

from ._postgres_table import parse_table_name, quote_ident

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Mode: TypeAlias = Literal["insert", "upsert"]


@dataclass(slots=True, frozen=True)
class PostgresTable:
    """A table, and how rows get into it.

    Attributes:
        name: `events`, `audit.events` or `"My Schema"."my.events"`; case counts as written.
        columns: the columns that every row has values for. The others get their defaults.
        mode: `"insert"` adds each row; `"upsert"` lets a row take the place of the one with the same key.
        conflict_columns: for `"upsert"`: the columns of the unique constraint that tells which rows are the same.
        merge_columns: for `"upsert"`: what a row writes where its key is there already. Default: all but the key; with
            `()` the row that is there is kept as it is.
        returning: columns that the receipt tells: identities, defaults, whatever the server made of the row.

    Raises:
        ConfigError: a name can't be one, or they contradict each other.
    """

    name: str
    columns: Sequence[str]
    mode: Literal["insert", "upsert"] = "insert"
    conflict_columns: Sequence[str] = ()
    merge_columns: Sequence[str] | None = None
    returning: Sequence[str] = ()

    def __post_init__(self) -> None:
        parse_table_name(self.name)
        if isinstance(self.columns, str) or not self.columns:
            raise ConfigError("columns must be a sequence of at least one column's name")
        for field in ("columns", "conflict_columns", "merge_columns", "returning"):
            names = getattr(self, field)
            if names is not None:
                object.__setattr__(self, field, _names(field, names))
        if self.mode == "upsert":
            self._check_upsert()
        elif self.mode != "insert":
            raise ConfigError(f'mode ({self.mode!r}) must be "insert" or "upsert"')
        elif self.conflict_columns or self.merge_columns is not None:
            raise ConfigError('conflict_columns and merge_columns are for mode="upsert"')

    def _check_upsert(self) -> None:
        if not self.conflict_columns:
            raise ConfigError('mode="upsert" needs conflict_columns: those of a primary key or unique constraint')
        _require_within("conflict_columns", self.conflict_columns, self.columns)
        rest = [name for name in self.columns if name not in self.conflict_columns]
        if self.merge_columns is not None:
            _require_within("merge_columns", self.merge_columns, rest)

    @property
    def merged(self) -> tuple[str, ...]:
        """What an upsert writes where the key is there already; nothing if that row is to be kept."""
        if self.merge_columns is not None:
            return tuple(self.merge_columns)
        return tuple(name for name in self.columns if name not in self.conflict_columns)

    @property
    def is_staged(self) -> bool:
        """Whether rows go through a temporary table; COPY alone can neither merge nor tell what it made."""
        return self.mode == "upsert" or bool(self.returning)


@dataclass(slots=True, frozen=True)
class Row:
    """A row for one of several tables.

    Attributes:
        values: a tuple, list, dict or dataclass, as the table's columns ask for.
        table: the table's name as it was given to the sink; `None` for the sink's first.
    """

    values: Any
    table: str | None = None


def _names(field: str, names: Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ConfigError(f"{field} must be a sequence of names, not one text")
    for name in names:
        quote_ident(name)
    if len(set(names)) < len(names):
        raise ConfigError(f"{field} name one twice: {', '.join(names)}")
    return tuple(names)


def _require_within(field: str, names: Sequence[str], columns: Sequence[str]) -> None:
    strange = [name for name in names if name not in columns]
    if strange:
        raise ConfigError(f"{field} name {', '.join(map(repr, strange))}, which a row has no value to merge for")
