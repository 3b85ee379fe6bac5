"""Lines into rows of a table. Before: a format's reader. After: `PostgresSink`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from pydantic_settings import NoDecode

from sinkwell.core import ConfigError, InvalidRecord
from sinkwell.sinks.postgres import PostgresSettings, PostgresSink

from ._cells import from_json, from_text
from ._csv import CsvReader
from ._ndjson import is_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._lines import Line
    from ._sinks import Setup


class _AnyColumns(PostgresSettings, env_prefix="SINKWELL_POSTGRES_"):
    """The sink's settings, but for the columns: the input may name them."""

    columns: Annotated[tuple[str, ...], NoDecode] = ()


class PostgresFeed:
    """Each line is a row; text and JSON values are turned into what the table's columns take."""

    def __init__(self, setup: Setup) -> None:
        settings = _AnyColumns.load(**setup.settings())  # type: ignore[arg-type]
        self._nulls = setup.nulls
        self._reader = setup.reader
        # Chosen columns leave the input's other ones out; otherwise a key that the table does not know is refused.
        self._has_chosen = bool(settings.columns)
        self._names = settings.columns or _columns_of(setup)
        if isinstance(setup.reader, CsvReader):
            missing = [name for name in self._names if name not in (setup.reader.header or [])]
            if missing:
                raise ConfigError(f"the CSV's header has no column {', '.join(map(repr, missing))}")
        self.name = f"table {settings.table}"
        self.sink = PostgresSink(settings.dsn, settings.table, self._names, tls=settings.tls, policy=settings.policy())

    def shape(self) -> Callable[[Line], Any]:
        """Give what makes a row of a line, by the columns' types in the table."""
        columns = self.sink.columns
        self._types = [column.type for column in columns]
        if isinstance(self._reader, CsvReader):
            header = self._reader.header or []
            self._places = [header.index(name) for name in self._names]
            self._converts = [from_text(column.base, column.element) for column in columns]
            return self._row_of_cells
        self._converts = [from_json(column.base, column.element) for column in columns]
        return self._row_of_object

    def _row_of_cells(self, line: Line) -> tuple[Any, ...]:
        cells, nulls = line.value, self._nulls
        row: list[Any] = []
        try:
            for place, convert in zip(self._places, self._converts, strict=True):
                cell = cells[place]
                if cell in nulls:
                    row.append(None)
                else:
                    row.append(cell if convert is None else convert(cell))
        except ValueError as problem:
            self._refuse(len(row), problem)
        return tuple(row)

    def _row_of_object(self, line: Line) -> tuple[Any, ...]:
        values = line.value
        if not is_object(values):
            raise InvalidRecord("a row must be a JSON object")
        if not self._has_chosen and not values.keys() <= set(self._names):
            unknown = ", ".join(repr(name) for name in values if name not in self._names)
            raise InvalidRecord(
                f"it has keys that the first record has not: {unknown}; name all columns with --columns"
            )
        row: list[Any] = []
        try:
            for name, convert in zip(self._names, self._converts, strict=True):
                value = values.get(name)
                row.append(value if convert is None or value is None else convert(value))
        except (ValueError, OverflowError) as problem:
            self._refuse(len(row), problem)
        return tuple(row)

    def _refuse(self, index: int, problem: Exception) -> NoReturn:
        raise InvalidRecord(f"column {self._names[index]!r} is {self._types[index]}, and the value {problem}") from None


def _columns_of(setup: Setup) -> tuple[str, ...]:
    if isinstance(setup.reader, CsvReader):
        return tuple(setup.reader.header or [])
    if is_object(setup.first) and setup.first:
        return tuple(setup.first)
    raise ConfigError("the first record is not a JSON object that names columns: name them with --columns")
