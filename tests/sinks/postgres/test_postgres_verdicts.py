"""What one write says of its entries, on a real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.core import BatchRefused, ConfigError, Delivered, InvalidRecord, Rejected, Retry

if TYPE_CHECKING:
    from tests.sinks.postgres.conftest import Table


async def refusal(destination: Any, batch: Any) -> BatchRefused:
    with pytest.raises(BatchRefused) as caught:
        await destination.write(batch)
    return caught.value


async def test_a_batch_is_delivered_in_its_order_with_one_receipt(table: Table, make_batch: Any) -> None:
    await table.make("id int8, body text, serial int GENERATED ALWAYS AS IDENTITY")
    destination = await table.open()
    verdicts = await destination.write(make_batch(destination, [(3, "c"), (1, "a"), (2, None)], attempts=2))
    assert [verdict.receipt.attempts for verdict in verdicts] == [2, 2, 2]
    assert verdicts[0].receipt is verdicts[2].receipt
    stored = await table.db.fetch("SELECT id, body FROM events ORDER BY serial")
    assert [tuple(row) for row in stored] == [(3, "c"), (1, "a"), (2, None)]


async def test_a_duplicate_key_points_at_its_row_and_nothing_is_written(table: Table, make_batch: Any) -> None:
    await table.db.execute("INSERT INTO events VALUES (4321, 'before')")
    destination = await table.open()
    refused = await refusal(destination, make_batch(destination, [(i, "x") for i in range(10_000)]))
    assert refused.suspect == 4321
    assert isinstance(refused.__cause__, asyncpg.UniqueViolationError)
    assert await table.ids() == [4321]


async def test_an_encoding_error_points_at_its_row(table: Table, make_batch: Any) -> None:
    await table.make("id int8, place point")
    destination = await table.open("id", "place")
    rows: list[Any] = [(i, (1.0, 2.0)) for i in range(5000)]
    rows[4321] = (4321, "nowhere")
    refused = await refusal(destination, make_batch(destination, rows))
    assert refused.suspect == 4321
    assert await table.count() == 0
    assert isinstance((await destination.write(make_batch(destination, rows[:10])))[0], Delivered)


async def test_an_encoding_error_of_any_length_ends_the_copy(table: Table, make_batch: Any) -> None:
    # Sent to the server as it was, one of 10,000 bytes hung asyncpg before 0.32.
    await table.make("id int8, place point")
    destination = await table.open("id", "place")
    async with asyncio.timeout(20):
        refused = await refusal(destination, make_batch(destination, [(1, (1.0, 2.0)), (2, "x" * 100_000)]))
    assert refused.suspect == 1
    assert await table.count() == 0


async def test_a_trigger_and_a_check_point_at_their_rows(table: Table, make_batch: Any) -> None:
    await table.db.execute("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.id = 7 THEN RAISE 'not this one'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse();
        ALTER TABLE events ADD CHECK (id <> 3)""")
    destination = await table.open()
    assert (await refusal(destination, make_batch(destination, [(i, "") for i in range(20)]))).suspect == 3
    assert (await refusal(destination, make_batch(destination, [(i, "") for i in range(5, 20)]))).suspect == 2


async def test_a_foreign_key_points_at_its_row_by_the_key_that_the_server_quotes(table: Table, make_batch: Any) -> None:
    await table.db.execute("CREATE TABLE kinds (id int8 PRIMARY KEY); INSERT INTO kinds VALUES (1)")
    await table.make("id int8, kind int8 REFERENCES kinds")
    destination = await table.open("id", "kind")
    refused = await refusal(destination, make_batch(destination, [(1, 1), (2, 9), (3, 1)]))
    assert refused.suspect == 1
    assert isinstance(refused.__cause__, asyncpg.ForeignKeyViolationError)


async def test_a_deferred_constraint_refuses_the_batch_at_commit(table: Table, make_batch: Any) -> None:
    await table.make("id int8 UNIQUE DEFERRABLE INITIALLY DEFERRED, body text")
    destination = await table.open()
    assert (await refusal(destination, make_batch(destination, [(1, "a"), (1, "b")]))).suspect == 1
    assert isinstance((await destination.write(make_batch(destination, [(1, "a")])))[0], Delivered)


async def test_rows_that_a_trigger_leaves_out_are_not_called_delivered(table: Table, make_batch: Any) -> None:
    await table.db.execute("""
        CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.id = 7 THEN RETURN NULL; END IF; RETURN NEW; END $$;
        CREATE TRIGGER skip BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION skip()""")
    destination = await table.open()
    refused = await refusal(destination, make_batch(destination, [(6, ""), (7, ""), (8, "")]))
    assert refused.suspect is None
    assert await table.count() == 0


async def test_the_servers_detail_which_quotes_the_row_is_not_passed_on(table: Table, make_batch: Any) -> None:
    await table.make("id int8 CHECK (id > 0), body text")
    destination = await table.open()
    refused = await refusal(destination, make_batch(destination, [(-1, "c4nary")]))
    assert "c4nary" not in str(refused.__cause__)


