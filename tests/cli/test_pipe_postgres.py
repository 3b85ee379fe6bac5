from __future__ import annotations

import csv
import gzip
import io
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Command, Query

TO_T = ("--sink", "postgres", "--table", "cli.t")
DEAD = ("--dead-letters", "dead.ndjson")


async def test_every_row_of_a_csv_is_in_the_table_as_the_columns_types(command: Command, query: Query) -> None:
    await query("CREATE TABLE t (id int4, at timestamptz, price numeric, note text, extra int4 DEFAULT 7)")
    command.write("t.csv", "id,at,price,note\n1,2013-01-01T10:00:00Z,0.10,NA\n2,,,x\n")
    ended = await command.run("pipe", "t.csv", *TO_T, "--null", "NA")
    rows = await query("SELECT id, at::text, price::text, note, extra FROM t ORDER BY id")
    assert [tuple(row) for row in rows] == [(1, "2013-01-01 10:00:00+00", "0.10", None, 7), (2, None, None, "x", 7)]
    assert (ended.code, ended.errors) == (0, "")
    assert "All 2 records were delivered." in ended.out


async def test_many_rows_go_in_few_requests_and_the_summary_counts_them(command: Command, query: Query) -> None:
    await query("CREATE TABLE t (id int4 PRIMARY KEY)")
    packed = gzip.compress(b"id\n" + b"\n".join(b"%d" % number for number in range(50_000)))
    command.write("t.csv.gz", packed)
    ended = await command.run("pipe", "t.csv.gz", *TO_T)
    assert [tuple(row) for row in await query("SELECT count(*), sum(id) FROM t")] == [(50_000, 1_249_975_000)]
    assert (ended.figure("records read"), ended.figure("delivered")) == ("50,000", "50,000")
    assert 10 <= int(ended.figure("requests")) <= 500


async def test_each_bad_line_is_a_dead_letter_with_its_reason_and_its_neighbours_arrive(
    command: Command, query: Query
) -> None:
    await query("CREATE TABLE t (id int4 NOT NULL CHECK (id < 100), at date)")
    command.write("t.csv", "id,at\n1,2013-01-01\n2\nthree,\n,\n4,yesterday\n500,\n6,\n")
    ended = await command.run("pipe", "t.csv", *TO_T, *DEAD)
    letters = {letter["line"]: letter for letter in command.letters()}
    assert {line: (letter["reason"], letter["record"]) for line, letter in letters.items()} == {
        3: ("unreadable", "2"),
        4: ("invalid", {"id": "three", "at": None}),
        5: ("invalid", {"id": None, "at": None}),
        6: ("invalid", {"id": "4", "at": "yesterday"}),
        7: ("rejected", {"id": "500", "at": None}),
    }
    assert {letter["outcome"] for letter in letters.values()} == {"not_written"}
    assert [letters[line]["attempts"] for line in (3, 4, 7)] == [0, 0, 1]
    assert letters[6]["error"] == "column 'at' is date, and the value is not a date as in ISO 8601"
    assert "t_id_check" in letters[7]["error"]
    assert [row["id"] for row in await query("SELECT id FROM t ORDER BY id")] == [1, 6]
    assert ended.code == 1
    assert "5 of 7 records were not delivered, 2 were. They are in dead.ndjson" in ended.out


async def test_without_a_file_the_first_dead_letters_are_shown_and_the_code_says_so(
    command: Command, query: Query
) -> None:
    await query("CREATE TABLE t (id int4)")
    ended = await command.run("pipe", "-", "--format", "csv", *TO_T, stdin="id\n" + "x\n" * 8 + "1\n")
    assert ended.code == 1
    assert "line 2: invalid: column 'id' is integer, and the value is not a whole number" in ended.errors
    assert ended.errors.count("line ") == 5
    assert "and 3 more" in ended.errors
    assert "use --dead-letters FILE to keep them" in ended.out


