"""RabbitMQ from its Debian package, as a node of its own beside whatever else runs on the machine."""

import os
import socket
import subprocess
from pathlib import Path
from typing import ClassVar

from tests.servers.process import ServerFailed, free_port
from tests.servers.server import Server

# Not the wrapper in /usr/sbin, which forces the user, the folder and the log of the system's own broker on us.
_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_CONTROL = _PROGRAM.with_name("rabbitmqctl")


class RabbitMQServer(Server):
    """Durable queues and persistent messages survive `kill` and `restart`.

    Its Erlang port mapper and its distribution port are its own, so that neither a system broker nor a second test
    run can clash with it.
    """

    name: ClassVar[str] = "RabbitMQ"
    variable: ClassVar[str] = "SINKWELL_TEST_RABBITMQ_URL"
    template: ClassVar[str] = "amqp://sinkwell:sinkwell@{place}/"

    def __init__(self, address: str | None = None) -> None:
        super().__init__(address)
        self._mapper_port, self._distribution_port = free_port(), free_port()

    @property
    def url(self) -> str:
        return self.address

    def prepare(self) -> None:
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {self.host}:{self.port}\n"
            "default_user = sinkwell\n"
            "default_pass = sinkwell\n"
            # Else it stops taking messages while another's build fills the disk.
            "disk_free_limit.absolute = 50MB\n"
            "log.console.level = warning\n"
        )
        for empty in ("enabled_plugins", "rabbitmq-env.conf"):
            (self.folder / empty).touch()

    def command(self) -> list[str]:
        if not _PROGRAM.exists():
            raise ServerFailed(f"{_PROGRAM} is not on this machine: run tests/servers/setup")
        return [str(_PROGRAM)]

    def environment(self) -> dict[str, str]:
        # Without schedulers that spin while they wait: the broker shares few cores with the tests.
        erlang = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "RABBITMQ_NODENAME": f"sinkwell-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": self.host,
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang,
        }

    def control(self, *words: str) -> str:
        """Run `rabbitmqctl` against it: an alarm, a permission. Takes a second or two."""
        self._ours()
        done = subprocess.run(
            [_CONTROL, "--quiet", *words],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.environment()},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode:
            raise ServerFailed(f"rabbitmqctl {words[0]} failed:\n{done.stderr}")
        return done.stdout

    def answers(self) -> bool:
        """It greets a client with connection.start: it listens only after it has booted."""
        with socket.create_connection((self.host, self.port), timeout=2) as client:
            client.sendall(b"AMQP\x00\x00\x09\x01")
            greeting = client.recv(11)
        return greeting[:1] == b"\x01" and greeting[7:11] == b"\x00\x0a\x00\x0a"
