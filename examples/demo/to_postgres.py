"""Parts one and three: all flights into a table, then a file that somebody has spoiled."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING

import asyncpg
from rich.markup import escape

from examples.demo import flights
from examples.demo.screen import check, heading, say, sinkwell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from examples.demo.screen import Ran

ONE_BY_ONE = 1_000
SOME = 2_000


async def all_flights(dsn: str, source: Path) -> bool:
    """Copy the whole file, read the table back, and compare."""
    expected = Counter(flights.lines(source)[1:])
    heading(1, f"{expected.total():,} flights into PostgreSQL")
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(flights.TABLE.format(name="flights"))
        ran = await _pipe(source, "flights", dsn)
        found = await _table_lines(connection, "flights")
        # Each transaction leaves its number on the rows that it wrote.
        transactions = await connection.fetchval("SELECT count(DISTINCT xmin::text) FROM flights")
        slow = await _seconds_of_an_insert(connection, source)
    finally:
        await connection.close()
    say("\nRead back from the table, line by line:")
    total, there, foreign = expected.total(), (found & expected).total(), (found - expected).total()
    took = f"{ran.seconds:.1f} s, reading and converting included; single INSERTs would wait {slow * total:.0f} s"
    return all([
        check(f"{there:,} of {total:,} flights are there, as in the file", holds=there == total),
        check(f"{foreign:,} are there twice, or changed", holds=not foreign),
        check(f"{transactions:,} transactions wrote them, and not {total:,}", holds=transactions < there / 100),
        check(f"{took} for this server, which never waits for a disk (pace of {ONE_BY_ONE:,} just now)", holds=True),
        check(f"sinkwell says so: its exit code is {ran.code}", holds=ran.code == 0),
    ])  # fmt: skip


async def spoiled_file(dsn: str, source: Path) -> bool:
    """Spoil a few lines of a file: they must be put aside, each with its reason, and all others delivered."""
    path = source.with_name("spoiled.csv")
    lines, spoiled = _spoil(flights.lines(source)[: SOME + 1], path)
    heading(3, f"{SOME:,} flights, {len(spoiled)} of them spoiled")
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(flights.TABLE.format(name="clean"))
        ran = await _pipe(path, "clean", dsn, "--dead-letters", "dead.ndjson")
        found = await _table_lines(connection, "clean")
    finally:
        await connection.close()
    letters = [json.loads(line) for line in flights.lines(source.with_name("dead.ndjson"))]
    letters.sort(key=itemgetter("line"))
    say("\nIn dead.ndjson:")
    for letter in letters:
        say(f"  line {letter['line']:>5,}  [bold]{letter['reason']:<10}[/bold] {escape(letter['error'])}")
    say("")
    expected = Counter(line for number, line in enumerate(lines, start=1) if number > 1 and number not in spoiled)
    told = [letter["line"] for letter in letters]
    return all([
        check(f"{len(letters)} dead letters, for exactly the spoiled lines", holds=told == spoiled),
        check(f"{found.total():,} flights are in the table: every neighbour, once", holds=found == expected),
        check(f"sinkwell says so: its exit code is {ran.code}, for some not delivered", holds=ran.code == 1),
    ])  # fmt: skip


async def _pipe(source: Path, table: str, dsn: str, *more: str) -> Ran:
    command = ("pipe", source.name, "--sink", "postgres", "--table", table, "--null", "NA", *more)
    # A password belongs into the environment, and not on a command line that every user of the machine can read.
    return await sinkwell(*command, cwd=source.parent, env={"SINKWELL_POSTGRES_DSN": dsn})


def _spoil(lines: list[str], target: Path) -> tuple[list[str], list[int]]:
    """Write the lines to a file, some spoiled, each in its own way; give them and the numbers of the spoiled ones."""
    ways: dict[int, Callable[[list[str]], list[str]]] = {
        101: lambda cells: cells[:-1],
        500: lambda cells: [*cells[:3], "soon", *cells[4:]],
        501: lambda cells: [*cells[:3], "99999", *cells[4:]],
        1_200: lambda cells: [cells[0], "", *cells[2:]],
        1_777: lambda cells: [cells[0], "13", *cells[2:]],
        1_778: lambda cells: [*cells[:-1], "2013-02-31T10:00:00Z"],
    }
    for number, way in ways.items():
        lines[number - 1] = ",".join(way(lines[number - 1].split(",")))
    target.write_text("\n".join(lines) + "\n", "utf-8")
    return lines, list(ways)


async def _table_lines(connection: asyncpg.Connection, name: str) -> Counter[str]:
    copied = io.BytesIO()
    query = flights.AS_IN_THE_FILE.format(name=name)
    await connection.copy_from_query(query, output=copied, format="csv", null="NA")
    return Counter(copied.getvalue().decode().splitlines())


async def _seconds_of_an_insert(connection: asyncpg.Connection, source: Path) -> float:
    """Measure an INSERT and its COMMIT, one awaited after the other, as a simple loop would do it."""
    await connection.execute(flights.TABLE.format(name="slow"))
    rows = [(int(row["flight"]), row["carrier"]) for row in flights.rows(source, ONE_BY_ONE)]
    insert = """
        INSERT INTO slow
        VALUES (2013, 1, 1, 517, 515, 2, 830, 819, 11, $2, $1, 'N14228', 'EWR', 'IAH', 227, 1400, 5, 15, now())
    """
    began = time.monotonic()
    for row in rows:
        await connection.execute(insert, *row)
    return (time.monotonic() - began) / len(rows)
