"""What `put` accepts for which column, and that what it accepts is what is stored."""

from __future__ import annotations

import enum
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Delivered, Encoded, InvalidRecord
from sinkwell.sinks._postgres_plain import _PLAIN
from sinkwell.sinks._postgres_rows import RowEncoder
from sinkwell.sinks._postgres_table import Column, Table, TableName

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sinks.postgres.conftest import Table as TestTable


class Size(enum.StrEnum):
    SMALL = "small"


class Level(enum.IntEnum):
    HIGH = 3


class Nowhere(tzinfo):
    def utcoffset(self, when: datetime | None) -> None:
        return None


NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=timezone(timedelta(hours=2)))

STORED: list[tuple[str, Any]] = [
    ("bool", True),
    ("int2", -32_768),
    ("int4", 2_147_483_647),
    ("int4", Level.HIGH),
    ("int8", -(2**63)),
    ("oid", 2**32 - 1),
    ("float4", 1.5),
    ("float8", 1),
    ("float8", float("inf")),
    ("numeric", Decimal("1.10")),
    ("numeric", 10**40),
    ("text", "snow ☃ and \n more"),
    ("text", Size.SMALL),
    ("varchar(5)", "abcde"),
    ("jsonb", '{"a": 1}'),
    ("json", "[1]"),
    ("bytea", b"\0\xff"),
    ("bytea", bytearray(b"ab")),
    ("uuid", uuid.UUID(int=7)),
    ("date", date(2026, 1, 2)),
    ("time", time(1, 2, 3)),
    ("timetz", time(1, 2, 3, tzinfo=UTC)),
    ("timestamp", datetime(2026, 1, 2, 3, 4, 5)),  # noqa: DTZ001 - that is the column's nature
    ("timestamptz", NOW),
    ("interval", timedelta(days=1, microseconds=1)),
    ("inet", ip_address("10.0.0.1")),
    ("int4[]", [1, None, 3]),
    ("int4[]", [[1, 2], [3, 4]]),
    ("text[]", ["a", "☃"]),
    ("text", None),
]

REFUSED: list[tuple[str, Any, str]] = [
    ("int4", 1.9, "float"),
    ("int4", Decimal("1.9"), "Decimal"),
    ("int4", True, "bool"),
    ("int8", "1", "str"),
    ("int2", 32_768, "outside"),
    ("int4", -(2**31) - 1, "outside"),
    ("int8", 2**63, "outside"),
    ("oid", -1, "outside"),
    ("bool", 1, "int"),
    ("float8", True, "bool"),
    ("float8", Decimal("1.1"), "Decimal"),
    ("float8", 2**53 + 1, "exactly"),
    ("float4", 1e39, "too large"),
    ("numeric", 1.1, "float"),
    ("numeric", "1.1", "str"),
    ("text", b"bytes", "bytes"),
    ("text", 5, "int"),
    ("text", "a\0b", "NUL"),
    ("text", "\ud800", "surrogate"),
    ("json", {"a": b"c4nary\xff"}, "JSON"),
    ("jsonb", {"a": object()}, "object"),
    ("jsonb", b"{}", "bytes"),
    ("inet", "10.0.0.256", "IP address"),
    ("inet", 5, "int"),
    ("cidr", "10.0.0.1/24", "mask"),
    ("tstzrange", (datetime(2026, 1, 1), None), "bound that has no time zone"),  # noqa: DTZ001 - that is the mistake
    ("int4range", (1.9, 5), "float in a bound"),
    ("int4range", (1, 2, 3), "two bounds"),
    ("int4range", 5, "int"),
    ("bytea", "text", "str"),
    ("uuid", "not one", "UUID"),
    ("date", NOW, "datetime"),
    ("date", "2026-01-01", "str"),
    ("time", time(1, tzinfo=UTC), "has a time zone"),
    ("timetz", time(1), "no fixed time zone"),
    ("timestamp", NOW, "has a time zone"),
    ("timestamp", date(2026, 1, 1), "date"),
    ("timestamptz", datetime(2026, 1, 1), "no time zone"),  # noqa: DTZ001 - that is the mistake
    ("timestamptz", datetime(2026, 1, 1, tzinfo=Nowhere()), "no time zone"),
    ("interval", 5, "int"),
    ("int4[]", [1, 1.9], "float"),
    ("int4[]", [[2**31]], "outside"),
    ("int4[]", 5, "int"),
]


def row_encoder(*types: str, nullable: bool = True) -> RowEncoder:
    columns = tuple(Column(name, kind, kind, None, nullable) for name, kind in zip("abcdef", types, strict=False))
    return RowEncoder(Table(TableName("s", "t"), columns, ""))


def encoder(*types: str, nullable: bool = True) -> Callable[[Any], Encoded]:
    return row_encoder(*types, nullable=nullable).encoder()


@pytest.mark.parametrize(("kind", "value"), STORED)
async def test_what_is_accepted_is_stored_as_it_is(kind: str, value: Any, table: TestTable, make_batch: Any) -> None:
    await table.make(f"value {kind}")
    destination = await table.open("value")
    [verdict] = await destination.write(make_batch(destination, [(value,)]))
    assert isinstance(verdict, Delivered)
    assert await table.db.fetchval("SELECT value FROM events") == value


