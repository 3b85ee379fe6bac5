"""Starts the predict service and puts load on it: what tests and benchmarks of the services share.

Run it: `/optimized_predict` under 100 requests a second, for a few seconds.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from tests.servers import free_port

ROOT = Path(__file__).parents[2]
SERVER = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")


@dataclass(frozen=True)
class Load:
    """What the load saw: answers that were right and in time, and those that were not; and what they cost.

    Attributes:
        cpu_ms: milliseconds of the processor that a request cost the service.
        generator_cores: how many processors the load itself kept busy; at 1.0 it is what is measured.
    """

    asked_rate: int
    succeeded: int
    failed: int
    rate: float
    times_ms: dict[int, int]
    cpu_ms: float = float("nan")
    generator_cores: float = float("nan")

    def percentile(self, percent: float) -> float:
        """Milliseconds within which so many requests were answered, the failed ones included as locust counts them."""
        left = sum(self.times_ms.values()) * percent / 100
        for milliseconds, count in sorted(self.times_ms.items()):
            left -= count
            if left <= 0:
                return float(milliseconds)
        return float("nan")


@dataclass(frozen=True)
class Service:
    """One worker that answers."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """Seconds of processor time so far, of the worker and what it asked the kernel for."""
        used = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def service(module: str = "examples.async_batcher.predict_service:app", **environment: str) -> Iterator[Service]:
    """Run the service, one worker."""
    port = free_port()
    words = [sys.executable, "-m", "uvicorn", module, "--port", str(port), *SERVER]
    with subprocess.Popen(words, cwd=ROOT, env=os.environ | environment) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            _await_answer(f"{url}/openapi.json", server)
            yield Service(url, server.pid)
        finally:
            server.send_signal(signal.SIGINT)


def _await_answer(url: str, server: subprocess.Popen[bytes]) -> None:
    ends = monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert server.poll() is None, "the service has ended"
            assert monotonic() < ends, "the service does not answer"
            sleep(0.1)


def load(served: Service, endpoint: str, rate: int, seconds: int) -> Load:
    """Put so many requests a second on it; the first two seconds, in which the users come, count in short runs only."""
    words = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("load_test.py")), "--headless"]
    words += ["--host", served.url, "-u", str(rate), "-r", str(max(1, rate // 2)), "-t", f"{seconds + 2}s"]
    words += ["--reset-stats"] if seconds >= 5 else []
    words += ["--json", "--only-summary", "--skip-log", "--exit-code-on-error", "0"]
    before, generator_before = served.cpu_seconds(), _cpu_of_children()
    done = subprocess.run(
        words, cwd=ROOT, env=os.environ | {"ENDPOINT": endpoint}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)
    count, failed = entry["num_requests"], entry["num_failures"]
    elapsed = entry["last_request_timestamp"] - entry["start_time"]
    times = {int(key): number for key, number in entry["response_times"].items()}
    # All that was asked, the two seconds before the figures count included.
    asked = count * (seconds + 1) / seconds if seconds >= 5 else count
    cpu_ms = (served.cpu_seconds() - before) * 1e3 / asked
    generator_cores = (_cpu_of_children() - generator_before) / (seconds + 2)
    return Load(rate, count - failed, failed, (count - failed) / elapsed, times, cpu_ms, generator_cores)


def _cpu_of_children() -> float:
    """Seconds of processor time of the processes that have ended: the load generators."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    with service() as running:
        seen = load(running, "/optimized_predict", 100, 3)
    print(f"{seen.succeeded} answers, {seen.failed} failures, 95% within {seen.percentile(95):.0f} ms")
