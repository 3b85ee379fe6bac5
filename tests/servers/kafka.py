"""Apache Kafka in KRaft mode: one process is broker and controller."""

import shutil
import socket
import ssl
import struct
import subprocess
from pathlib import Path
from typing import ClassVar, Self

from tests.servers.java import all_jars, java
from tests.servers.process import ServerFailed, free_port
from tests.servers.server import Server, installed

_PINS = Path(__file__).parent / "kafka" / "pom.xml"
_LOGGING = Path(__file__).parent / "kafka" / "log4j2.xml"
_CLUSTER_ID = "c2lua3dlbGwtdGVzdHMtMQ"
_LOGIN = "org.apache.kafka.common.security"


class KafkaServer(Server):
    """Topics survive `kill` and `restart`.

    A Kafka client goes where the broker tells it to, past any proxy. For faults, start a proxy on `proxy_port` with
    `proxied_port` as its target, and connect to the proxy: that listener tells clients the proxy's port.
    `secured` asks for TLS and for `username` with `password` (PLAIN, SCRAM) or an unsigned OAUTHBEARER token. A login
    by SCRAM-SHA-256 counts for `login_ms`; a connection that goes on after that is cut.
    What no ACL speaks of, everybody may.
    """

    username: ClassVar[str] = "writer"
    password: ClassVar[str] = "kafka-pass-word"
    login_ms: ClassVar[int] = 1_000

    name: ClassVar[str] = "Kafka"
    variable: ClassVar[str] = "SINKWELL_TEST_KAFKA_BOOTSTRAP"
    template: ClassVar[str] = "{place}"

    # Its number in the cluster.
    node = 1

    def __init__(self, address: str | None = None) -> None:
        super().__init__(address)
        self.proxied_port, self.proxy_port, self._controller_port = free_port(), free_port(), free_port()
        self.secured_port = free_port()

    @property
    def bootstrap_servers(self) -> str:
        return self.address

    @property
    def controller(self) -> str:
        return f"1@{self.host}:{self._controller_port}"

    @property
    def secured(self) -> str:
        return f"{self.host}:{self.secured_port}"

    def trust(self) -> ssl.SSLContext:
        """A context that trusts this server's certificate, and no other."""
        return ssl.create_default_context(cafile=str(self.folder / "certificate.pem"))

    def prepare(self) -> None:
        self._make_certificate()
        (self.folder / "server.properties").write_text(self._properties())
        scram = [f"--add-scram=SCRAM-SHA-{bits}=[name={self.username},password={self.password}]" for bits in (256, 512)]
        tool = ("format", "--cluster-id", _CLUSTER_ID, *scram, "--config")
        command = self._java("kafka.tools.StorageTool", *tool)
        done = subprocess.run(command, capture_output=True, timeout=self.time_limit, cwd=self.folder, check=False)
        if done.returncode:
            words = (done.stdout + done.stderr).decode(errors="replace").strip()
            raise ServerFailed(f"Kafka's StorageTool failed ({done.returncode}):\n{words}")

    def _make_certificate(self) -> None:
        if shutil.which("openssl") is None:
            raise ServerFailed("openssl is not on this machine: install it")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=kafka", "-days", "30"]
        names = ["-addext", f"subjectAltName=IP:{self.host}"]
        key, certificate = self.folder / "key.pem", self.folder / "certificate.pem"
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*command, *names, *files], check=True, capture_output=True, timeout=self.time_limit)
        (self.folder / "store.pem").write_text(key.read_text() + certificate.read_text())

    def command(self) -> list[str]:
        return self._java("kafka.Kafka")

    def answers(self) -> bool:
        """It answers ApiVersions (key 18, version 0): a broker does so only once its cluster has let it in."""
        with socket.create_connection((self.host, self.port), timeout=5) as client:
            request = struct.pack("!hhih", 18, 0, 7, -1)
            client.sendall(struct.pack("!i", len(request)) + request)
            reply = client.recv(10)
        return len(reply) == 10 and struct.unpack("!iih", reply)[1:] == (7, 0)

    def _java(self, main: str, *arguments: str) -> list[str]:
        jars = all_jars(installed("kafka", _PINS) / "jars")
        logging = (f"-Dlog4j2.configurationFile={_LOGGING}",)
        config = str(self.folder / "server.properties")
        return java(jars, main, *arguments, config, folder=self.folder, max_heap="384m", properties=logging)

    def _properties(self) -> str:
        listeners = {
            "PLAIN": self.port,
            "PROXIED": self.proxied_port,
            "SECURED": self.secured_port,
            "CONTROLLER": self._controller_port,
        }
        advertised = {"PLAIN": self.port, "PROXIED": self.proxy_port, "SECURED": self.secured_port}
        settings = {
            "process.roles": "broker,controller",
            "node.id": self.node,
            "controller.quorum.voters": self.controller,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "listeners": ",".join(f"{name}://{self.host}:{port}" for name, port in listeners.items()),
            "advertised.listeners": ",".join(f"{name}://{self.host}:{port}" for name, port in advertised.items()),
            "listener.security.protocol.map": ",".join(
                f"{name}:{'SASL_SSL' if name == 'SECURED' else 'PLAINTEXT'}" for name in listeners
            ),
            **self._security(),
            "log.dirs": self.folder / "data",
            "num.partitions": 3,
            # One broker holds every copy there is.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            # A killed broker is let in again only when its former session is over.
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 2000,
            # Tests don't wait for members that never come.
            "group.initial.rebalance.delay.ms": 0,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())

    def _security(self) -> dict[str, object]:
        listener = "listener.name.secured"
        login = {
            "plain": f'{_LOGIN}.plain.PlainLoginModule required user_{self.username}="{self.password}"',
            "scram-sha-512": f"{_LOGIN}.scram.ScramLoginModule required",
            "scram-sha-256": f"{_LOGIN}.scram.ScramLoginModule required",
            "oauthbearer": f'{_LOGIN}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="-"',
        }
        return {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "true",
            f"{listener}.sasl.enabled.mechanisms": ",".join(login).upper(),
            **{f"{listener}.{name}.sasl.jaas.config": f"{module};" for name, module in login.items()},
            f"{listener}.scram-sha-256.connections.max.reauth.ms": self.login_ms,
            f"{listener}.ssl.keystore.type": "PEM",
            f"{listener}.ssl.keystore.location": self.folder / "store.pem",
        }