@pytest.mark.parametrize(("kind", "value", "why"), REFUSED)
async def test_what_would_fail_or_change_in_silence_is_refused_at_put(
    kind: str, value: Any, why: str, table: TestTable
) -> None:
    await table.make(f"value {kind}")
    destination = await table.open("value")
    with pytest.raises(InvalidRecord, match=why) as caught:
        destination.encode((value,))
    assert "'value'" in str(caught.value)
    assert repr(value) not in str(caught.value)


@pytest.mark.parametrize("kind", sorted({*_PLAIN, "inet", "int4[]"}))
@pytest.mark.parametrize("nullable", [True, False])
def test_a_tables_own_function_says_of_every_value_what_the_general_one_says(kind: str, nullable: bool) -> None:
    values = [case[1] for case in (*STORED, *REFUSED)]
    values += [*(1 << bits for bits in range(130)), *(-(1 << bits) - 1 for bits in range(130)), 3.3e38, float("nan")]
    rows = row_encoder("int4", kind, "text", nullable=nullable)
    encode, general = rows.encoder(), rows._checked()
    for value in values:
        for row in ((1, value, "é"), (None, value, "é"), (1, value), (1, value, "\ud800"), (1, value, "\0")):
            assert said(encode, row) == said(general, row)


def said(encode: Callable[[Any], Encoded], row: Any) -> tuple[str, object, object]:
    try:
        encoded = encode(row)
    except InvalidRecord as refused:
        return (str(refused), refused.__cause__, refused.__suppress_context__)
    return ("taken", encoded.payload, encoded.size)


async def test_a_domain_follows_its_base_types_rule_and_its_own_not_null(table: TestTable) -> None:
    await table.db.execute("CREATE DOMAIN small AS int2 NOT NULL; CREATE DOMAIN smaller AS small CHECK (value < 9)")
    await table.make("value smaller")
    destination = await table.open("value")
    with pytest.raises(InvalidRecord, match="float"):
        destination.encode((1.5,))
    with pytest.raises(InvalidRecord, match="NOT NULL"):
        destination.encode((None,))


async def test_an_enum_takes_text(table: TestTable, make_batch: Any) -> None:
    await table.db.execute("CREATE TYPE size AS ENUM ('small', 'large')")
    await table.make("value size")
    destination = await table.open("value")
    assert isinstance((await destination.write(make_batch(destination, [("small",)])))[0], Delivered)
    with pytest.raises(InvalidRecord, match="int"):
        destination.encode((5,))


def test_none_is_refused_where_the_column_is_not_null() -> None:
    with pytest.raises(InvalidRecord, match="column 'b' is NOT NULL"):
        encoder("int4", "text", nullable=False)((1, None))


@pytest.mark.parametrize("row", [(1,), (1, "x", "extra"), [], ()])
def test_a_row_of_another_length_is_refused(row: Any) -> None:
    with pytest.raises(InvalidRecord, match=f"{len(row)} values for 2 columns"):
        encoder("int4", "text")(row)


@dataclass
class Pair:
    b: str
    a: int


@dataclass
class Triple(Pair):
    c: int = 0


@dataclass
class Half:
    a: int


@pytest.mark.parametrize("row", [(1, "x"), [1, "x"], {"b": "x", "a": 1}, OrderedDict(a=1, b="x"), Pair("x", 1)])
def test_every_form_of_row_gives_the_same_tuple(row: Any) -> None:
    assert encoder("int4", "text")(row).payload == (1, "x")


def test_a_single_column_is_a_tuple_too() -> None:
    assert encoder("int4")({"a": 1}).payload == (1,)
    assert encoder("int4")(Half(1)).payload == (1,)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"a": 1}, "no value for column 'b'"),
        ({"a": 1, "c": 2}, "no value for column 'b'"),
        ({"a": 1, "b": "x", "c": 2}, "no column takes: 'c'"),
        (Half(1), "Half has no value for column 'b'"),
        (Triple("x", 1), "Triple has values that no column takes: 'c'"),
        ("ab", "and not str"),
        (5, "and not int"),
        (Pair, "and not type"),
    ],
)
def test_names_that_are_not_exactly_the_columns_are_told(row: Any, why: str) -> None:
    with pytest.raises(InvalidRecord, match=why):
        encoder("int4", "text")(row)


def test_a_buffer_that_changes_after_put_does_not_change_the_row() -> None:
    buffer = bytearray(b"before")
    encoded = encoder("bytea")((buffer,))
    buffer[:] = b"later!"
    assert encoded.payload == (b"before",)


def test_the_size_is_that_of_copy() -> None:
    row = (1, "☃☃", 1.5, None, b"123")
    assert encoder("int4", "text", "float8", "int8", "bytea")(row).size == 2 + 5 * 4 + 4 + 6 + 8 + 0 + 3


def test_many_combinations_of_types_do_not_grow_without_bound() -> None:
    rows = row_encoder(*["int4"] * 6)
    encode = rows.encoder()
    for kind in [type(f"Int{n}", (int,), {}) for n in range(2_000)]:
        encode((kind(1), 1, 1, 1, 1, 1))
    assert len(rows._plans) <= 1_000


async def test_text_that_is_too_long_is_pointed_at_by_the_server(table: TestTable, make_batch: Any) -> None:
    await table.make("value varchar(3)")
    destination = await table.open("value")
    with pytest.raises(Exception, match="refused the batch") as caught:
        await destination.write(make_batch(destination, [("abc",), ("abcd",)]))
    assert caught.value.suspect == 1  # type: ignore[attr-defined]
