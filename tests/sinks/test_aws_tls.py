"""Whose certificate is taken, on both ways."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import ConfigError
from sinkwell.sinks.sqs import SqsSink

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return key, made


async def tls_server(key: Path, certificate: Path, seen: list[bytes]) -> asyncio.Server:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        body = b'{"Attributes": {"QueueArn": "a"}, "Successful": [{"Id": "0", "MessageId": "m"}]}'
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)


async def test_the_users_own_authority_is_trusted_for_its_hosts_only(
    certificate: tuple[Path, Path], session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[1]))
    seen: list[bytes] = []
    server = await tls_server(*certificate, seen)
    port = server.sockets[0].getsockname()[1]
    for transport in ("direct", "client"):
        url = f"https://localhost:{port}"
        async with SqsSink(f"{url}/1/q", session=session, endpoint_url=url, transport=transport) as sink:
            assert (await sink.put("a")).message_id == "m"
        url = f"https://127.0.0.1:{port}"  # for which the certificate is not
        with pytest.raises(ConfigError, match="certificate"):
            async with SqsSink(f"{url}/1/q", session=session, endpoint_url=url, transport=transport):
                pass
    server.close()
    assert len([head for head in seen if b"SendMessageBatch" in head]) == 2


@pytest.mark.parametrize("transport", ["direct", "client"])
async def test_a_session_that_checks_no_certificate_is_obeyed(
    certificate: tuple[Path, Path], session: Any, transport: Any
) -> None:
    seen: list[bytes] = []
    server = await tls_server(*certificate, seen)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    unchecked: Any = SimpleNamespace(client=partial(session.client, verify=False))
    async with SqsSink(f"{url}/1/q", session=unchecked, endpoint_url=url, transport=transport) as sink:
        assert (await sink.put("a")).message_id == "m"
    server.close()
