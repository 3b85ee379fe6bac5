"""DynamoDB Local, Amazon's own, with its tables in its data folder."""

import json
import urllib.request
from pathlib import Path
from typing import ClassVar

from tests.servers.java import all_jars, java
from tests.servers.server import Server, installed

_PINS = Path(__file__).parent / "dynamodb" / "pom.xml"
# DynamoDB Local checks that a request is signed, not by whom.
_UNSIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"


class DynamoDBLocalServer(Server):
    """Tables survive `kill` and `restart`. It never throttles and never leaves an item unprocessed."""

    name: ClassVar[str] = "DynamoDB Local"
    variable: ClassVar[str] = "SINKWELL_TEST_DYNAMODB_URL"
    template: ClassVar[str] = "http://{place}"

    @property
    def url(self) -> str:
        return self.address

    def command(self) -> list[str]:
        folder = installed("dynamodb", _PINS)
        classes = f"{folder / 'classes'}:{all_jars(folder / 'jars')}"
        options = ("-port", str(self.port), "-dbPath", str(self.folder), "-sharedDb", "-disableTelemetry")
        native = (f"-Dsqlite4java.library.path={folder / 'jars'}",)
        return java(classes, "Loopback", *options, folder=self.folder, max_heap="256m", properties=native)

    def answers(self) -> bool:
        headers = {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": "DynamoDB_20120810.ListTables",
            "Authorization": _UNSIGNED,
        }
        request = urllib.request.Request(self.url, b"{}", headers)
        with urllib.request.urlopen(request, timeout=5) as response:
            return "TableNames" in json.load(response)

    def furnish(self) -> None:
        from localstack.init import create_tables

        create_tables(self.url)
