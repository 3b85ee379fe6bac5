"""TLS with a real server: verified unless told otherwise, and nothing secret in what a failure says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from sinkwell.core import ConfigError
from sinkwell.sinks.postgres import PostgresSink
from tests.servers import PostgresTlsServer
from tests.servers.certificates import make_authority
from tests.sinks.postgres.test_postgres_open import assert_no_canary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE, ELSEWHERE, NAMED_ELSEWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresTlsServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(PostgresTlsServer.variable, raising=False)
        with PostgresTlsServer.start() as server:
            asyncio.run(furnish(server))
            yield server


async def furnish(server: PostgresTlsServer) -> None:
    connection = await asyncpg.connect(server.dsn, ssl="disable")
    await connection.execute("""
        CREATE FUNCTION over_tls() RETURNS bool LANGUAGE sql AS
            'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()';
        CREATE TABLE events (id int8, is_secret bool DEFAULT over_tls());
        CREATE ROLE writer LOGIN PASSWORD 'c4nary'; GRANT ALL ON events TO writer""")
    await connection.close()


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority that signed nothing here."""
    return make_authority(tmp_path_factory.mktemp("stranger"), "stranger")


async def is_secret(server: PostgresTlsServer, host: str, query: str = "") -> bool:
    """Put a row by this dsn, and tell whether it came over TLS."""
    dsn = f"postgresql://writer:c4nary@{host}:{server.port}/sinkwell{query and '?' + query}"
    async with PostgresSink(dsn, "events", ["id"], returning=["is_secret"]) as sink:
        receipt = await sink.put((1,))
    assert receipt.returned is not None
    return bool(receipt.returned["is_secret"])


@pytest.mark.parametrize(
    ("host", "query", "secret"),
    [
        (HERE, "sslmode=disable", False),
        (HERE, "", True),
        ("localhost", "sslmode=verify-full&sslrootcert={ca}", True),
        ("localhost", "sslrootcert={ca}", True),
        (HERE, "sslmode=verify-ca&sslrootcert={ca}", True),
        (NAMED_ELSEWHERE, "sslrootcert={ca}", True),
        (ELSEWHERE, "sslmode=require", True),
        (ELSEWHERE, "sslmode=disable", False),
    ],
)
async def test_a_dsn_that_the_certificate_suits_gets_in(
    host: str, query: str, secret: bool, server: PostgresTlsServer
) -> None:
    assert await is_secret(server, host, query.format(ca=server.authority)) is secret


@pytest.mark.parametrize(
    ("host", "query", "why"),
    [
        (ELSEWHERE, "", "certificate verify failed"),
        (NAMED_ELSEWHERE, "sslmode=verify-full", "certificate verify failed"),
        (NAMED_ELSEWHERE, "sslmode=verify-ca&sslrootcert={stranger}", "certificate verify failed"),
        ("localhost", "sslrootcert={stranger}", "certificate verify failed"),
        (ELSEWHERE, "sslrootcert={ca}", "IP address mismatch"),
        (HERE, "sslmode=verify-full&sslrootcert={ca}", "IP address mismatch"),
    ],
)
async def test_a_certificate_of_another_authority_or_for_another_host_is_refused_without_the_password(  # noqa: PLR0917 - a table and fixtures
    host: str, query: str, why: str, server: PostgresTlsServer, stranger: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with pytest.raises(ConfigError, match=why) as caught:
        await is_secret(server, host, query.format(ca=server.authority, stranger=stranger))
    assert_no_canary(caught.value)
    assert "c4nary" not in caplog.text


async def test_an_authority_that_the_system_trusts_is_trusted_by_default(
    server: PostgresTlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.authority))
    assert await is_secret(server, NAMED_ELSEWHERE)
    with pytest.raises(ConfigError, match="IP address mismatch"):
        await is_secret(server, ELSEWHERE)


async def test_who_says_that_there_is_no_tls_gets_no_password() -> None:
    heard = bytearray()

    async def deny(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(8))
        writer.write(b"N")
        heard.extend(await reader.read())
        writer.close()

    async with await asyncio.start_server(deny, ELSEWHERE, 0) as man_in_the_middle:
        port = man_in_the_middle.sockets[0].getsockname()[1]
        dsn = f"postgresql://writer:c4nary@{ELSEWHERE}:{port}/sinkwell"
        with pytest.raises(ConfigError, match="rejected SSL"):
            await PostgresSink(dsn, "events", ["id"]).open()
    assert len(heard) == 8
