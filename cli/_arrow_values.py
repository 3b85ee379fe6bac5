"""Arrow's values as Python's. Before: a record batch. After: the feed, which makes rows of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sinkwell.sinks._extras import needs_extra

with needs_extra("parquet", "reading Parquet and Arrow"):
    import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable

# What pyarrow raises for a value that Python can't hold.
_UNREADABLE: Final = (ValueError, OverflowError, KeyError, pa.ArrowException)


def values_of(batch: Any) -> tuple[list[tuple[Any, ...]], dict[int, str]]:
    """Give the rows of a record batch, and for each that has a value which Python can't hold, by its index, why."""
    problems: dict[int, str] = {}
    columns = [_column(array, name, problems) for array, name in zip(batch.columns, batch.schema.names, strict=True)]
    return ([*zip(*columns, strict=True)] if columns else []), problems


def _column(array: pa.Array[Any], name: str, problems: dict[int, str]) -> list[Any]:
    convert = _converter(array.type)
    try:
        return convert(array)
    except _UNREADABLE:
        return [_one(array, index, name, problems, convert) for index in range(len(array))]


def _one(
    array: pa.Array[Any], index: int, name: str, problems: dict[int, str], convert: Callable[[pa.Array[Any]], list[Any]]
) -> Any:
    try:
        return convert(array.slice(index, 1))[0]
    except _UNREADABLE as error:
        problems.setdefault(index, f"column {name!r} is {array.type}: {error}")
        return None


def _converter(kind: pa.DataType) -> Callable[[pa.Array[Any]], list[Any]]:
    """Choose how a column is read: times in microseconds, as PostgreSQL and Python have them, and in UTC."""
    exact = _in_microseconds(kind)
    if exact == kind:
        return _listed

    def convert(array: pa.Array[Any]) -> list[Any]:
        # Fails where digits would be lost.
        return _listed(array.cast(exact))

    return convert


def _in_microseconds(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us") if kind.tz is None else pa.timestamp("us", "UTC")
    if pa.types.is_time64(kind):
        return pa.time64("us")
    if pa.types.is_duration(kind):
        return pa.duration("us")
    if pa.types.is_large_list(kind):
        return pa.large_list(_in_microseconds(kind.value_type))
    if pa.types.is_list(kind):
        return pa.list_(_in_microseconds(kind.value_type))
    if pa.types.is_dictionary(kind):
        return _in_microseconds(kind.value_type)
    return kind


def _listed(array: pa.Array[Any]) -> list[Any]:
    return array.to_pylist(maps_as_pydicts="strict")
