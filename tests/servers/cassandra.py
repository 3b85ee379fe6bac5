"""Apache Cassandra: a ring of one node."""

import json
import socket
import struct
from pathlib import Path
from typing import ClassVar

from tests.servers.java import all_jars, java
from tests.servers.process import free_port
from tests.servers.server import Server, installed

_PINS = Path(__file__).parent / "cassandra" / "pom.xml"
# What its own start script opens of Java 17, to look at the insides of buffers and classes.
_OPENED = (
    *(f"java.base/java.{name}" for name in ("io", "lang", "lang.module", "lang.reflect", "net", "nio", "util")),
    *(f"java.base/java.util.{name}" for name in ("concurrent", "concurrent.atomic")),
    *(f"java.base/jdk.internal.{name}" for name in ("loader", "math", "module", "ref", "reflect", "util.jar")),
    "java.base/sun.nio.ch",
    "java.rmi/sun.rmi.transport.tcp",
    "jdk.management/com.sun.management.internal",
)
_EXPORTED = (
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
)


class CassandraServer(Server):
    """Tables survive `kill` and `restart`, but for the last seconds: its log is written every ten."""

    name: ClassVar[str] = "Cassandra"
    variable: ClassVar[str] = "SINKWELL_TEST_CASSANDRA"
    template: ClassVar[str] = "{place}"

    def __init__(self, address: str | None = None) -> None:
        super().__init__(address)
        self._storage_port = free_port()

    def prepare(self) -> None:
        (self.folder / "cassandra.yaml").write_text(json.dumps(self._settings()))  # JSON is YAML

    def command(self) -> list[str]:
        properties = (
            *(f"--add-opens={name}=ALL-UNNAMED" for name in _OPENED),
            *(f"--add-exports={name}=ALL-UNNAMED" for name in _EXPORTED),
            "-Djdk.attach.allowAttachSelf=true",
            f"-Dcassandra.config=file://{self.folder}/cassandra.yaml",
            f"-Dcassandra.storagedir={self.folder}",
            "-Dcassandra-foreground=yes",
            # Nobody else is in the ring.
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.ring_delay_ms=100",
            "-Dcassandra.superuser_setup_delay_ms=0",
        )
        jars = all_jars(installed("cassandra", _PINS) / "jars")
        main = "org.apache.cassandra.service.CassandraDaemon"
        return java(jars, main, folder=self.folder, max_heap="512m", properties=properties)

    def answers(self) -> bool:
        """It answers OPTIONS (5) of the native protocol's version 4 with SUPPORTED (6)."""
        with socket.create_connection((self.host, self.port), timeout=5) as client:
            client.sendall(struct.pack("!BBhBI", 4, 0, 0, 5, 0))
            header = client.recv(9)
        return len(header) == 9 and header[4] == 6

    def _settings(self) -> dict[str, object]:
        seeds = {"seeds": f"{self.host}:{self._storage_port}"}
        seed_provider = {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider", "parameters": [seeds]}
        data = self.folder / "data"
        return {
            "cluster_name": "sinkwell",
            "num_tokens": 1,
            "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
            "endpoint_snitch": "SimpleSnitch",
            "data_file_directories": [f"{data}/tables"],
            "commitlog_directory": f"{data}/commitlog",
            "hints_directory": f"{data}/hints",
            "saved_caches_directory": f"{data}/caches",
            "cdc_raw_directory": f"{data}/cdc",
            "commitlog_sync": "periodic",
            "commitlog_sync_period": "10000ms",
            "listen_address": self.host,
            "rpc_address": self.host,
            "storage_port": self._storage_port,
            "native_transport_port": self.port,
            "start_native_transport": True,
            "seed_provider": [seed_provider],
        }
