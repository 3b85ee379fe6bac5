"""What is wrong before the first record: endpoints, credentials, places, variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.session import get_session

from sinkwell.core import Adaptive, ConfigError, Policy, RecordTooLarge
from sinkwell.sinks.testing import (
    AccessDenied,
    AwsEndpoint,
    Drop,
    EmptyAnswer,
    ExpiredToken,
    Garbage,
    Hang,
    Refuse,
    ServerError,
)
from tests.sinks.aws.service import DYNAMODB, EVERY, SNS, SQS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sinks.aws.service import Messaging, Service

    Opening = Callable[..., Any]

QUICK = Policy(attempt_timeout=0.2, delivery_timeout=0.6)


@pytest.fixture
def opening_fails(service: Service, session: Any) -> Opening:
    async def fail(place: str, **options: Any) -> pytest.ExceptionInfo[ConfigError]:
        given = {"session": session, **service.region, "policy": QUICK} | options
        with pytest.raises(ConfigError) as refused:
            async with service.sink(place, **given):
                pass
        return refused

    return fail


TO_MEND = [
    *(
        (service, service.gone, rf"{service.title} {service.place} 'orders' can't be used \({service.gone_code}\)")
        for service in EVERY
    ),
    *((service, AccessDenied(), rf"can't be used \({service.denied_code}\)") for service in EVERY),
    *((service, ExpiredToken(), "the credentials are refused; renew them") for service in EVERY),
    (SQS, Refuse("InvalidClientTokenId"), "the credentials are refused"),
    (SNS, Refuse("InvalidClientTokenId"), "the credentials are refused"),
    (DYNAMODB, Refuse("UnrecognizedClientException"), "the credentials are refused"),
    (SQS, Refuse("InvalidSecurity"), "InvalidSecurity"),
    (SNS, Refuse("InvalidParameter"), "InvalidParameter"),
]


@pytest.mark.parametrize(("service", "fault", "sentence"), TO_MEND, ids=repr)
async def test_what_a_person_must_mend_is_told_when_the_sink_opens(
    aws: AwsEndpoint, service: Service, place: str, opening_fails: Opening, fault: Any, sentence: str
) -> None:
    aws.plan.always(service.reads, fault)
    (await opening_fails(place, endpoint_url=aws.url)).match(sentence)
    assert len(aws.requests(service.reads)) == 1


NO_ATTRIBUTES = (
    b'<GetTopicAttributesResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><GetTopicAttributesResult>'
    b"<Attributes/></GetTopicAttributesResult></GetTopicAttributesResponse>"
)
FLEETING = [ServerError(500), ServerError(503), Drop(), Hang(), EmptyAnswer()]
BUSY = [
    *((SQS, fault) for fault in [*FLEETING, SQS.throttling, Garbage(b'{"Attributes": {}}')]),
    *((SNS, fault) for fault in [*FLEETING, SNS.throttling, Garbage(b"<a/>"), Garbage(NO_ATTRIBUTES)]),
]


@pytest.mark.parametrize(("service", "fault"), BUSY, ids=repr)
async def test_a_place_that_is_only_busy_at_the_start_is_read_by_the_first_write(
    aws: AwsEndpoint, service: Messaging, sink_for: Any, fault: Any
) -> None:
    small = service.create(aws, "small", MaximumMessageSize="1024")
    aws.plan.next(service.reads, fault)
    async with sink_for(small) as sink:
        await sink.put("a")
        with pytest.raises(RecordTooLarge, match="1,024"):
            sink.put("x" * 1025)
    assert service.texts(aws, small) == ["a"]


async def test_an_endpoint_out_of_reach_is_told_when_the_sink_opens(service: Service, opening_fails: Opening) -> None:
    async with AwsEndpoint() as gone:
        place, url = service.create(gone), gone.url
    error = await opening_fails(place, endpoint_url=url)
    error.match(rf"{service.title} {service.place} 'orders': could not be reached .*: check endpoint_url")


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave the environment without credentials and without a region."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


@pytest.mark.usefixtures("unconfigured")
async def test_no_credentials_are_told_in_one_sentence(
    aws: AwsEndpoint, service: Service, place: str, opening_fails: Opening
) -> None:
    sentence = f"no AWS credentials for {service.title} {service.place} 'orders'"
    (await opening_fails(place, endpoint_url=aws.url, session=None)).match(sentence)
    (await opening_fails(place, endpoint_url=aws.url, session=7)).match("session=")


@pytest.mark.usefixtures("unconfigured")
@pytest.mark.parametrize("service", [SQS, DYNAMODB])
async def test_no_region_is_told_in_one_sentence(aws: AwsEndpoint, place: str, opening_fails: Opening) -> None:
    (await opening_fails(place, endpoint_url=aws.url, session=None, region_name=None)).match("no AWS region")


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://example.com", "https"),
        ("http://169.254.169.254", "metadata"),
        ("https://169.254.169.254", "metadata"),
        ("https://user:canary@example.com", "user name"),
    ],
)
async def test_an_endpoint_that_could_leak_credentials_is_refused_before_anything_is_sent(
    service: Service, opening_fails: Opening, monkeypatch: pytest.MonkeyPatch, url: str, what: str
) -> None:
    for options in ({"endpoint_url": url}, {}):
        error = await opening_fails(service.faraway, **options)
        error.match(f"endpoint_url.*{what}")
        assert "canary" not in str(error.value)
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service.name.upper()}", url)


PLACES = [
    (SQS, "https://sqs.ap-south-2.amazonaws.com/1/q", "ap-south-2"),
    (SQS, "https://us-gov-west-1.queue.amazonaws.com/1/q", "us-gov-west-1"),
    (SNS, "arn:aws:sns:ap-south-2:1:events", "ap-south-2"),
]


@pytest.mark.parametrize(("service", "there", "region"), PLACES)
async def test_the_region_is_the_one_in_the_places_name(
    service: Service, opening_fails: Opening, monkeypatch: pytest.MonkeyPatch, there: str, region: str
) -> None:
    regions: list[object] = []
    session = get_session()
    make = session.create_client

    def create_client(name: str, **options: object) -> object:
        regions.append(options["region_name"])
        return make(name, **options)

    monkeypatch.setattr(session, "create_client", create_client)
    monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service.name.upper()}", "http://169.254.169.254")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    for region_name in (None, "us-west-2"):
        await opening_fails(there, session=session, region_name=region_name)
    assert regions == [region, "us-west-2"]


@pytest.mark.parametrize("concurrency", [3, Adaptive(1, 3)])
async def test_the_client_retries_nothing_and_has_a_connection_for_each_request(
    place: str, sink_for: Any, concurrency: Any
) -> None:
    async with sink_for(place, policy=Policy(concurrency=concurrency, attempt_timeout=7.0)) as sink:
        config = sink._destination._api.meta.config
    assert config.max_pool_connections == 3
    assert config.retries == {"total_max_attempts": 1, "mode": "standard"}
    assert (config.connect_timeout, config.read_timeout) == (7.0, 7.0)


NAMES = [
    (SQS, "QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/1/orders.fifo", "QUEU_URL"),
    (SNS, "TOPIC_ARN", "arn:aws:sns:eu-west-1:1:orders.fifo", "TOPC_ARN"),
    (DYNAMODB, "TABLE_NAME", "orders.fifo", "TABEL_NAME"),
]


@pytest.mark.parametrize(("service", "name", "place", "misspelt"), NAMES)
def test_from_env_reads_its_variables_and_the_policys(
    service: Service, monkeypatch: pytest.MonkeyPatch, name: str, place: str, misspelt: str
) -> None:
    variables = {name: place, "LINGER": "0.25", "ENDPOINT_URL": "http://localhost:4566", "REGION_NAME": "eu-west-1"}
    for variable, value in variables.items():
        monkeypatch.setenv(f"SINKWELL_{service.name.upper()}_{variable}", value)
    sink = service.sink.from_env(env_file=None)
    assert f"{service.name}:orders.fifo" in repr(sink)
    assert sink._policy.linger == 0.25
    assert sink._destination._settings.endpoint_url == "http://localhost:4566"
    assert sink._destination._settings.region_name == "eu-west-1"


@pytest.mark.parametrize(("service", "name", "place", "misspelt"), NAMES)
def test_from_env_refuses_a_missing_place_and_a_misspelt_name(
    service: Service, monkeypatch: pytest.MonkeyPatch, name: str, place: str, misspelt: str
) -> None:
    prefix = f"SINKWELL_{service.name.upper()}_"
    with pytest.raises(ConfigError, match=f"{prefix}{name} is not set"):
        service.sink.from_env(env_file=None)
    monkeypatch.setenv(prefix + misspelt, place)
    with pytest.raises(ConfigError, match=f"did you mean {prefix}{name}"):
        service.sink.from_env(env_file=None)


@pytest.mark.parametrize(("service", "name", "place", "misspelt"), NAMES[:2])
def test_strict_order_is_a_setting_of_the_environment(
    service: Messaging, monkeypatch: pytest.MonkeyPatch, name: str, place: str, misspelt: str
) -> None:
    prefix = f"SINKWELL_{service.name.upper()}_"
    monkeypatch.setenv(prefix + name, place)
    assert not service.sink.from_env(env_file=None)._destination.limits.keys_repeat
    monkeypatch.setenv(prefix + "STRICT_ORDER", "false")
    assert service.sink.from_env(env_file=None)._destination.limits.keys_repeat
