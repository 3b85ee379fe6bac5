"""What one write says when the wire or the server breaks; then the rows are counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.core import Delivered, Retry, Unknown
from tests.faults import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers import PostgresServer
    from tests.sinks.postgres.conftest import Table


@pytest.fixture
async def proxy(postgres_server: PostgresServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy.to(postgres_server.host, postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
async def distant(table: Table, proxy: FaultProxy, postgres_server: PostgresServer) -> Any:
    return await table.open(dsn=postgres_server.through(proxy.host, proxy.port), most_in_flight=2)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is another program's doing
            await asyncio.sleep(0.01)


async def blocked_backend(table: Table, query: str = "events") -> int:
    """Wait until a write waits for a lock, and return its backend's process number."""
    async with asyncio.timeout(10):
        while True:
            await table.db.execute("SELECT pg_stat_clear_snapshot()")
            pid = await table.db.fetchval(
                "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND strpos(query, $1) > 0", query
            )
            if pid is not None:
                return pid
            await asyncio.sleep(0.01)


async def waiting_backends(table: Table) -> int:
    await table.db.execute("SELECT pg_stat_clear_snapshot()")
    return await table.db.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")


async def test_a_commit_lost_on_its_way_is_known_not_to_be_written(
    table: Table, proxy: FaultProxy, distant: Any, make_batch: Any
) -> None:
    proxy.up.when(b"COMMIT\0", proxy.reset)
    [verdict] = await distant.write(make_batch(distant, [(1, "a")]))
    assert isinstance(verdict, Retry)
    assert await table.count() == 0
    assert isinstance((await distant.write(make_batch(distant, [(1, "a")])))[0], Delivered)


async def test_a_commit_whose_answer_is_lost_is_known_to_be_written(
    table: Table, proxy: FaultProxy, distant: Any, make_batch: Any
) -> None:
    proxy.up.when(b"COMMIT\0", lambda: proxy.down.cut_after(0))
    [verdict] = await distant.write(make_batch(distant, [(1, "a")]))
    assert isinstance(verdict, Delivered)
    assert await table.ids() == [1]


async def test_a_commit_that_vanishes_is_known_not_to_be_written(
    table: Table, proxy: FaultProxy, distant: Any, make_batch: Any
) -> None:
    # The last answer before COMMIT tells the columns' types.
    proxy.down.when(b"id:20!,body:25", lambda: setattr(proxy.up, "swallow", True))
    write = asyncio.create_task(distant.write(make_batch(distant, [(1, "a")])))
    await until(lambda: proxy.up.bytes_swallowed)
    write.cancel()
    proxy.up.swallow = False
    [verdict] = await write
    assert isinstance(verdict, Retry)
    assert await table.count() == 0


async def test_a_commit_cancelled_while_unanswered_is_resolved_on_another_connection(
    table: Table, proxy: FaultProxy, distant: Any, make_batch: Any
) -> None:
    proxy.up.when(b"COMMIT\0", proxy.down.hold)
    write = asyncio.create_task(distant.write(make_batch(distant, [(1, "a")])))
    async with asyncio.timeout(10):
        while await table.count() == 0:  # noqa: ASYNC110 - the server's doing
            await asyncio.sleep(0.01)
    write.cancel()
    await asyncio.sleep(0.05)
    proxy.down.release()
    [verdict] = await write
    assert isinstance(verdict, Delivered)


