"""Which way batches go, and that `transport`, `stats()` and the log tell it; and what is counted by target."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import UNSIGNED

from sinkwell.core import Backoff, ConfigError, Policy
from sinkwell.sinks._aws import AwsSettings, open_client
from sinkwell.sinks._aws_fit import NotDirectError
from sinkwell.sinks._aws_transport import Way
from sinkwell.sinks.sqs import TargetStats
from sinkwell.sinks.testing import AwsEndpoint, Drop, FailEntries, Late, Refuse
from tests.sinks.aws.service import DYNAMODB, KEYS, MESSAGING, SNS, SQS

if TYPE_CHECKING:
    from tests.sinks.aws.service import Messaging, Service


def handled(event: str) -> Any:
    session = get_session()
    session.set_credentials(*KEYS.values())
    session.register(event, lambda **_: None)
    return session


def configured(**options: Any) -> Any:
    session = get_session()
    session.set_credentials(*KEYS.values())
    session.set_default_client_config(AioConfig(**options))
    return session


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda service: handled(f"before-send.{service.name}"), "an event handler is registered"),
        (lambda service: handled(f"before-call.{service.name}.{service.writes}"), "an event handler is registered"),
        (lambda service: handled(f"choose-signer.{service.name}"), "an event handler is registered"),
        (lambda _: configured(signature_version=UNSIGNED), "the signature version is none, not v4"),
        (lambda _: configured(signature_version="v3"), "the signature version is v3, not v4"),
        (lambda _: configured(connector_args={"use_dns_cache": False}), "connector_args are set"),
    ],
)
async def test_what_only_the_client_does_is_left_to_it_and_said(
    service: Service, place: str, sink_for: Any, make: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="sinkwell")
    options: Any = {"session": make(service), **service.region}
    with pytest.raises(ConfigError, match=f'transport="direct" is not possible: .*{reason}'):
        async with sink_for(place, transport="direct", **options):
            pass
    async with sink_for(place, policy=Policy(), **options) as sink:
        assert (await sink.put(service.record("a"))).attempts == 1
        assert sink.transport.startswith("client (")
        assert reason in sink.transport
        assert reason in caplog.text
        assert sink.stats().transport == sink.transport
    assert sink.stats().transport == sink.transport


@pytest.mark.parametrize(("service", "way"), [(SQS, "direct"), (SNS, "direct"), (DYNAMODB, "client (an event handler")])
async def test_endpoint_discovery_is_left_to_the_client_of_the_one_service_that_has_it(
    service: Service, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without an endpoint_url, or botocore leaves it out. Nothing is sent.
    monkeypatch.setenv("AWS_ENDPOINT_DISCOVERY_ENABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    settings = AwsSettings(session=configured(), region_name="us-east-1")
    place = {SQS: {"QueueUrl": service.faraway}, SNS: {"TopicArn": service.faraway}}
    async with AsyncExitStack() as stack:
        client = await open_client(stack, service.name, settings, Policy())
        found = Way(service.name, "auto", Policy())
        await found.find(client, service.writes, place.get(service, {"RequestItems": {"orders": ()}}))
        await found.aclose()
    assert str(found).startswith(way)
    assert "Discovery" in str(found) or service is not DYNAMODB


@pytest.mark.parametrize(
    ("wanted", "told"), [("auto", "direct"), ("direct", "direct"), ("client", "client (asked for)")]
)
async def test_stats_tell_the_way_from_the_first_to_the_last(
    service: Service, place: str, sink_for: Any, wanted: Any, told: str
) -> None:
    sink = sink_for(place, transport=wanted)
    assert sink.stats().transport == "unopened"
    async with sink:
        assert sink.stats().transport == told
    assert sink.stats().transport == told


async def test_requests_on_the_direct_way_get_their_answers_when_it_is_left(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any
) -> None:
    # Its connections were closed under them: each of their records was UNKNOWN.
    async with sink_for(place, policy=Policy(on_unknown="fail")) as sink:
        way = sink._destination._way
        aws.plan.next(service.writes, Late(0.05))
        first = sink.put_nowait(service.record("a"))
        await aws.arrival(service.writes)
        left = way.direct
        way.leave(NotDirectError("another endpoint"))
        way.leave(NotDirectError("another endpoint"))
        assert (await sink.put(service.record("b"))).attempts == 1
        assert (await first).attempts == 1
        assert sink.stats().transport == "client (another endpoint)"
    assert sorted(service.texts(aws, place)) == ["a", "b"]
    assert not [pool for pool in left._pools.values() if pool._open]


@pytest.mark.parametrize("service", MESSAGING)
async def test_stats_count_by_target_what_became_of_each_attempt(
    aws: AwsEndpoint, service: Messaging, place: str, sink_for: Any
) -> None:
    other = service.create(aws, "other")
    aws.plan.next(service.writes, FailEntries(positions=[0]), FailEntries(positions=[0], code="ThrottlingException"))
    async with sink_for(place, policy=Policy(backoff=Backoff(base=0.001, cap=0.001))) as sink:
        await sink.put_many(["a", "b", "c"])
        aws.plan.next(service.writes, Drop())
        await sink.put("d")
        aws.plan.next(service.writes, FailEntries(code="InvalidParameterValue", sender_fault=True))
        await sink.put_many([service.message_to(other, "e")])
        aws.plan.always(service.writes, Refuse("InvalidParameterValue"))
        await sink.put_many([service.message_to(other, "f")])
        targets = getattr(sink.stats(), f"{service.place}s")
    assert targets == getattr(sink.stats(), f"{service.place}s")
    assert targets[place] == TargetStats(requests=5, records_sent=7, delivered=4, retries=2, throttles=1, unanswered=1)
    assert targets[other] == TargetStats(requests=2, records_sent=2, rejected=1, refusals=1)