async def test_dead_letters_can_be_mended_and_sent_again(command: Command, query: Query) -> None:
    await query("CREATE TABLE t (id int4, at timestamptz, note text)")
    command.write("t.csv", "id,at,note\none,2013-01-01T10:00:00Z,\n2,2013-01-02T10:00:00Z,x\n")
    await command.run("pipe", "t.csv", *TO_T, *DEAD)
    records = [letter["record"] | {"id": "1"} for letter in command.letters()]
    ended = await command.run("pipe", "-", *TO_T, stdin="\n".join(map(json.dumps, records)))
    assert ended.code == 0, ended.errors
    rows = await query("SELECT id, at::date::text, note FROM t ORDER BY id")
    assert [tuple(row) for row in rows] == [(1, "2013-01-01", None), (2, "2013-01-02", "x")]


async def test_json_lines_become_rows_and_a_key_that_is_missing_is_null(command: Command, query: Query) -> None:
    await query("CREATE TABLE t (id int8, price numeric, tags text[], more jsonb)")
    lines = [
        '{"id": 1, "price": 0.1000000000000000055, "tags": ["a", null], "more": {"x": 1}}',
        '{"id": 2}',
        '{"id": 3, "colour": "red"}',
        "[4]",
    ]
    command.write("t.jsonl", "\n".join(lines))
    ended = await command.run("pipe", "t.jsonl", *TO_T, *DEAD)
    rows = await query("SELECT id, price::text, tags, more::text FROM t ORDER BY id")
    assert [tuple(row) for row in rows] == [
        (1, "0.1000000000000000055", ["a", None], '{"x": 1}'),
        (2, None, None, None),
    ]
    assert {letter["line"]: letter["record"] for letter in command.letters()} == {3: {"id": 3, "colour": "red"}, 4: [4]}
    assert ended.code == 1


async def test_chosen_columns_leave_the_inputs_other_ones_out(command: Command, query: Query) -> None:
    await query("CREATE TABLE t (id int4, note text)")
    command.write("t.csv", "junk,note,id\nx,a,1\n")
    command.write("t.ndjson", '{"id": 2, "junk": 0, "note": "b"}\n')
    for name in ("t.csv", "t.ndjson"):
        ended = await command.run("pipe", name, *TO_T, "--columns", "id,note")
        assert ended.code == 0, ended.errors
    assert [tuple(row) for row in await query("SELECT * FROM t ORDER BY id")] == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("delimiter", [(), ("--delimiter", ";")])
async def test_tabs_and_semicolons_separate_as_well(command: Command, query: Query, delimiter: tuple[str, ...]) -> None:
    await query("CREATE TABLE t (id int4, note text)")
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter[-1] if delimiter else "\t").writerows([["id", "note"], [1, "a,b\nc"]])
    command.write("t.tsv", text.getvalue())
    assert (await command.run("pipe", "t.tsv", *TO_T, *delimiter)).code == 0
    assert [tuple(row) for row in await query("SELECT * FROM t")] == [(1, "a,b\nc")]


async def test_a_damaged_gzip_file_is_told_and_what_came_before_it_is_delivered(command: Command, query: Query) -> None:
    await query("CREATE TABLE t (id int4)")
    whole = b"id\n" + b"\n".join(b"%d" % (number * 7919 % 1_000_003) for number in range(100_000)) + b"\n"
    packed = gzip.compress(whole)
    command.write("t.csv.gz", packed[: len(packed) // 2])
    ended = await command.run("pipe", "t.csv.gz", *TO_T, *DEAD)
    (count,) = (await query("SELECT count(*) FROM t"))[0]
    assert ended.code == 1
    assert "t.csv.gz can't be read any further: its gzip data ends too early" in " ".join(ended.out.split())
    assert 1_000 < count < 100_000
    assert all(letter["error"].startswith("cut off") for letter in command.letters())
    assert int(ended.figure("records read").replace(",", "")) == count + len(command.letters())