@pytest.mark.parametrize(
    ("setting", "error"),
    [("lock_timeout=50", asyncpg.LockNotAvailableError), ("statement_timeout=1000", asyncpg.QueryCanceledError)],
)
async def test_a_timeout_of_the_servers_is_retried_and_the_connection_is_good_afterwards(
    setting: str, error: type[Exception], table: Table, make_batch: Any
) -> None:
    destination = await table.open(dsn=f"{table.dsn}?{setting}", most_in_flight=1)
    async with table.db.transaction():
        await table.db.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        verdicts = await destination.write(make_batch(destination, [(1, "a")]))
    assert isinstance(verdicts[0], Retry)
    assert isinstance(verdicts[0].error, error)
    assert isinstance((await destination.write(make_batch(destination, [(1, "a")])))[0], Delivered)


async def test_a_serialization_conflict_is_retried(table: Table, make_batch: Any) -> None:
    await table.db.execute("""
        CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE 'conflict' USING ERRCODE = '40001'; END $$;
        CREATE TRIGGER conflict BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION conflict()""")
    destination = await table.open()
    assert isinstance((await destination.write(make_batch(destination, [(1, "a")])))[0], Retry)


@pytest.mark.parametrize("state", ["53100", "53200"])
async def test_a_server_short_of_something_throttles(state: str, table: Table, make_batch: Any) -> None:
    await table.db.execute(f"""
        CREATE FUNCTION full_up() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE 'full' USING ERRCODE = '{state}'; END $$;
        CREATE TRIGGER full_up BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION full_up()""")
    destination = await table.open()
    [verdict] = await destination.write(make_batch(destination, [(1, "a")]))
    assert isinstance(verdict, Retry)
    assert verdict.throttled


async def test_a_read_only_server_is_left_for_another_connection(table: Table, make_batch: Any) -> None:
    destination = await table.open()
    role = await table.db.fetchval("SELECT current_user")
    try:
        await table.db.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
        await destination._connections.pool.expire_connections()
        [verdict] = await destination.write(make_batch(destination, [(1, "a")]))
        assert isinstance(verdict, Retry)
    finally:
        await table.db.execute(f"ALTER ROLE {role} SET default_transaction_read_only = off")
    assert isinstance((await destination.write(make_batch(destination, [(1, "a")])))[0], Delivered)


async def test_a_type_changed_under_the_sink_never_stores_garbage(table: Table, make_batch: Any) -> None:
    # int8 and float8 are eight bytes both: a COPY encoded for the old type would be taken, with other values.
    await table.make("id int8, body text")
    destination = await table.open(most_in_flight=1)
    # Both connections of the pool know the old type.
    await asyncio.gather(*(destination.write(make_batch(destination, [(i, "a")])) for i in (1, 2)))
    await table.db.execute("ALTER TABLE events ALTER id TYPE float8")
    for i in (3, 4, 5):
        batch = make_batch(destination, [(i, "b")])
        while not isinstance((await destination.write(batch))[0], Delivered):
            pass
    assert await table.ids() == [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("change", ["int4", "numeric", "text"])
async def test_a_changed_type_is_read_again_and_the_sink_goes_on(change: str, table: Table, make_batch: Any) -> None:
    await table.make("id int8, body text")
    destination = await table.open()
    await destination.write(make_batch(destination, [(1, "a")]))
    await table.db.execute(f"ALTER TABLE events ALTER id TYPE {change}")
    verdicts = await destination.write(make_batch(destination, [(2, "b")]))
    assert isinstance(verdicts[0], Retry)
    row = ("3", "c") if change == "text" else (3, "c")
    assert isinstance((await destination.write(make_batch(destination, [row])))[0], Delivered)


async def test_a_row_accepted_for_the_old_type_is_checked_for_the_new_one(table: Table, make_batch: Any) -> None:
    await table.make("id float8, body text")
    destination = await table.open()
    batch = make_batch(destination, [(1.0, "kept out too"), (1.9, "would become 1 in silence")])
    await table.db.execute("ALTER TABLE events ALTER id TYPE int4")
    assert isinstance((await destination.write(batch))[0], Retry)
    refused = await refusal(destination, batch)
    assert refused.suspect == 0
    assert isinstance(refused.__cause__, InvalidRecord)
    assert await table.count() == 0


async def test_a_dropped_column_is_told_and_the_sink_goes_on_when_it_is_back(table: Table, make_batch: Any) -> None:
    destination = await table.open()
    batch = make_batch(destination, [(1, "a")])
    await table.db.execute("ALTER TABLE events DROP body")
    [verdict] = await destination.write(batch)
    assert isinstance(verdict, Rejected)
    assert isinstance(verdict.error, ConfigError)
    assert "no column 'body'" in str(verdict.error)
    await table.db.execute("ALTER TABLE events ADD body text")
    assert isinstance((await destination.write(batch))[0], Delivered)


async def test_a_column_added_beside_ours_changes_nothing(table: Table, make_batch: Any) -> None:
    destination = await table.open()
    await table.db.execute("ALTER TABLE events ADD more text DEFAULT 'x'")
    assert isinstance((await destination.write(make_batch(destination, [(1, "a")])))[0], Delivered)


async def test_many_writes_at_once_each_commit_their_own(table: Table, make_batch: Any) -> None:
    destination = await table.open(most_in_flight=4)
    batches = [make_batch(destination, [(i, "x") for i in range(n, n + 100)]) for n in range(0, 2000, 100)]
    gate = asyncio.Semaphore(4)

    async def write(batch: Any) -> Any:
        async with gate:
            return await destination.write(batch)

    await asyncio.gather(*map(write, batches))
    assert await table.ids() == [*range(2000)]
