"""Rows from any source into PostgreSQL, in bounded memory; a bad one is named and hurts none of its neighbours.

Run it: `python -m examples.rows_stream`. It takes the server that SINKWELL_POSTGRES_DSN names; without,
it starts a PostgreSQL of its own from this repository's test servers.
"""

import asyncio
from collections.abc import Iterator

import asyncpg

from examples._servers import address_of
from sinkwell.core import SinkwellError
from sinkwell.sinks.postgres import PostgresSink
from tests.servers import PostgresServer


def readings() -> Iterator[tuple[int, str, float | None]]:
    """Give ten thousand rows, of which number 4,321 breaks a rule that only the server knows, and one a type."""
    for number in range(10_000):
        yield number, "sensor 7", -300.0 if number == 4_321 else 20.5
    yield 10_000, "sensor 7", "warm"  # type: ignore[misc] # what a careless source gives


async def main(dsn: str) -> None:
    """Stream the rows and tell what became of them."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS unused (); DROP TABLE IF EXISTS reading; "
        "CREATE TABLE reading (id int PRIMARY KEY, sensor text NOT NULL, celsius float CHECK (celsius > -273.15))"
    )
    async with PostgresSink(dsn, "reading", ["id", "sensor", "celsius"]) as sink:
        failures = [outcome async for outcome in sink.stream(readings()) if isinstance(outcome, SinkwellError)]
        stats = sink.stats()
    count = await connection.fetchval("SELECT count(*) FROM reading")
    await connection.close()
    for failure in failures:
        print(f"{type(failure).__name__}: {failure}")
    print(f"{count:,} rows are there, in {stats.requests} requests; {len(failures)} are not, and said why")
    assert count == 9_999
    assert len(failures) == 2


if __name__ == "__main__":
    with address_of(PostgresServer, "SINKWELL_POSTGRES_DSN") as address:
        asyncio.run(main(address))