class KafkaMember(KafkaServer):
    """One more broker in a running server's cluster: partitions can have copies, and lose their leader."""

    variable: ClassVar[str] = "SINKWELL_TEST_KAFKA_MEMBER"

    @classmethod
    def join(cls, server: KafkaServer, node: int) -> Self:
        """Start broker number `node`; return when the cluster has let it in."""
        member = cls()
        member.node, member._head = node, server
        try:
            member.prepare()
            member._launch()
            member._await_ready()
        except BaseException:
            member.stop()
            raise
        return member

    def prepare(self) -> None:
        (self.folder / "data").mkdir()
        # What the StorageTool would write for a broker that is no controller.
        (self.folder / "data" / "meta.properties").write_text(
            f"version=1\ncluster.id={_CLUSTER_ID}\nnode.id={self.node}\n"
        )
        (self.folder / "server.properties").write_text(self._properties())

    def _properties(self) -> str:
        place = f"{self.host}:{self.port}"
        settings = {
            "process.roles": "broker",
            "node.id": self.node,
            "controller.quorum.voters": self._head.controller,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "listeners": f"PLAIN://{place}",
            "advertised.listeners": f"PLAIN://{place}",
            "listener.security.protocol.map": "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.folder / "data",
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 2000,
            # A follower that hangs leaves the replicas in step as soon as that.
            "replica.lag.time.max.ms": 2000,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())
