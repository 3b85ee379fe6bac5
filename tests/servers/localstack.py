"""LocalStack's SQS and SNS, from its Python package in a virtual environment of its own: no Docker, no token."""

import json
import urllib.request
from pathlib import Path
from typing import ClassVar

from tests.servers.server import Server, installed

_PINS = Path(__file__).parent / "localstack" / "requirements.txt"
_MAIN = Path(__file__).parent / "localstack" / "loopback.py"


class LocalStackServer(Server):
    """Keeps nothing: a restart leaves only the queues and topics of `localstack/init.py`."""

    name: ClassVar[str] = "LocalStack"
    variable: ClassVar[str] = "SINKWELL_TEST_LOCALSTACK_URL"
    template: ClassVar[str] = "http://{place}"

    @property
    def url(self) -> str:
        return self.address

    def command(self) -> list[str]:
        return [str(installed("localstack", _PINS) / "venv" / "bin" / "python"), str(_MAIN)]

    def environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "SERVICES": "sqs,sns",
            "EAGER_SERVICE_LOADING": "1",
            "GATEWAY_LISTEN": f"{self.host}:{self.port}",
            "LOCALSTACK_HOST": f"{self.host}:{self.port}",
            # Queue URLs that lead back here, whatever a machine's names resolve to.
            "SQS_ENDPOINT_STRATEGY": "path",
            # No certificate from outside, no usage events, no name server.
            "SKIP_SSL_CERT_DOWNLOAD": "1",
            "DISABLE_EVENTS": "1",
            "DNS_ADDRESS": "0",
            # Inside a container it would take the whole file system for its own.
            "OVERRIDE_IN_DOCKER": "0",
            "FILESYSTEM_ROOT": folder,
            "TMPDIR": folder,
            "XDG_CACHE_HOME": folder,
        }

    def answers(self) -> bool:
        with urllib.request.urlopen(f"{self.url}/_localstack/health", timeout=5) as response:
            services = json.load(response)["services"]
        return {services[name] for name in ("sqs", "sns")} <= {"running", "available"}

    def furnish(self) -> None:
        from localstack.init import create_messaging

        create_messaging(self.url)
