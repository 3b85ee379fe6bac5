"""Runs a service of this folder in the processes that its framework makes, ends it as the database hangs, and counts.

It takes the servers that SINKWELL_POSTGRES_DSN and REDIS_URL name; without, it starts its own from the test servers.
"""

import asyncio
import importlib
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack

import asyncpg
import httpx

from examples._servers import address_of
from examples.blocking.events import TABLE
from tests.servers import PostgresServer, RedisServer, Server, free_port

ORDERS, VIEWS, PROCESSES = 200, 100, 2
# Seconds in which a process that says it ends, and has nothing to deliver, has ended; Celery's waits for one.
GONE = 1.5


class Running:
    """A server in processes of its own; it logs on stderr."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, *words: str) -> "Running":
        """Run a module."""
        return cls(await asyncio.create_subprocess_exec(sys.executable, "-m", *words, stderr=asyncio.subprocess.PIPE))

    async def says(self, words: str, times: int = 1) -> None:
        """Wait until it has logged these words so often."""
        assert self.process.stderr is not None
        told: list[bytes] = []
        async with asyncio.timeout(30):
            while times:
                told.append(await self.process.stderr.readline())
                assert told[-1], f"{b''.join(told).decode()}\nit has ended, and did not say {words!r}"
                times -= words.encode() in told[-1]

    async def ended(self) -> None:
        """Wait until it has."""
        _, rest = await self.process.communicate()
        assert self.process.returncode == 0, rest.decode()


Ask = Callable[[str, int], Awaitable[None]]


async def run(server: Running, ask: Ask, ending: str) -> None:
    """Place orders; note views of which none can be delivered; end the server, and only then let the database go on."""
    database = await asyncpg.connect(os.environ["SINKWELL_POSTGRES_DSN"])
    await ask("order", ORDERS)
    async with database.transaction():
        await database.execute("LOCK TABLE event IN EXCLUSIVE MODE")
        await ask("view", VIEWS)
        server.process.terminate()
        await server.says(ending, PROCESSES)
        await asyncio.sleep(GONE)
    await server.ended()
    rows = await database.fetch("SELECT kind, count(*), array_agg(DISTINCT process) FROM event GROUP BY kind")
    await database.close()
    counts = {kind: count for kind, count, _ in rows}
    processes = {kind: set(numbers) for kind, _, numbers in rows}
    assert counts == {"start": 1, "order": ORDERS, "view": VIEWS}
    assert not processes["start"] & (processes["order"] | processes["view"]), "the parent put what its children should"
    print(f"{ORDERS} orders and {VIEWS} views are there, each once")


async def make_table() -> None:
    """Start with an empty one."""
    database = await asyncpg.connect(os.environ["SINKWELL_POSTGRES_DSN"])
    await database.execute(f"DROP TABLE IF EXISTS event; {TABLE}")
    await database.close()


def try_service(module: str) -> None:
    """Run a WSGI service under gunicorn."""

    async def main() -> None:
        await make_table()
        place = f"127.0.0.1:{free_port()}"
        words = ["gunicorn", "--config", "python:examples.blocking.gunicorn_conf", "--bind", place, f"{module}:app"]
        server = await Running.start(*words)
        await server.says("Booting worker", PROCESSES)
        async with httpx.AsyncClient(base_url=f"http://{place}", timeout=30) as client:

            async def ask(kind: str, count: int) -> None:
                answers = await asyncio.gather(*(client.post(f"/{kind}s/{number}") for number in range(count)))
                assert {answer.status_code for answer in answers} == {201 if kind == "order" else 202}

            await run(server, ask, "Worker exiting")

    _with_servers(main, SINKWELL_POSTGRES_DSN=PostgresServer)


def try_tasks(module: str) -> None:
    """Run a Celery worker with a prefork pool."""

    async def main() -> None:
        await make_table()
        tasks = importlib.import_module(module)
        words = ["celery", "-A", module, "worker", "--pool=prefork", f"--concurrency={PROCESSES}", "--loglevel=INFO"]
        server = await Running.start(*words)

        async def ask(kind: str, count: int) -> None:
            task = tasks.place_order if kind == "order" else tasks.note_view
            for number in range(count):
                task.delay(number)
            await server.says(" succeeded in ", count)

        await run(server, ask, "this process ends")

    _with_servers(main, SINKWELL_POSTGRES_DSN=PostgresServer, REDIS_URL=RedisServer)


def _with_servers(main: Callable[[], Coroutine[None, None, None]], **needed: type[Server]) -> None:
    """Let the processes find the servers in their environment."""
    with ExitStack() as servers:
        for variable, kind in needed.items():
            os.environ[variable] = servers.enter_context(address_of(kind, variable))
        asyncio.run(main())
