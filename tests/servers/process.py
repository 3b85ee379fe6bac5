"""One server's processes: started under a guard, paused, resumed and killed as a whole."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers import guard

LOOPBACK = "127.0.0.1"
_LAST_WORDS_LINES = 40


class ServerFailed(Exception):
    """A server did not start, or died; the message ends with the server's own last words."""


def free_port() -> int:
    """A loopback port nobody listens on.

    Taken from below the range that the kernel gives to outgoing connections: no client can sit on it while a server
    restarts.
    """
    for _ in range(200):
        port = random.randint(15_000, 31_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise ServerFailed("no free port between 15000 and 31000 on 127.0.0.1")


class ServerProcess:
    """A running server command with everything it forked."""

    def __init__(
        self, command: Sequence[str], *, folder: Path, log: Path, user: str = "", env: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        # Nothing else: a PGDATA or RABBITMQ_NODENAME of the machine's own must not reach our server.
        inherited = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        with log.open("ab") as words:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(folder), user, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                cwd=folder,
                env={**inherited, **(env or {})},
                # A Ctrl-C meant for the test run must reach the server through us only.
                start_new_session=True,
            )
        assert self._guard.stdout is not None
        with self._guard.stdout as pid:
            self.pid = int(pid.readline())

    def is_running(self) -> bool:
        return self._guard.poll() is None

    def terminate(self, number: signal.Signals, *, within: float) -> None:
        """Ask the server to stop; kill it if it has not after `within` seconds."""
        guard.send_signal([self.pid], number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(within)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to all of it at once, as when a machine dies; the data folder stays."""
        guard.send_signal(guard.processes_below(self._guard.pid), signal.SIGKILL)
        self._guard.wait(10)
        self._close_lifeline()

    def end(self) -> None:
        """Kill all of it and remove the data folder."""
        self._close_lifeline()
        self._guard.wait(10)

    def pause(self) -> None:
        """SIGSTOP to all of it: connections stay open, nobody answers."""
        stopped: set[int] = set()
        while fresh := [pid for pid in guard.processes_below(self._guard.pid) if pid not in stopped]:
            guard.send_signal(fresh, signal.SIGSTOP)
            stopped.update(fresh)

    def resume(self) -> None:
        guard.send_signal(guard.processes_below(self._guard.pid), signal.SIGCONT)

    def last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-_LAST_WORDS_LINES:]) or "(it said nothing)"

    def _close_lifeline(self) -> None:
        assert self._guard.stdin is not None
        self._guard.stdin.close()
