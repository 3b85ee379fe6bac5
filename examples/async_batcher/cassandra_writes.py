"""ScyllaDB and Cassandra: handlers write one row each; rows of one partition go in one unlogged batch.

A batch over several partitions makes one node coordinate writes that others own, so each partition has its own, which
the driver sends straight to its owner; they go at the same time.

Run it: a thousand handlers at once, into Cassandra.
"""

import asyncio
from collections import defaultdict
from typing import Any

from cassandra.cluster import Cluster, ResponseFuture, Session
from cassandra.query import BatchStatement, BatchType, BoundStatement

from sinkwell.core import batched


def as_future(response: ResponseFuture) -> asyncio.Future[Any]:
    """Give what the driver's thread will tell, on this loop."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if not future.done():
            future.set_result(None) if error is None else future.set_exception(error)

    response.add_callbacks(
        lambda _: loop.call_soon_threadsafe(settle, None), lambda error: loop.call_soon_threadsafe(settle, error)
    )
    return future


class Writer:
    """Executes bound statements of any tables."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.sent = 0

    @batched(max_records=1_000, concurrency=4)
    async def execute(self, statements: list[BoundStatement]) -> list[Exception | None]:
        """Execute a statement; it fails with the others of its partition, and with no one else."""
        partitions: defaultdict[Any, list[int]] = defaultdict(list)
        for index, statement in enumerate(statements):
            partitions[statement.keyspace, statement.routing_key].append(index)
        groups = [part[start : start + 100] for part in partitions.values() for start in range(0, len(part), 100)]
        answers = await asyncio.gather(
            *(as_future(self._send([statements[index] for index in group])) for group in groups),
            return_exceptions=True,
        )
        results: list[Exception | None] = [None] * len(statements)
        for group, answer in zip(groups, answers, strict=True):
            for index in group:
                results[index] = answer if isinstance(answer, Exception) else None
        return results

    def _send(self, statements: list[BoundStatement]) -> ResponseFuture:
        self.sent += 1
        if len(statements) == 1:
            return self.session.execute_async(statements[0])
        batch = BatchStatement(BatchType.UNLOGGED)
        batch.add_all(statements, [None] * len(statements))
        return self.session.execute_async(batch)


async def main(address: str) -> None:
    """Write a thousand readings of ten devices, then count them."""
    host, _, port = address.rpartition(":")
    cluster = Cluster([host], port=int(port))
    session = await asyncio.to_thread(cluster.connect)
    session.execute(
        "CREATE KEYSPACE IF NOT EXISTS examples WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    session.execute("DROP TABLE IF EXISTS examples.readings")
    session.execute("CREATE TABLE examples.readings (device text, at int, celsius double, PRIMARY KEY (device, at))")
    statement = session.prepare("INSERT INTO examples.readings (device, at, celsius) VALUES (?, ?, ?)")

    writer = Writer(session)
    rows = [(f"device {number % 10}", number, number / 10) for number in range(1_000)]
    await asyncio.gather(*(writer.execute(statement.bind(row)) for row in rows))
    found = sorted(tuple(row) for row in session.execute("SELECT device, at, celsius FROM examples.readings"))
    assert found == sorted(rows)
    print(f"{len(found)} readings are there, {writer.sent} requests")
    cluster.shutdown()


def run() -> None:
    """Start a server of our own, or take the one that SINKWELL_TEST_CASSANDRA names."""
    from tests.servers import CassandraServer

    with CassandraServer.start() as server:
        asyncio.run(main(server.address))


if __name__ == "__main__":
    run()