async def test_a_commit_whose_server_stays_away_is_unknown(
    proxy: FaultProxy, distant: Any, make_batch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinkwell.sinks._postgres_fate.SECONDS", 0.3)
    batch = make_batch(distant, [(1, "a")])

    def cut() -> None:
        proxy.refuse()
        proxy.reset()

    proxy.up.when(b"COMMIT\0", cut)
    assert isinstance((await distant.write(batch))[0], Unknown)


async def test_a_second_cancellation_ends_the_wait_for_an_answer(
    proxy: FaultProxy, distant: Any, make_batch: Any
) -> None:
    proxy.up.when(b"COMMIT\0", proxy.down.hold)
    write = asyncio.create_task(distant.write(make_batch(distant, [(1, "a")])))
    await until(lambda: distant._connections.pool.get_idle_size() == 0)
    await asyncio.sleep(0.1)
    write.cancel()
    await asyncio.sleep(0.05)
    write.cancel()
    assert isinstance((await write)[0], Unknown)
    proxy.down.release()


async def test_a_write_cancelled_in_mid_copy_is_never_there(table: Table, make_batch: Any) -> None:
    destination = await table.open(most_in_flight=1)
    batch = make_batch(destination, [(i, "x" * 100) for i in range(100)])
    for _ in range(20):
        transaction = table.db.transaction()
        await transaction.start()
        await table.db.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        write = asyncio.create_task(destination.write(batch))
        await blocked_backend(table)
        write.cancel()
        [verdict, *_] = await write
        await transaction.rollback()
        assert isinstance(verdict, Retry)
    assert await table.count() == 0


async def test_a_cancelled_write_leaves_no_backend_waiting_for_its_lock(table: Table, make_batch: Any) -> None:
    destination = await table.open(most_in_flight=1)
    async with table.db.transaction():
        await table.db.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        write = asyncio.create_task(destination.write(make_batch(destination, [(1, "a")])))
        await blocked_backend(table)
        write.cancel()
        await write
        async with asyncio.timeout(5):
            while await waiting_backends(table):  # noqa: ASYNC110 - the server's doing
                await asyncio.sleep(0.01)
    assert isinstance((await destination.write(make_batch(destination, [(1, "a")])))[0], Delivered)


@pytest.mark.parametrize("ended", ["pg_terminate_backend", "pg_cancel_backend"])
async def test_a_copy_that_an_admin_ends_leaves_nothing_and_goes_again(
    ended: str, table: Table, make_batch: Any
) -> None:
    destination = await table.open(most_in_flight=1)
    batch = make_batch(destination, [(i, "x" * 1000) for i in range(5000)])
    async with table.db.transaction():
        await table.db.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
        write = asyncio.create_task(destination.write(batch))
        await table.db.execute(f"SELECT {ended}($1)", await blocked_backend(table))
        verdicts = await write
    assert {type(verdict) for verdict in verdicts} == {Retry}
    assert await table.count() == 0
    assert isinstance((await destination.write(batch))[0], Delivered)


async def test_a_commit_that_an_admin_cancels_is_not_written(table: Table, make_batch: Any) -> None:
    await table.db.execute(f"""
        CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN LOCK TABLE {table.schema}.turn IN ACCESS EXCLUSIVE MODE; RETURN NEW; END $$;
        CREATE TABLE turn (); CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION wait()""")
    destination = await table.open(most_in_flight=1)
    async with table.db.transaction():
        await table.db.execute("LOCK TABLE turn IN ACCESS EXCLUSIVE MODE")
        write = asyncio.create_task(destination.write(make_batch(destination, [(1, "a")])))
        await table.db.execute("SELECT pg_cancel_backend($1)", await blocked_backend(table, "COMMIT"))
        [verdict] = await write
    assert isinstance(verdict, Retry)
    assert isinstance(verdict.error, asyncpg.QueryCanceledError)
    assert await table.count() == 0
    assert isinstance((await destination.write(make_batch(destination, [(1, "a")])))[0], Delivered)


async def test_a_deadlock_with_another_program_is_retried_and_loses_nothing(table: Table, make_batch: Any) -> None:
    await table.db.execute("INSERT INTO events VALUES (1, ''), (2, ''); SET deadlock_timeout = '1min'")
    dsn = f"{table.dsn}?deadlock_timeout=300"
    destination = await table.open(dsn=dsn, mode="upsert", conflict_columns=["id"])
    batch = make_batch(destination, [(1, "ours"), (2, "ours")])
    async with table.db.transaction():
        await table.db.execute("UPDATE events SET body = 'theirs' WHERE id = 2")
        write = asyncio.create_task(destination.write(batch))
        await blocked_backend(table)
        await table.db.execute("UPDATE events SET body = 'theirs' WHERE id = 1")
        verdicts = await write
    assert [type(verdict.error) for verdict in verdicts] == [asyncpg.DeadlockDetectedError] * 2
    assert {type(verdict) for verdict in verdicts} == {Retry}
    assert await table.db.fetchval("SELECT count(*) FROM events WHERE body = 'theirs'") == 2
    assert {type(verdict) for verdict in await destination.write(batch)} == {Delivered}
    assert await table.db.fetchval("SELECT count(*) FROM events WHERE body = 'ours'") == 2


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
async def test_a_wire_cut_in_mid_copy_leaves_nothing(
    fraction: float, table: Table, proxy: FaultProxy, distant: Any, make_batch: Any
) -> None:
    batch = make_batch(distant, [(i, "x" * 1000) for i in range(5000)])
    proxy.up.cut_after(int(fraction * batch.size))
    [verdict, *_] = await distant.write(batch)
    assert isinstance(verdict, Retry)
    assert await table.count() == 0


async def test_a_server_that_refuses_connections_is_tried_again_later(
    proxy: FaultProxy, distant: Any, make_batch: Any
) -> None:
    proxy.refuse()
    proxy.reset()
    batch = make_batch(distant, [(1, "a")])
    assert isinstance((await distant.write(batch))[0], Retry)
    assert isinstance((await distant.write(batch))[0], Retry)
    await proxy.accept()
    assert isinstance((await distant.write(batch))[0], Delivered)


async def test_a_restarted_server_is_found_again(
    table: Table, make_batch: Any, postgres_server: PostgresServer
) -> None:
    destination = await table.open()
    batch = make_batch(destination, [(1, "a")])
    assert isinstance((await destination.write(batch))[0], Delivered)
    await asyncio.to_thread(postgres_server.restart)
    assert isinstance((await destination.write(make_batch(destination, [(2, "b")])))[0], Delivered)


async def test_a_server_that_dies_at_commit_and_comes_back_tells_what_became_of_it(
    proxy: FaultProxy, distant: Any, make_batch: Any, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinkwell.sinks._postgres_fate.SECONDS", 30.0)
    proxy.up.when(b"COMMIT\0", postgres_server.kill)
    write = asyncio.create_task(distant.write(make_batch(distant, [(1, "a")])))
    await asyncio.sleep(0.2)
    await asyncio.to_thread(postgres_server.restart)
    assert isinstance((await write)[0], Retry)


async def test_cancelled_before_it_has_a_connection_nothing_was_sent(table: Table, make_batch: Any) -> None:
    destination = await table.open(most_in_flight=1)
    held = [await destination._connections.pool.acquire() for _ in range(2)]
    write = asyncio.create_task(destination.write(make_batch(destination, [(1, "a")])))
    await asyncio.sleep(0.05)
    write.cancel()
    assert isinstance((await write)[0], Retry)
    for connection in held:
        await destination._connections.pool.release(connection)


async def test_a_lost_connection_does_not_hold_up_closing(proxy: FaultProxy, distant: Any, make_batch: Any) -> None:
    proxy.down.hold()
    write = asyncio.create_task(distant.write(make_batch(distant, [(1, "a")])))
    await asyncio.sleep(0.05)
    write.cancel()
    await write
    async with asyncio.timeout(5):
        await distant.aclose()
    proxy.down.release()
