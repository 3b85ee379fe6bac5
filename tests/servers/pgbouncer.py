"""PgBouncer from its Debian package, in transaction mode, before a PostgreSQL of the tests."""

import shutil
import signal
from typing import ClassVar

from tests.servers.postgres import PASSWORD, PostgresServer, PostgresSpeaker
from tests.servers.process import ServerFailed


class PgBouncerServer(PostgresSpeaker):
    """Hands the server's sessions around in turn, so that two transactions of one client hardly ever share one."""

    name: ClassVar[str] = "PgBouncer"
    variable: ClassVar[str] = "SINKWELL_TEST_PGBOUNCER_DSN"
    # "Immediate shutdown": SIGINT would wait for clients to end their transactions.
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, address: str | None = None, *, behind: PostgresServer) -> None:
        self.behind = behind
        super().__init__(address)

    def prepare(self) -> None:
        settings = {
            "listen_addr": self.host,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": self.folder / "users",
            "admin_users": "sinkwell",
            "pool_mode": "transaction",
            "default_pool_size": 8,
            "server_round_robin": 1,
            "server_login_retry": 0.1,
            "max_client_conn": 200,
        }
        place = f"host={self.behind.host} port={self.behind.port}"
        chosen = [f"{name} = {value}" for name, value in settings.items()]
        lines = ["[databases]", f"* = {place}", "[pgbouncer]", *chosen]
        (self.folder / "users").write_text(f'"sinkwell" "{PASSWORD}"\n')
        (self.folder / "settings").write_text("\n".join(lines) + "\n")
        self.own(self.folder, *self.folder.iterdir())

    def command(self) -> list[str]:
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        if program is None:
            raise ServerFailed("pgbouncer is not on this machine: run scripts/setup servers")
        return [program, str(self.folder / "settings")]
