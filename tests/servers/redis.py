"""Redis from its Debian package, in memory."""

import shutil
import socket
from typing import ClassVar

from tests.servers.process import ServerFailed
from tests.servers.server import Server


class RedisServer(Server):
    """Keeps nothing: a restart empties it."""

    name: ClassVar[str] = "Redis"
    variable: ClassVar[str] = "SINKWELL_TEST_REDIS_URL"
    template: ClassVar[str] = "redis://{place}/0"

    @property
    def url(self) -> str:
        return self.address

    def command(self) -> list[str]:
        program = shutil.which("redis-server")
        if program is None:
            raise ServerFailed("redis-server is not on this machine: run tests/servers/setup")
        return [program, "--bind", self.host, "--port", str(self.port), "--save", "", "--appendonly", "no"]

    def answers(self) -> bool:
        with socket.create_connection((self.host, self.port), timeout=2) as client:
            client.sendall(b"PING\r\n")
            return client.recv(7) == b"+PONG\r\n"
