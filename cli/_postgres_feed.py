"""Lines into rows of a table. Before: a format's reader. After: `PostgresSink`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic_settings import NoDecode

from sinkwell.core import ConfigError, InvalidRecord
from sinkwell.sinks.postgres import PostgresSettings, PostgresSink

from ._arrow_rows import ArrowReader
from ._cells import Convert, from_arrow, from_json, from_text
from ._csv import CsvReader
from ._ndjson import is_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._lines import Line
    from ._sinks import Setup


class _AnyColumns(PostgresSettings, env_prefix="SINKWELL_POSTGRES_"):
    """The sink's settings, but for the columns: the input may name them."""

    columns: Annotated[tuple[str, ...], NoDecode] = ()


class PostgresFeed:
    """Each line is a row; text and JSON values are turned into what the table's columns take."""

    def __init__(self, setup: Setup) -> None:
        settings = setup.load(_AnyColumns.load)
        self._nulls = setup.nulls
        self._reader = setup.reader
        # Chosen columns leave the input's other ones out; otherwise a key that the table does not know is refused.
        self._has_chosen = bool(settings.columns)
        self._names = settings.columns or _columns_of(setup)
        if isinstance(setup.reader, CsvReader):
            missing = [name for name in self._names if name not in (setup.reader.header or [])]
            if missing:
                raise ConfigError(f"the CSV's header has no column {', '.join(map(repr, missing))}")
        if isinstance(setup.reader, ArrowReader):
            missing = [name for name in self._names if name not in setup.reader.header]
            if missing:
                raise ConfigError(f"the file has no column {', '.join(map(repr, missing))}")
            setup.reader.choose(self._names)
        self.name = f"table {settings.table}"
        self.sink = PostgresSink(
            settings.dsn, settings.table, self._names, policy=settings.policy(), **settings.options()
        )

    def shape(self) -> Callable[[Line], Any]:
        """Give what makes a row of a line, by the columns' types in the table."""
        columns = self.sink.columns
        self._types = [column.type for column in columns]
        if isinstance(self._reader, CsvReader):
            places = [(self._reader.header or []).index(name) for name in self._names]
            converts = [from_text(column.base, column.element) or str for column in columns]
            self._cells = [*zip(places, converts, strict=True)]
            return self._row_of_cells
        if isinstance(self._reader, ArrowReader):
            self._converts = [from_arrow(column.base, column.element) or _same for column in columns]
            return self._row_of_values
        self._values = [
            (name, from_json(column.base, column.element) or _same)
            for name, column in zip(self._names, columns, strict=True)
        ]
        return self._row_of_object

    def _row_of_cells(self, line: Line) -> tuple[Any, ...]:
        cells, nulls = line.value, self._nulls
        try:
            return tuple([None if cells[at] in nulls else convert(cells[at]) for at, convert in self._cells])
        except (ValueError, OverflowError):
            given = (None if cells[at] in nulls else cells[at] for at, _ in self._cells)
            raise self._refusal(zip(given, (convert for _, convert in self._cells), strict=True)) from None

    def _row_of_values(self, line: Line) -> tuple[Any, ...]:
        found = [*zip(line.value, self._converts, strict=True)]
        try:
            return tuple([None if value is None else convert(value) for value, convert in found])
        except (ValueError, OverflowError):
            raise self._refusal(found) from None

    def _row_of_object(self, line: Line) -> tuple[Any, ...]:
        values = line.value
        if not is_object(values):
            raise InvalidRecord("a row must be a JSON object")
        if not self._has_chosen and not values.keys() <= set(self._names):
            unknown = ", ".join(repr(name) for name in values if name not in self._names)
            raise InvalidRecord(
                f"it has keys that the first record has not: {unknown}; name all columns with --columns"
            )
        found = [(values.get(name), convert) for name, convert in self._values]
        try:
            return tuple([None if value is None else convert(value) for value, convert in found])
        except (ValueError, OverflowError):
            raise self._refusal(found) from None

    def _refusal(self, row: Iterable[tuple[Any, Convert]]) -> InvalidRecord:
        """Find the value that can't be converted, one by one, and say what it is not."""
        for name, kind, (value, convert) in zip(self._names, self._types, row, strict=True):
            try:
                if value is not None:
                    convert(value)
            except (ValueError, OverflowError) as problem:
                return InvalidRecord(f"column {name!r} is {kind}, and the value {problem}")
        raise AssertionError("a conversion failed once and not again")


def _same(value: Any) -> Any:
    return value


def _columns_of(setup: Setup) -> tuple[str, ...]:
    if isinstance(setup.reader, CsvReader):
        if not setup.reader.header:
            raise ConfigError("the CSV is empty: its first line must name the columns")
        return tuple(setup.reader.header)
    if isinstance(setup.reader, ArrowReader):
        return tuple(setup.reader.header)
    if is_object(setup.first) and setup.first:
        return tuple(setup.first)
    raise ConfigError("the first record is not a JSON object that names columns: name them with --columns")
