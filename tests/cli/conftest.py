"""The installed command, run as users run it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from sinkwell.sinks.testing import AwsEndpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.servers import PostgresServer

    Query = Callable[[str], Awaitable[list[asyncpg.Record]]]

PROGRAM = Path(sys.executable).with_name("sinkwell")
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass
class Ended:
    code: int
    out: str
    errors: str

    def figure(self, name: str) -> str:
        """The summary's figure of that name."""
        return next(line.split()[-1] for line in self.out.splitlines() if line.strip().startswith(name))


@dataclass
class Command:
    """`sinkwell` with a folder and an environment of its own; the environment of the test run does not count."""

    folder: Path
    env: dict[str, str]

    def write(self, name: str, text: str | bytes) -> str:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return name

    def letters(self, name: str = "dead.ndjson") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]

    async def start(self, *arguments: str, stdin: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *(PROGRAM, *arguments), cwd=self.folder, env=self.env, stdin=stdin, stdout=pipe, stderr=pipe
        )

    async def run(self, *arguments: str, stdin: str | bytes = b"") -> Ended:
        process = await self.start(*arguments)
        return await ended(process, stdin.encode() if isinstance(stdin, str) else stdin)


async def ended(process: asyncio.subprocess.Process, stdin: bytes | None = None) -> Ended:
    async with asyncio.timeout(60):
        out, errors = await process.communicate(stdin)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), errors.decode())


@pytest.fixture
def command(tmp_path: Path) -> Command:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SINKWELL_", "AWS_", "PG"))}
    return Command(tmp_path, {**kept, **KEYS, "COLUMNS": "120"})


@pytest.fixture
async def aws() -> AsyncIterator[AwsEndpoint]:
    async with AwsEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def queue(aws: AwsEndpoint) -> tuple[str, ...]:
    """The options that name a queue of the endpoint."""
    return "--sink", "sqs", "--queue-url", aws.sqs.create_queue("orders"), "--endpoint-url", aws.url


@pytest.fixture
async def query(postgres_server: PostgresServer, command: Command) -> AsyncIterator[Query]:
    """Run SQL in a schema of the test's own, which the command sees as well."""
    connection = await asyncpg.connect(postgres_server.dsn)
    await connection.execute("DROP SCHEMA IF EXISTS cli CASCADE; CREATE SCHEMA cli; SET search_path TO cli")
    command.env["SINKWELL_POSTGRES_DSN"] = postgres_server.dsn

    async def run(sql: str) -> list[asyncpg.Record]:
        return await connection.fetch(sql)

    yield run
    await connection.execute("DROP SCHEMA cli CASCADE")
    await connection.close()
