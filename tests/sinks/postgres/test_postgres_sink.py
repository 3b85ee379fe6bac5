"""Rows through `PostgresSink`: every outcome is counted against the rows in the table."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.core import (
    Adaptive,
    Backoff,
    ConfigError,
    DeliveryAbandoned,
    DeliveryError,
    DeliveryRejected,
    InvalidRecord,
    Outcome,
    Policy,
)
from sinkwell.sinks.postgres import Column, PostgresReceipt, PostgresSink
from tests.faults import FaultProxy

if TYPE_CHECKING:
    from tests.servers import PostgresServer
    from tests.sinks.postgres.conftest import Table

QUICK = Backoff(base=0.01, cap=0.1)


def sink_for(table: Table, *, dsn: str = "", columns: tuple[str, ...] = ("id", "body"), **policy: Any) -> PostgresSink:
    return PostgresSink(dsn or table.dsn, table.name, columns, policy=Policy(backoff=QUICK, **policy))


async def test_a_row_is_put_and_its_receipt_tells_its_attempts(table: Table) -> None:
    async with sink_for(table) as sink:
        assert await sink.put((1, "a")) == PostgresReceipt(attempts=1)
    assert await table.ids() == [1]


async def test_the_columns_are_told_once_the_sink_is_open(table: Table) -> None:
    await table.make("id int8 NOT NULL, body varchar(5)[]")
    sink = sink_for(table)
    assert sink.columns == ()
    async with sink:
        assert sink.columns == (
            Column("id", "bigint", "int8", None, nullable=False),
            Column("body", "character varying(5)[]", "_varchar", "varchar", nullable=True),
        )


async def test_bad_rows_among_ten_thousand_hurt_no_neighbour(table: Table) -> None:
    # (1) refused at put, (2) by the client's encoder, (3) by a constraint, with a line, (4) by a foreign key, without.
    await table.db.execute("CREATE TABLE kinds (id int8 PRIMARY KEY); INSERT INTO kinds VALUES (1)")
    await table.make("id int8 CHECK (id <> 7777), kind int8 REFERENCES kinds, place point")
    rows: list[tuple[Any, ...]] = [(i, 1, (1.0, 2.0)) for i in range(10_000)]
    rows[17], rows[4321], rows[9000] = (1.9, 1, None), (4321, 1, "nowhere"), (9000, 5, None)
    async with sink_for(table, columns=("id", "kind", "place"), max_records=10_000) as sink:
        outcomes = await sink.put_many(rows)
        stats = sink.stats()
    failed = {index: outcome for index, outcome in enumerate(outcomes) if isinstance(outcome, Exception)}
    assert set(failed) == {17, 4321, 7777, 9000}
    assert isinstance(failed[17], InvalidRecord)
    assert all(failed[i].outcome is Outcome.NOT_WRITTEN for i in (4321, 7777, 9000))  # type: ignore[attr-defined]
    assert isinstance(failed[7777].__cause__, asyncpg.CheckViolationError)
    assert await table.ids() == [i for i in range(10_000) if i not in failed]
    assert stats.requests < 60


async def test_a_refused_rows_error_names_the_constraint_and_not_the_row(table: Table) -> None:
    await table.make("id int8, body text CONSTRAINT short CHECK (length(body) < 3)")
    async with sink_for(table) as sink:
        with pytest.raises(DeliveryRejected) as caught:
            await sink.put((1, "c4nary"))
    assert isinstance(caught.value.__cause__, asyncpg.CheckViolationError)
    assert caught.value.__cause__.constraint_name == "short"
    assert "c4nary" not in f"{caught.value} {caught.value.__cause__}"


async def test_many_callers_at_once_each_get_their_own_outcome(table: Table) -> None:
    async with sink_for(table, concurrency=Adaptive(1, 4)) as sink:
        outcomes = await asyncio.gather(*(sink.put((i // 2, f"{i}")) for i in range(200)), return_exceptions=True)
    assert sum(isinstance(outcome, PostgresReceipt) for outcome in outcomes) == 100
    assert await table.ids() == [*range(100)]


async def test_a_stream_of_any_length_arrives_once(table: Table) -> None:
    async with sink_for(table, max_records=1_000) as sink:
        async for outcome in sink.stream((i, "x") for i in range(30_000)):
            assert isinstance(outcome, PostgresReceipt)
    assert await table.count() == 30_000


async def test_a_wire_that_breaks_again_and_again_neither_loses_nor_repeats_a_row(
    table: Table, postgres_server: PostgresServer
) -> None:
    async with FaultProxy.to(postgres_server.host, postgres_server.port) as proxy:
        dsn = postgres_server.through(proxy.host, proxy.port)

        async def break_it() -> None:
            for turn in range(40):
                await asyncio.sleep(0.02)
                if turn % 3 == 0:
                    proxy.reset()
                elif turn % 3 == 1:
                    proxy.up.when(b"COMMIT\0", proxy.reset)
                else:
                    proxy.up.when(b"COMMIT\0", lambda: proxy.down.cut_after(0))

        async with sink_for(table, dsn=dsn, max_records=200, concurrency=4, rate=None) as sink:
            breaking = asyncio.create_task(break_it())
            outcomes = []
            for start in range(0, 20_000, 1_000):
                outcomes += await sink.put_many([(i, "x" * 50) for i in range(start, start + 1_000)])
            await breaking
    written = {i for i, outcome in enumerate(outcomes) if isinstance(outcome, PostgresReceipt)}
    unknown = {i for i, outcome in enumerate(outcomes) if getattr(outcome, "outcome", None) is Outcome.UNKNOWN}
    there = set(await table.ids())
    assert written <= there <= written | unknown
    assert len(written) > 19_000


async def test_a_server_restarted_under_load_costs_no_row(table: Table, postgres_server: PostgresServer) -> None:
    async with sink_for(table, max_records=100, delivery_timeout=60) as sink:
        restarting = asyncio.create_task(asyncio.to_thread(postgres_server.restart))
        outcomes = []
        for i in range(50):
            outcomes += await sink.put_many([(i * 100 + n, "x") for n in range(100)])
            await asyncio.sleep(0.01)
        await restarting
    assert all(isinstance(outcome, PostgresReceipt) for outcome in outcomes)
    db = await asyncpg.connect(postgres_server.dsn)
    assert await db.fetchval(f"SELECT count(*) FROM {table.name}") == 5_000
    await db.close()


async def test_an_attempt_that_takes_too_long_is_not_written_and_goes_again(table: Table) -> None:
    async with sink_for(table, attempt_timeout=0.2) as sink:
        async with table.db.transaction():
            await table.db.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
            delivery = sink.put((1, "a"))
            await asyncio.sleep(0.5)
        receipt = await delivery
    assert receipt.attempts > 1
    assert await table.ids() == [1]


async def test_a_row_that_is_blocked_when_the_sink_closes_is_told_not_to_be_written(table: Table) -> None:
    sink = sink_for(table)
    await sink.open()
    async with table.db.transaction():
        await table.db.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        delivery = sink.put((1, "a"))
        await asyncio.sleep(0.05)
        report = await sink.close(timeout=0.2)
    with pytest.raises(DeliveryAbandoned) as caught:
        await delivery
    assert caught.value.outcome is Outcome.NOT_WRITTEN
    assert (report.not_written, report.unknown) == (1, 0)
    assert await table.count() == 0


async def test_a_table_dropped_under_the_sink_rejects_loudly(table: Table) -> None:
    async with sink_for(table) as sink:
        await sink.put((1, "a"))
        await table.db.execute("DROP TABLE events")
        with pytest.raises(DeliveryRejected) as caught:
            await sink.put((2, "b"))
        assert isinstance(caught.value.__cause__, ConfigError)
        await table.make("id int8, body text")
        await sink.put((3, "c"))
    assert await table.ids() == [3]


async def test_the_callers_pool_is_used_and_left_open(table: Table) -> None:
    async with asyncpg.create_pool(table.dsn, min_size=1, max_size=3, command_timeout=30) as pool:
        async with PostgresSink(None, table.name, ["id", "body"], pool=pool, policy=Policy(concurrency=2)) as sink:
            await sink.put_many([(i, "x") for i in range(100)])
        assert await pool.fetchval(f"SELECT count(*) FROM {table.name}") == 100


async def test_the_callers_pool_may_have_codecs_for_json(table: Table) -> None:
    async def init(connection: Any) -> None:
        await connection.set_type_codec("jsonb", schema="pg_catalog", format="binary", encoder=encode, decoder=bytes)

    def encode(value: Any) -> bytes:
        return b"\1" + repr(value).encode()

    await table.make("id int8, body jsonb")
    async with (
        asyncpg.create_pool(table.dsn, min_size=1, max_size=3, init=init) as pool,
        PostgresSink(None, table.name, ["id", "body"], pool=pool) as sink,
    ):
        await sink.put((1, [1, 2]))
    assert await table.db.fetchval("SELECT body ->> 1 FROM events") == "2"


async def test_delivery_errors_do_not_hold_frames_with_the_rows(table: Table) -> None:
    await table.make("id int8, place point")
    async with sink_for(table, columns=("id", "place")) as sink:
        with pytest.raises(DeliveryError) as caught:
            await sink.put((1, "c4nary"))
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__traceback__ is None


async def test_from_env_reads_names_columns_and_policy(
    table: Table, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"SINKWELL_POSTGRES_DSN={table.dsn}\nSINKWELL_POSTGRES_TABLE=not.this\n")
    monkeypatch.setenv("SINKWELL_POSTGRES_TABLE", table.name)
    monkeypatch.setenv("SINKWELL_POSTGRES_COLUMNS", "id, body")
    monkeypatch.setenv("SINKWELL_POSTGRES_CONCURRENCY", "2-3")
    async with PostgresSink.from_env() as sink:
        await sink.put((1, "a"))
        assert sink._policy.concurrency == Adaptive(2, 3)
    assert await table.ids() == [1]


async def test_from_env_reads_how_rows_are_merged(table: Table, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    await table.db.execute("CREATE TABLE batches (batch uuid PRIMARY KEY, written_at timestamptz DEFAULT now())")
    variables = {
        "DSN": table.dsn,
        "TABLE": table.name,
        "COLUMNS": "id,body",
        "MODE": "upsert",
        "CONFLICT_COLUMNS": "id",
        "MERGE_COLUMNS": "none",
        "RETURNING": "body, id",
        "LEDGER": f"{table.schema}.batches",
        "SETTLE_TIMEOUT": "30",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"SINKWELL_POSTGRES_{name}", value)
    async with PostgresSink.from_env() as sink:
        assert (await sink.put((1, "a"))).returned == {"body": "a", "id": 1}
        assert not (await sink.put((1, "b"))).is_written
        assert sink._rows._settle_timeout == 30.0
    assert await table.db.fetchval("SELECT count(*) FROM batches") == 2


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({}, "SINKWELL_POSTGRES_DSN is not set"),
        ({"DSN": ""}, "SINKWELL_POSTGRES_DSN is empty"),
        ({"DSN": "mysql://c4nary"}, "dsn must begin with postgresql://"),
        ({"TABEL": "x"}, "did you mean SINKWELL_POSTGRES_TABLE?"),
        ({"DSN": "postgresql://h/x", "COLUMNS": "a,,b"}, "no name that PostgreSQL can hold"),
        ({"DSN": "postgresql://h/x", "MODE": "merge"}, "SINKWELL_POSTGRES_MODE"),
        ({"DSN": "postgresql://h/x", "MODE": "upsert"}, "needs conflict_columns"),
    ],
)
def test_from_env_refuses_a_wrong_setup(
    variables: dict[str, str], why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"TABLE": "events", "COLUMNS": "id", **variables}.items():
        monkeypatch.setenv(f"SINKWELL_POSTGRES_{name}", value)
    with pytest.raises(ConfigError) as caught:
        PostgresSink.from_env()
    assert why in str(caught.value)
    assert "c4nary" not in str(caught.value)
