"""What all test servers share: start on free ports with a folder of their own, health check, break, mend, stop."""

import hashlib
import os
import shutil
import signal
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from tests.servers.process import LOOPBACK, ServerFailed, ServerProcess, free_port

_ROOT = Path(__file__).parents[2]
_HEALTH_CHECK_EVERY = 0.05
_POLITE_STOP = 15.0


def installed(part: str, pins: Path) -> Path:
    """The folder in which `tests/servers/setup` put what these pins name."""
    folder = _ROOT / ".cache" / "servers" / f"{part}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    if not (folder / "complete").exists():
        raise ServerFailed(f"{part} is not installed as {pins.relative_to(_ROOT)} asks: run tests/servers/setup")
    return folder


class Server(ABC):
    """A real server for tests, demos and benchmarks: `with PostgresServer.start() as server: …`.

    All calls block; `kill`, `pause` and `resume` only for milliseconds. In a test whose event loop must go on, use
    `await asyncio.to_thread(server.restart)`.
    """

    name: ClassVar[str]
    # The environment variable that points at a running server instead of starting one.
    variable: ClassVar[str]
    # The client's address, with `{place}` where host and port go.
    template: ClassVar[str]
    time_limit: ClassVar[float] = 60.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, address: str | None = None) -> None:
        self._is_ours = address is None
        self._process: ServerProcess | None = None
        self._is_paused = False
        self.host, self.port = (LOOPBACK, free_port()) if address is None else _place_of(address)
        self.address = address or self.template.format(place=f"{self.host}:{self.port}")
        self.folder = (
            Path(tempfile.mkdtemp(prefix=f"sinkwell-{type(self).__name__.lower()}-")) if self._is_ours else Path()
        )

    @classmethod
    def start(cls, **options: Any) -> Self:
        """Start a server, or take the one that the environment variable names; return when it answers."""
        server = cls(os.environ.get(cls.variable), **options)
        try:
            if server._is_ours:
                server.prepare()
                server._launch()
            server._await_ready()
            server.furnish()
        except BaseException:
            server.stop()
            raise
        return server

    def through(self, host: str, port: int) -> str:
        """The client's address with another host and port: that of a proxy in front of this server."""
        return self.address.replace(f"{_place_text(self.address)}", f"{host}:{port}", 1)

    def kill(self) -> None:
        """SIGKILL, as when its machine dies. `restart` starts it again on the same ports and data."""
        self._ours().kill()
        self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nobody answers, until `resume`."""
        self._ours().pause()
        self._is_paused = True

    def resume(self) -> None:
        self._ours().resume()
        self._is_paused = False

    def restart(self) -> None:
        """Stop it politely (if it runs) and start it on the same ports and data."""
        if not self._is_ours:
            raise ServerFailed(f"{self.name} came from {self.variable}: it is not ours to restart")
        if self._process is not None:
            self._process.resume()
            self._process.terminate(self.stop_signal, within=_POLITE_STOP)
        self._launch()
        self._await_ready()
        self.furnish()

    def mend(self) -> None:
        """Whatever a test did to it: up and answering again."""
        if not self._is_ours:
            return
        if self._process is None or not self._process.is_running():
            self.restart()
        elif self._is_paused:
            self.resume()

    def stop(self) -> None:
        """End it for certain and remove its data."""
        if not self._is_ours:
            return
        if self._process is not None:
            self._process.end()
            self._process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def command(self) -> list[str]:
        """What to run; it stays in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Speak the server's protocol to it once. False, or an OSError, means: not yet."""

    def prepare(self) -> None:  # noqa: B027 - some have nothing to lay out
        """Lay out the data folder, once."""

    def furnish(self) -> None:  # noqa: B027 - most are empty at first
        """Create in it what the tests expect, after every start; what is there already is fine."""

    def environment(self) -> dict[str, str]:
        return {}

    def user(self) -> str:
        """The user it runs as; empty for ours."""
        return ""

    def _launch(self) -> None:
        self._is_paused = False
        self._process = ServerProcess(
            self.command(),
            folder=self.folder,
            log=self.folder / "server.log",
            user=self.user(),
            env={"HOME": str(self.folder), **self.environment()},
        )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self.time_limit
        while not self._answers_now():
            if self._process is not None and not self._process.is_running():
                raise ServerFailed(f"{self.name} stopped before it answered:\n{self._process.last_words()}")
            if time.monotonic() > deadline:
                words = self._process.last_words() if self._process is not None else f"{self.variable} is set"
                raise ServerFailed(
                    f"{self.name} at {self.host}:{self.port} gave no answer in {self.time_limit:g} s:\n{words}"
                )
            time.sleep(_HEALTH_CHECK_EVERY)

    def _answers_now(self) -> bool:
        try:
            return self.answers()
        except OSError:
            return False

    def _ours(self) -> ServerProcess:
        if self._process is None:
            why = "is not running" if self._is_ours else f"came from {self.variable}: it is not ours to break"
            raise ServerFailed(f"{self.name} {why}")
        return self._process


def _place_text(address: str) -> str:
    """`host:port` of an address, with or without a scheme."""
    return urlsplit(address).netloc.rpartition("@")[2] if "://" in address else address.partition(",")[0]


def _place_of(address: str) -> tuple[str, int]:
    host, _, port = _place_text(address).rpartition(":")
    if not host or not port.isdigit():
        raise ServerFailed(f"{address!r} names no host and port")
    return host, int(port)
