"""`docker-compose.yml` gives people with Docker the servers that the tests start: same versions, same addresses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import (
    DynamoDBLocalServer,
    KafkaServer,
    LocalStackServer,
    PostgresServer,
    RabbitMQServer,
    RedisServer,
)

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
SERVERS = {
    "postgres": PostgresServer,
    "rabbitmq": RabbitMQServer,
    "redis": RedisServer,
    "kafka": KafkaServer,
    "dynamodb-local": DynamoDBLocalServer,
    "localstack": LocalStackServer,
}


def test_a_service_for_each_server_that_a_test_can_be_pointed_at() -> None:
    assert SERVICES.keys() == SERVERS.keys()
    told = dict(re.findall(r"^#   (SINKWELL_TEST_\w+)=(\S+)$", TEXT, re.MULTILINE))
    assert told.keys() == {server.variable for server in SERVERS.values()}
    for service, server in SERVERS.items():
        (port,) = SERVICES[service]["ports"]
        address, _, inside = port.rpartition(":")
        assert (address, inside) == (f"127.0.0.1:{inside}", inside)
        assert address in told[server.variable]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_one_version_and_tells_when_it_is_ready(service: str) -> None:
    known = {"image", "command", "environment", "ports", "healthcheck", "depends_on", "volumes"}
    assert SERVICES[service].keys() <= known
    assert re.search(r":\d+\.\d+(\.\d+)?(-alpine)?$", SERVICES[service]["image"])
    check = SERVICES[service]["healthcheck"]
    assert check.keys() <= {"test", "interval", "timeout", "retries", "start_period"}
    assert check["test"][0] in {"CMD", "CMD-SHELL"}


def test_who_needs_another_service_waits_until_it_is_ready() -> None:
    needs = {service: needed for service, options in SERVICES.items() if (needed := options.get("depends_on"))}
    assert needs == {"localstack": {"dynamodb-local": {"condition": "service_healthy"}}}


@pytest.mark.parametrize(("service", "artifact"), [("kafka", "kafka_2.13"), ("dynamodb-local", "DynamoDBLocal")])
def test_the_version_is_the_one_that_the_tests_run(service: str, artifact: str) -> None:
    pom = (ROOT / "tests" / "servers" / service.removesuffix("-local") / "pom.xml").read_text()
    versions = re.findall(rf"<artifactId>{re.escape(artifact)}</artifactId>\s*<version>([^<]+)</version>", pom)
    assert versions == [SERVICES[service]["image"].rpartition(":")[2]]


def test_what_is_mounted_is_there() -> None:
    mounts = [mount.split(":")[0] for options in SERVICES.values() for mount in options.get("volumes", [])]
    assert mounts == ["./localstack/init.py"]
    assert (ROOT / mounts[0]).is_file()
