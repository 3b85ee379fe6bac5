"""Values that hold others: JSON from objects, ranges, composites, arrays of these; all of it is checked."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from pydantic import BaseModel

from sinkwell.core import ConfigError, Delivered, InvalidRecord
from sinkwell.sinks.postgres import PostgresSink

if TYPE_CHECKING:
    from tests.sinks.postgres.conftest import Table

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Order(BaseModel):
    number: int
    at: datetime


@dataclass
class Place:
    name: str | None
    at: datetime
    sizes: list[int]


async def value_of(table: Table, make_batch: Any, kind: str, value: Any, **options: Any) -> Any:
    """Write the value into a column of the type, and read it back."""
    await table.make(f"id int8 PRIMARY KEY, value {kind}")
    destination = await table.open("id", "value", **options)
    [verdict] = await destination.write(make_batch(destination, [(1, value)]))
    assert isinstance(verdict, Delivered)
    return await table.db.fetchval("SELECT value FROM events")


@pytest.fixture
async def place(table: Table) -> str:
    await table.db.execute("CREATE TYPE place AS (name text, at timestamptz, sizes int[])")
    return "place"


@pytest.mark.parametrize("kind", ["json", "jsonb"])
@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ({"a": [1, None, "☃"]}, {"a": [1, None, "☃"]}),
        ([1, 2.5], [1, 2.5]),
        (7, 7),
        (False, False),
        ('{"already": "text"}', {"already": "text"}),
        ({"id": UUID(int=7), "at": NOW}, {"id": str(UUID(int=7)), "at": "2026-01-02T00:00:00Z"}),
        (Order(number=1, at=NOW), {"number": 1, "at": "2026-01-02T00:00:00Z"}),
        (Place("x", NOW, [1]), {"name": "x", "at": "2026-01-02T00:00:00Z", "sizes": [1]}),
    ],
)
async def test_json_is_made_of_objects(kind: str, value: Any, stored: Any, table: Table, make_batch: Any) -> None:
    assert json.loads(await value_of(table, make_batch, kind, value)) == stored


async def test_an_object_changed_after_put_is_stored_as_it_was(table: Table, make_batch: Any) -> None:
    await table.make("id int8, value jsonb")
    destination = await table.open("id", "value")
    value = {"a": 1}
    batch = make_batch(destination, [(1, value)])
    value["a"] = 2
    await destination.write(batch)
    assert json.loads(await table.db.fetchval("SELECT value FROM events")) == {"a": 1}


async def test_an_array_of_json_is_made_of_objects(table: Table, make_batch: Any) -> None:
    stored = await value_of(table, make_batch, "jsonb[]", [{"a": 1}, None, "[2]"])
    assert [item and json.loads(item) for item in stored] == [{"a": 1}, None, [2]]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int4range", asyncpg.Range(1, 5)),
        ("tstzrange", asyncpg.Range(NOW, None)),
        ("numrange", asyncpg.Range(Decimal("1.5"), 7)),
        ("daterange", asyncpg.Range(empty=True)),
        ("int4range[]", [asyncpg.Range(1, 5), None]),
        ("cidr", ip_network("10.0.0.0/8")),
        ("tsrange", asyncpg.Range(datetime(2026, 1, 1), None)),  # noqa: DTZ001 - that is the column's nature
    ],
)
async def test_ranges_and_networks_are_stored_as_they_are(kind: str, value: Any, table: Table, make_batch: Any) -> None:
    assert await value_of(table, make_batch, kind, value) == value


@pytest.mark.parametrize(
    "value",
    [
        ("x", NOW, [1, 2]),
        {"sizes": [1, 2], "name": "x", "at": NOW},
        Place("x", NOW, [1, 2]),
    ],
)
@pytest.mark.parametrize("options", [{}, {"mode": "upsert", "conflict_columns": ["id"]}])
async def test_a_composite_is_a_tuple_a_dict_or_a_dataclass(
    options: Any, value: Any, place: str, table: Table, make_batch: Any
) -> None:
    assert tuple(await value_of(table, make_batch, place, value, **options)) == ("x", NOW, [1, 2])


async def test_an_array_of_composites(place: str, table: Table, make_batch: Any) -> None:
    stored = await value_of(table, make_batch, "place[]", [("x", NOW, [1]), None, Place(None, NOW, [])])
    assert [item and tuple(item) for item in stored] == [("x", NOW, [1]), None, (None, NOW, [])]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (("x", datetime(2026, 1, 1), []), "part 'at' that has no time zone"),  # noqa: DTZ001 - that is the mistake
        (("x", NOW, [1.9]), "part 'sizes' that has float"),
        (("x", NOW), "2 values for 3 parts"),
        ({"name": "x"}, "other names"),
        ((5, NOW, []), "int in part 'name'"),
        (5, "int"),
    ],
)
@pytest.mark.parametrize("kind", ["place", "place[]"])
async def test_what_is_wrong_inside_a_composite_is_told_at_put(
    kind: str, value: Any, why: str, place: str, table: Table
) -> None:
    await table.make(f"value {kind}")
    destination = await table.open("value")
    with pytest.raises(InvalidRecord, match=why) as caught:
        destination.encode(([value] if kind.endswith("[]") else value,))
    assert "'value'" in str(caught.value)


async def test_a_type_of_an_extension_goes_through_a_pool_that_knows_it(table: Table) -> None:
    # As pgvector's: the sink knows nothing of the type, the pool's codec does.
    async def teach(connection: asyncpg.Connection) -> None:
        await connection.set_type_codec("vec", schema=table.schema, encoder=packed, decoder=unpacked, format="binary")

    # A type that asyncpg does not know, with the binary form of bytea.
    await table.db.execute("""CREATE TYPE vec;
        CREATE FUNCTION vec_in(cstring) RETURNS vec LANGUAGE internal IMMUTABLE STRICT AS 'byteain';
        CREATE FUNCTION vec_out(vec) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'byteaout';
        CREATE FUNCTION vec_recv(internal) RETURNS vec LANGUAGE internal IMMUTABLE STRICT AS 'bytearecv';
        CREATE FUNCTION vec_send(vec) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'byteasend';
        CREATE TYPE vec (INPUT = vec_in, OUTPUT = vec_out, RECEIVE = vec_recv, SEND = vec_send)""")
    await table.make("id int8 PRIMARY KEY, value vec")
    async with asyncpg.create_pool(table.dsn, min_size=1, max_size=2, init=teach) as pool:
        for options in ({}, {"mode": "upsert", "conflict_columns": ["id"], "returning": ["value"]}):
            async with PostgresSink(None, table.name, ["id", "value"], pool=pool, **options) as sink:  # type: ignore[arg-type]
                receipt = await sink.put((len(options), [1.5, -2.0]))
        assert receipt.returned == {"value": [1.5, -2.0]}
        assert await pool.fetchval(f"SELECT value FROM {table.name} WHERE id = 0") == [1.5, -2.0]


def packed(values: list[float]) -> bytes:
    return struct.pack(f">{len(values)}f", *values)


def unpacked(data: bytes) -> list[float]:
    return [*struct.unpack(f">{len(data) // 4}f", data)]


async def test_a_type_that_the_client_does_not_know_is_told_at_open(table: Table) -> None:
    await table.db.execute(
        "CREATE TYPE vec; CREATE FUNCTION vec_in(cstring) RETURNS vec LANGUAGE internal STRICT "
        "AS 'byteain'; CREATE FUNCTION vec_out(vec) RETURNS cstring LANGUAGE internal STRICT AS 'byteaout'; "
        "CREATE TYPE vec (INPUT = vec_in, OUTPUT = vec_out)"
    )
    await table.make("id int8, value vec")
    with pytest.raises(ConfigError, match="vec"):
        await table.open("id", "value")
