"""A CSV with bad lines into a table: the good ones are there, the bad ones are in a file, each with its reason.

Lines with the same number are the same product: the last one counts, also when the file is loaded again.

Run it: `python -m examples.csv_dead_letters`. It takes the server that SINKWELL_POSTGRES_DSN names; without,
it starts a PostgreSQL of its own from this repository's test servers.
"""

import asyncio
import csv
import json
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import asyncpg

from examples._servers import address_of
from sinkwell.core import DeliveryError, SinkwellError
from sinkwell.sinks.postgres import PostgresSink
from tests.servers import PostgresServer

TABLE = """
DROP TABLE IF EXISTS product;
CREATE TABLE product (number int PRIMARY KEY, name varchar(20) NOT NULL, price numeric CHECK (price >= 0))
"""


def write_csv(path: Path) -> None:
    """Write five thousand lines: one has no number, one a negative price, one too long a name, and one comes twice."""
    lines = [[str(number), f"product {number}", "9.90"] for number in range(5_000)]
    lines[17][0] = "?"
    lines[400][2] = "-1"
    lines[4_000][1] = "a name of far more than twenty letters"
    lines.append(["42", "product 42, mended", "8.80"])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["number", "name", "price"], *lines])


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Give each line as a row; what can't be converted stays as it is, and is refused with the column's name."""
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            row: dict[str, Any] = dict(line)
            for column, convert in (("number", int), ("price", Decimal)):
                with suppress(ValueError, InvalidOperation):
                    row[column] = convert(line[column])
            yield row


def reason(error: SinkwellError) -> str:
    """Tell why a row is not in the table: the sink's own words, or the database's."""
    cause = error.__cause__ if isinstance(error, DeliveryError) else None
    return str(cause or error)


async def load(dsn: str, path: Path, letters: Path) -> int:
    """Load the file; return how many lines went into `letters` instead."""
    bad = 0
    # Rows whose outcomes are still to come: outcomes come in the order of the rows.
    given: deque[dict[str, Any]] = deque()

    def noted() -> Iterator[dict[str, Any]]:
        for row in rows(path):
            given.append(row)
            yield row

    columns = ["number", "name", "price"]
    async with PostgresSink(dsn, "product", columns, mode="upsert", conflict_columns=["number"]) as sink:
        with letters.open("w") as file:
            async for outcome in sink.stream(noted()):
                row = given.popleft()
                if isinstance(outcome, SinkwellError):
                    bad += 1
                    file.write(json.dumps({"record": row, "reason": reason(outcome)}, default=str) + "\n")
    return bad


async def main(dsn: str) -> None:
    """Load the file twice; the second time changes nothing."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(TABLE)
    with tempfile.TemporaryDirectory() as folder:
        path, letters = Path(folder, "products.csv"), Path(folder, "dead.ndjson")
        write_csv(path)
        for _ in range(2):
            bad = await load(dsn, path, letters)
            count = await connection.fetchval("SELECT count(*) FROM product")
            print(f"{count:,} products are there, {bad} lines are not, and say why")
            told = letters.read_text()  # noqa: ASYNC240 - a small file
        print(told, end="")
    assert await connection.fetchval("SELECT name FROM product WHERE number = 42") == "product 42, mended"
    await connection.close()


if __name__ == "__main__":
    with address_of(PostgresServer, "SINKWELL_POSTGRES_DSN") as address:
        asyncio.run(main(address))
