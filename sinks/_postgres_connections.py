"""The connections of one sink: lent for a batch, given back sound or cut. Before: a pool. After: the destination."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from sinkwell.core import ConfigError

from ._extras import needs_extra
from ._postgres_connect import Route, is_shared, keeps_statements, open_pool
from ._postgres_fate import IDENTITY, Transaction, life_of
from ._postgres_vectors import teach, vectors_among

with needs_extra("postgres"):
    import asyncpg

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterable
    from uuid import UUID

    from ._postgres_connect import Bare, Connection, Dsn, Pool, Tls
    from ._postgres_table import Column

# How long a connection is given to stop what it was doing, before it is cut.
_LAST_WORD_SECONDS: Final = 1.0


class Connections:
    """A pool, the caller's or one of our own, and what became of the connections lent from it.

    Args:
        dsn: where the server is; `None` if there is a `given` pool.
        given: the caller's own, which is left open.
        tls: overrides what the URI and the host ask for.
        most_in_flight: how many are lent for writing at once.
        timeout: seconds that connecting may take.
    """

    def __init__(self, dsn: Dsn | None, *, given: Pool | None, tls: Tls, most_in_flight: int, timeout: float) -> None:
        self._dsn = dsn
        self._tls: Tls = tls
        self._timeout = timeout
        # One more than there are writes: the fate of a COMMIT is asked while others write.
        self._size = most_in_flight + 1
        self._pool = given
        self._is_ours = given is None
        # Whether a pooler hands the server's sessions around, a transaction each perhaps.
        self._is_shared = False
        # Types of pgvector's, which each connection of ours is taught.
        self._vectors: frozenset[str] = frozenset()
        # Which life of its server a connection began in, by its settings, an object of each connection's own: two
        # servers of one dsn may give out the same process number. Left when it is lost.
        self._lives: dict[object, str] = {}
        # Connections on their way out; nothing else runs here between two writes.
        self._leaving: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Make the pool, if it is ours; it connects when it is first used.

        Raises:
            ConfigError: the caller's pool can't be used through what stands before the server.
        """
        if self._dsn is not None:
            route = Route(self._dsn, timeout=self._timeout, tls=self._tls)
            self._is_shared = await route.is_shared()
            self._pool = await open_pool(route, size=self._size, is_shared=self._is_shared, teach=self._teach)
            return
        async with self.pool.acquire() as connection:
            self._is_shared = await is_shared(connection)
            if self._is_shared and await keeps_statements(connection):
                raise ConfigError(
                    "the pool reaches the server through a pooler (PgBouncer or the like), where prepared statements "
                    "get mixed up: create it with statement_cache_size=0"
                )

    async def learn(self, connection: Connection, columns: Iterable[Column]) -> None:
        """Let this connection, and all that come after it, write and read these columns' types."""
        vectors = self._vectors | vectors_among(columns)
        if not self._is_ours or vectors == self._vectors:
            return
        self._vectors = vectors
        await self._teach(connection)

    async def _teach(self, connection: Connection | Bare) -> None:
        if self._vectors:
            await teach(connection, self._vectors)

    @property
    def pool(self) -> Pool:
        """The pool, once it is open."""
        assert self._pool is not None, "the core opens a destination before it writes"
        return self._pool

    @property
    def identity(self) -> str:
        """What to ask inside a transaction, beside its number, to tell it from all others."""
        return IDENTITY if self._is_shared else ""

    async def transaction(self, connection: Connection, found: asyncpg.Record, batch: UUID | None) -> Transaction:
        """Make the transaction's identity of what was found."""
        if self._is_shared:
            return Transaction(found["xid"], found["pid"], found["life"], batch)
        return Transaction(found["xid"], connection.get_server_pid(), await self._life(connection), batch)

    async def _life(self, connection: Connection) -> str:
        """Return the life of the server that it began in; asked once for each connection."""
        own = connection.get_settings()
        life = self._lives.get(own)
        if life is None:

            def forget(_connection: object) -> None:
                self._lives.pop(own, None)

            # Before the question, so that a loss meanwhile is not missed.
            connection.add_termination_listener(forget)
            life = self._lives[own] = await life_of(connection)
        return life

    def roll_back_soon(self, connection: Connection) -> None:
        """Leave the transaction and give the connection back, or cut it."""
        self._soon(self._roll_back(connection))

    def close_soon(self, connection: Connection) -> None:
        """Cut a connection whose write was given up, once it was told to stop: else it may hold locks for long."""
        self._soon(self._close(connection))

    def use_soon(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        """Do something on a sound connection while nobody waits for it, then give it back, or cut it if that fails."""
        self._soon(self._use(connection, work))

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _use(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        try:
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await work
        except Exception:  # noqa: BLE001 - what was to be done is no batch's business
            await self.cut(connection)
        else:
            await self.give_back(connection)

    async def _roll_back(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await connection.execute("ROLLBACK")
        except Exception:  # noqa: BLE001 - then it is of no use
            await self.cut(connection)
        else:
            await self.give_back(connection)

    async def _close(self, connection: Connection) -> None:
        with suppress(Exception):
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await connection.execute("ROLLBACK")
        await self.cut(connection)

    async def cut(self, connection: Connection) -> None:
        """End it, and take it out of the pool."""
        # One that noticed its end has left the pool by itself.
        with suppress(asyncpg.InterfaceError):
            connection.terminate()
        await self.give_back(connection)

    async def give_back(self, connection: Connection) -> None:
        """Put it back into the pool."""
        # A cancellation here comes after the batch's fate is known: it must not replace it.
        with suppress(Exception, asyncio.CancelledError):
            await self.pool.release(connection)

    async def aclose(self) -> None:
        """Let go of every connection; the caller's own pool is left open."""
        if self._leaving:
            await asyncio.wait(self._leaving)
        pool, self._pool = self._pool, None
        if pool is None or not self._is_ours:
            return
        try:
            async with asyncio.timeout(_LAST_WORD_SECONDS):
                await pool.close()
        except TimeoutError:
            pool.terminate()


@asynccontextmanager
async def broken_off_when_lost(connection: Connection) -> AsyncGenerator[None]:
    """Raise TimeoutError inside when the connection is lost.

    asyncpg (0.32) waits for ever for room in the socket if the connection is lost while a COPY waits for it.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as watch:

        def lost(_connection: object) -> None:
            watch.reschedule(loop.time())

        connection.add_termination_listener(lost)
        try:
            yield
        finally:
            with suppress(asyncpg.InterfaceError):
                connection.remove_termination_listener(lost)
