from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from sinkwell.cli._cells import from_json, from_text

NUMBER = "12345678-1234-5678-1234-567812345678"
TEXTS = [
    ("int4", "-17", -17),
    ("int8", " 9007199254740993 ", 9007199254740993),
    ("float8", "1e3", 1000.0),
    ("numeric", "0.10", Decimal("0.10")),
    ("bool", "T", True),
    ("bool", "off", False),
    ("date", "2013-01-31", date(2013, 1, 31)),
    ("time", "10:11:12.5", time(10, 11, 12, 500_000)),
    ("timestamp", "2013-01-31 10:00:00", datetime(2013, 1, 31, 10)),  # noqa: DTZ001 - the column has no zone
    ("timestamptz", "2013-01-31T10:00:00Z", datetime(2013, 1, 31, 10, tzinfo=UTC)),
    ("interval", "3 days 04:05:06", timedelta(days=3, hours=4, minutes=5, seconds=6)),
    ("interval", "-00:00:01.5", timedelta(seconds=-1.5)),
    ("uuid", NUMBER, UUID(NUMBER)),
    ("bytea", "\\x00ff", b"\x00\xff"),
    ("jsonb", '{"a": [1]}', '{"a": [1]}'),
]


@pytest.mark.parametrize(("base", "text", "value"), TEXTS)
def test_a_cell_becomes_what_its_column_takes(base: str, text: str, value: object) -> None:
    convert = from_text(base, None)
    assert convert is not None
    assert convert(text) == value


BAD = [
    ("int4", "1.0"), ("int4", "1_000"), ("int4", "٣"), ("int4", "NA"), ("float8", "1_0"), ("float8", "x"),
    ("numeric", "1_0"), ("numeric", "x"), ("bool", "2"), ("date", "31.01.2013"),
    ("timestamptz", "2013-02-31T10:00:00Z"),
    ("interval", "soon"), ("interval", " "), ("uuid", "7"), ("bytea", "00ff"), ("bytea", "\\xzz"), ("json", "{"),
]  # fmt: skip


@pytest.mark.parametrize(("base", "text"), BAD)
def test_a_cell_that_does_not_fit_is_refused_and_never_bent(base: str, text: str) -> None:
    convert = from_text(base, None)
    assert convert is not None
    with pytest.raises(ValueError, match=r"^is "):
        convert(text)


@pytest.mark.parametrize("base", ["text", "varchar", "citext", "enum", "inet"])
def test_text_goes_as_it_is(base: str) -> None:
    assert from_text(base, None) is None


JSON = [
    ("int4", 7, 7),
    ("int4", "7", 7),
    ("float8", Decimal("0.5"), 0.5),
    ("numeric", Decimal("0.50"), Decimal("0.50")),
    ("date", "2013-01-31", date(2013, 1, 31)),
    ("jsonb", {"a": Decimal("0.5"), "b": "é"}, '{"a": 0.5, "b": "é"}'),
    ("jsonb", "text", '"text"'),
]


@pytest.mark.parametrize(("base", "value", "expected"), JSON)
def test_a_json_value_becomes_what_its_column_takes(base: str, value: object, expected: object) -> None:
    convert = from_json(base, None)
    assert convert is not None
    assert convert(value) == expected


def test_an_array_is_a_json_list_also_in_a_cell() -> None:
    of_cell, of_json = from_text("_date", "date"), from_json("_int4", "int4")
    assert of_cell is not None
    assert of_json is not None
    assert of_cell('["2013-01-31", null]') == [date(2013, 1, 31), None]
    assert of_json([1, [2, "3"]]) == [1, [2, 3]]
    with pytest.raises(ValueError, match="is not a list"):
        of_json("1")
