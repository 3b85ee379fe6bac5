"""Parquet and Arrow files into PostgreSQL: by columns, in bounded memory, each row accounted for."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import pytest
from pyarrow import feather, ipc, parquet

from sinkwell.cli._arrow import ArrowInput

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command, Query

TO_T = ("--sink", "postgres", "--table", "cli.t", "--no-progress")
DEAD = ("--dead-letters", "dead.ndjson")


def write(table: Any, path: Path) -> None:
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    elif path.suffix == ".feather":
        feather.write_feather(table, str(path))
    else:
        with ipc.new_file(str(path), table.schema) as file:
            file.write_table(table)


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.feather"])
async def test_every_type_arrives_as_it_was(name: str, command: Command, query: Query) -> None:
    await query("""CREATE TABLE t (id int4, at timestamptz, at_home timestamp, price numeric, tags text[], nested jsonb,
        raw bytea, kind text, day date, took interval, key uuid, share float8, wide json)""")
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    key = UUID("12345678-1234-5678-1234-567812345678")
    row = {
        "id": pa.array([1, None], pa.int64()),
        "at": pa.array([at, None], pa.timestamp("ns", "Europe/Berlin")),
        "at_home": pa.array([at.replace(tzinfo=None), None], pa.timestamp("us")),
        "price": pa.array([Decimal("1.10"), None], pa.decimal128(10, 2)),
        "tags": pa.array([["a", None], None], pa.list_(pa.string())),
        "nested": pa.array([{"a": [1], "b": "x"}, None]),
        "raw": pa.array([b"\0\xff", None], pa.binary()),
        "kind": pa.array(["x", None]).dictionary_encode(),
        "day": pa.array([date(2026, 1, 2), None], pa.date32()),
        "took": pa.array([timedelta(seconds=90), None], pa.duration("s")),
        "key": pa.array([key.bytes, None], pa.binary(16)),
        "share": pa.array([0.25, None], pa.float32()),
        "wide": pa.array(['{"z": 1}', None]),
    }
    write(pa.table(row), command.folder / name)
    ended = await command.run("pipe", name, *TO_T)
    assert (ended.code, ended.errors) == (0, "")
    first, second = await query("SELECT * FROM t ORDER BY id")
    assert tuple(first)[:5] == (1, at, at.replace(tzinfo=None), Decimal("1.10"), ["a", None])
    assert json.loads(first["nested"]) == {"a": [1], "b": "x"}
    assert tuple(first)[6:] == (b"\0\xff", "x", date(2026, 1, 2), timedelta(seconds=90), key, 0.25, '{"z": 1}')
    assert set(second) == {None}


async def test_a_value_that_does_not_fit_is_a_dead_letter_with_its_row_and_its_neighbours_arrive(
    command: Command, query: Query
) -> None:
    await query("CREATE TABLE t (id int4, at timestamp, raw bytea)")
    ids = pa.array([1, 2, 2**40, 4], pa.int64())
    times = pa.array([0, 1, 0, 1_000], pa.timestamp("ns"))
    raw = pa.array([b"\x01"] * 4)
    write(pa.table({"id": ids, "at": times, "raw": raw}), command.folder / "t.parquet")
    ended = await command.run("pipe", "t.parquet", *TO_T, *DEAD)
    assert ended.code == 1
    assert [row["id"] for row in await query("SELECT id FROM t ORDER BY id")] == [1, 4]
    lost, large = command.letters()
    assert (lost["line"], lost["reason"]) == (2, "unreadable")
    assert "column 'at' is timestamp[ns]" in lost["error"]
    assert (large["line"], large["reason"]) == (3, "invalid")
    assert large["record"] == {"id": 2**40, "at": "1970-01-01 00:00:00", "raw": "\\x01"}


async def test_only_the_chosen_columns_are_read(command: Command, query: Query) -> None:
    await query("CREATE TABLE t (b text, a int4)")
    write(pa.table({"a": [1], "huge": ["x"], "b": ["y"]}), command.folder / "t.parquet")
    assert (await command.run("pipe", "t.parquet", *TO_T, "--columns", "b,a")).code == 0
    assert [tuple(row) for row in await query("SELECT b, a FROM t")] == [("y", 1)]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("t.parquet", b"id,name\n1,x\n", "t.parquet is no Parquet file"),
        ("t.parquet", b"", "t.parquet is no Parquet file"),
        ("t.arrow", b"no arrow at all", "t.arrow is no Arrow file"),
        ("t.parquet", None, "can't read t.parquet: No such file"),
    ],
)
async def test_a_file_that_is_none_is_told_before_anything_is_sent(
    name: str, content: bytes | None, why: str, command: Command, query: Query
) -> None:
    await query("CREATE TABLE t (id int4)")
    if content is not None:
        command.write(name, content)
    ended = await command.run("pipe", name, *TO_T)
    assert ended.code == 2
    assert why in ended.errors


async def test_standard_input_and_other_sinks_are_refused_in_a_sentence(command: Command, queue: Any) -> None:
    told = await command.run("pipe", "-", "--format", "parquet", *TO_T)
    assert (told.code, "can't be standard input" in told.errors) == (2, True)
    told = await command.run("pipe", "t.parquet", *queue)
    assert (told.code, "--sink postgres" in told.errors) == (2, True)


async def test_a_column_that_the_file_has_not_is_named(command: Command, query: Query) -> None:
    await query("CREATE TABLE t (id int4)")
    write(pa.table({"id": [1]}), command.folder / "t.parquet")
    told = await command.run("pipe", "t.parquet", *TO_T, "--columns", "id,nope")
    assert (told.code, "no column 'nope'" in told.errors) == (2, True)


async def test_a_damaged_row_group_ends_the_run_and_what_came_before_is_delivered(
    command: Command, query: Query
) -> None:
    await query("CREATE TABLE t (id int8)")
    path = command.folder / "t.parquet"
    parquet.write_table(pa.table({"id": range(20_000)}), path, row_group_size=10_000, compression="zstd")
    place = parquet.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    content = bytearray(path.read_bytes())
    content[place : place + 500] = b"\xff" * 500
    path.write_bytes(content)
    ended = await command.run("pipe", "t.parquet", *TO_T)
    assert ended.code == 1
    assert "can't be read any further" in ended.errors + ended.out
    assert [row["count"] for row in await query("SELECT count(*) FROM t")] == [10_000]


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
async def test_memory_does_not_grow_with_the_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    text = pa.array([f"{number:0200d}" for number in range(20_000)])
    table = pa.table({"id": range(20_000), "body": text})
    if path.suffix == ".parquet":
        with parquet.ParquetWriter(path, table.schema, compression="none", use_dictionary=False) as file:
            for _ in range(10):
                file.write_table(table)
    else:
        with ipc.new_file(str(path), table.schema) as file:
            for _ in range(10):
                file.write_table(table)
    size = path.stat().st_size
    del table, text
    source, most, rows = ArrowInput(str(path), path.suffix[1:]), 0, 0
    before = pa.total_allocated_bytes()
    async for lines in source.blocks():
        rows += len(lines)
        most = max(most, pa.total_allocated_bytes() - before)
    source.close()
    assert (rows, source.bytes_read) == (200_000, size)
    assert size > 40_000_000
    assert most < size / 4
