"""Type-checked as a user writes it; never run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_type

from sinkwell.core import DeliveryError, Policy, SinkwellError
from sinkwell.sinks.postgres import Ledger, PostgresReceipt, PostgresSink, PostgresTable, Row

if TYPE_CHECKING:
    import asyncpg


@dataclass
class Reading:
    """A row by its columns' names."""

    id: int
    celsius: float


async def use_it() -> None:
    """Put every form of row."""
    async with PostgresSink(
        "postgresql://h/x", "public.reading", ["id", "celsius"], policy=Policy(linger=0.05)
    ) as sink:
        assert_type(await sink.put((1, 2.0)), PostgresReceipt)
        assert_type(await sink.put([1, 2.0]), PostgresReceipt)
        assert_type(await sink.put({"id": 1, "celsius": 2.0}), PostgresReceipt)
        try:
            await sink.put(Reading(1, 2.0))
        except DeliveryError as error:
            assert_type(error.attempts, int)
        outcomes = await sink.put_many([(1, 2.0)])
        assert_type(outcomes, list[PostgresReceipt | SinkwellError])


async def own_pool(pool: asyncpg.Pool[asyncpg.Record]) -> PostgresSink:
    """Use a pool that others use too."""
    return PostgresSink(None, "reading", ("id", "celsius"), pool=pool)


def from_environment() -> PostgresSink:
    """Take the setup from variables."""
    return PostgresSink.from_env(table="reading")


async def upserts() -> None:
    """Merge by a key, hand columns back, and write to another table beside it."""
    log = PostgresTable("log", ["what"], returning=["id"])
    async with PostgresSink(
        "postgresql://h/x",
        "reading",
        ["id", "celsius"],
        mode="upsert",
        conflict_columns=["id"],
        merge_columns=(),
        returning=("celsius",),
        more_tables=[log],
        ledger=Ledger(create=True),
    ) as sink:
        receipt = await sink.put(Row(Reading(1, 2.0)))
        assert_type(receipt.is_written, bool)
        assert_type(await sink.put(Row(("read",), "log")), PostgresReceipt)
        assert receipt.returned is None or receipt.returned["celsius"] > 0
