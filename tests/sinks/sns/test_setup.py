"""What is wrong before the first message: endpoints, credentials, topics, variables. And what must never be shown."""

from __future__ import annotations

import io
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from aiobotocore.session import get_session

from sinkwell.core import ConfigError, DeliveryError, Policy, RecordTooLarge
from sinkwell.sinks.sns import SnsMessage, SnsSink
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
    Throttle,
    TopicGone,
)

if TYPE_CHECKING:
    from pathlib import Path

ARN = "arn:aws:sns:us-east-1:000000000000:events"
KEY, SECRET, TOKEN, TEXT = "AKIACANARYKEY", "canary-secret", "canary-token", "canary-text"
NO_ATTRIBUTES = (
    b'<GetTopicAttributesResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><GetTopicAttributesResult>'
    b"<Attributes/></GetTopicAttributesResult></GetTopicAttributesResponse>"
)
QUICK = Policy(attempt_timeout=0.2, delivery_timeout=0.6)


async def opening_fails(topic_arn: str, **options: Any) -> pytest.ExceptionInfo[ConfigError]:
    with pytest.raises(ConfigError) as refused:
        async with SnsSink(topic_arn, **options):
            pass
    return refused


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (TopicGone(), r"SNS topic 'events' can't be used \(NotFound\)"),
        (AccessDenied(), r"can't be used \(AuthorizationError\)"),
        (ExpiredToken(), "the credentials are refused; renew them"),
        (Refuse("InvalidClientTokenId"), "the credentials are refused"),
        (Refuse("InvalidParameter"), "InvalidParameter"),
    ],
)
async def test_what_a_person_must_mend_is_told_when_the_sink_opens(
    aws: AwsEndpoint, session: Any, fault: Any, sentence: str
) -> None:
    topic_arn = aws.sns.create_topic("events")
    aws.plan.next("GetTopicAttributes", fault)
    error = await opening_fails(topic_arn, session=session, endpoint_url=aws.url)
    error.match(sentence)


@pytest.mark.parametrize(
    "fault",
    [
        *(Throttle("Throttled"), ServerError(500), ServerError(503), Drop(), Hang(), EmptyAnswer()),
        *(Garbage(b"<a/>"), Garbage(NO_ATTRIBUTES)),
    ],
    ids=repr,
)
async def test_a_topic_that_is_only_busy_at_the_start_is_read_by_the_first_write(
    aws: AwsEndpoint, session: Any, fault: Any
) -> None:
    topic_arn = aws.sns.create_topic("events", MaximumMessageSize="1024")
    aws.plan.next("GetTopicAttributes", fault)
    async with SnsSink(topic_arn, session=session, endpoint_url=aws.url, policy=Policy(attempt_timeout=0.3)) as sink:
        await sink.put("a")
        with pytest.raises(RecordTooLarge, match="1,024"):
            sink.put("x" * 1025)
    assert [message.message for message in aws.sns.messages(topic_arn)] == ["a"]


async def test_an_endpoint_out_of_reach_is_told_when_the_sink_opens(session: Any) -> None:
    async with AwsEndpoint() as gone:
        url = gone.url
    error = await opening_fails(ARN, session=session, endpoint_url=url)
    error.match(r"SNS topic 'events': could not be reached .*: check endpoint_url")


async def test_no_credentials_are_told_in_one_sentence(
    aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    (await opening_fails(ARN, endpoint_url=aws.url)).match("no AWS credentials for SNS topic 'events'")
    (await opening_fails(ARN, endpoint_url=aws.url, session=7)).match("session=")


@pytest.mark.parametrize("url", ["http://example.com", "https://169.254.169.254", "https://user:canary@example.com"])
async def test_an_endpoint_that_could_leak_credentials_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch, session: Any, url: str
) -> None:
    error = await opening_fails(ARN, session=session, endpoint_url=url)
    assert "canary" not in str(error.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", url)
    error = await opening_fails(ARN, session=session)
    assert "canary" not in str(error.value)


async def test_the_region_is_the_one_in_the_topics_arn(monkeypatch: pytest.MonkeyPatch) -> None:
    regions: list[object] = []
    session = get_session()
    make = session.create_client

    def create_client(name: str, **options: object) -> object:
        regions.append(options["region_name"])
        return make(name, **options)

    monkeypatch.setattr(session, "create_client", create_client)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", "http://169.254.169.254")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    await opening_fails("arn:aws:sns:ap-south-2:1:events", session=session)
    await opening_fails("arn:aws:sns:ap-south-2:1:events", session=session, region_name="us-west-2")
    assert regions == ["ap-south-2", "us-west-2"]


async def test_the_client_retries_nothing_and_has_a_connection_for_each_request(aws: AwsEndpoint, session: Any) -> None:
    topic_arn = aws.sns.create_topic("events")
    policy = Policy(concurrency=3, attempt_timeout=7.0)
    async with SnsSink(topic_arn, session=session, endpoint_url=aws.url, policy=policy) as sink:
        config = sink._destination._api.meta.config  # type: ignore[attr-defined]
    assert config.max_pool_connections == 3
    assert config.retries == {"total_max_attempts": 1, "mode": "standard"}


async def test_no_text_of_ours_ever_shows_a_secret_or_a_message(
    aws: AwsEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="sinkwell")
    session = aioboto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, aws_session_token=TOKEN)
    topic_arn = aws.sns.create_topic("events")
    quoting = f"The Canonical String should have been 'x-amz-security-token:{TOKEN}'"
    faults = [Drop(), Drop(resets=True), Hang(), ServerError(500), Throttle("Throttled"), AccessDenied()]
    faults += [EmptyAnswer(), Garbage(f"<a>{TOKEN}".encode())]
    faults += [Refuse("SignatureDoesNotMatch", quoting, 403), Refuse("InvalidParameter")]
    shown = io.StringIO()
    for fault in faults:
        sink = SnsSink(topic_arn, session=session, endpoint_url=aws.url, policy=QUICK, observer=Printing(shown))
        async with sink:
            aws.plan.always("PublishBatch", fault)
            with pytest.raises(DeliveryError) as failed:
                await sink.put(SnsMessage(TEXT, TEXT, {"k": TEXT}))
        aws.plan.clear()
        show(sink, failed.value, shown)
    text = shown.getvalue() + caplog.text
    assert "canary" not in text
    assert KEY not in text


class Printing:
    """An observer that shows every event."""

    def __init__(self, shown: io.StringIO) -> None:
        self._shown = shown

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda event: print(name, repr(event), file=self._shown)


def show(sink: SnsSink, failed: DeliveryError, shown: io.StringIO) -> None:
    """Print all that a log could: the sink, the error, the variables of the frames it went through, its causes."""
    report = traceback.TracebackException.from_exception(failed, capture_locals=True)
    frames = [frame for frame in report.stack if __file__ not in frame.filename]
    assert failed.__cause__ is not None
    cause = report.__cause__
    while cause is not None:
        assert not cause.stack, "foreign frames hold signed requests"
        print(*cause.format_exception_only(), file=shown)
        cause = cause.__cause__ or cause.__context__
    print(sink, sink.stats(), failed, repr(failed), sink._destination, file=shown)
    print([frame.locals for frame in frames], failed.__cause__.__dict__, file=shown)
    print(pickle.dumps(failed.__cause__.args), file=shown)


def test_from_env_reads_its_variables_and_the_policys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINKWELL_SNS_TOPIC_ARN", "arn:aws:sns:eu-west-1:1:events.fifo")
    monkeypatch.setenv("SINKWELL_SNS_STRICT_ORDER", "false")
    monkeypatch.setenv("SINKWELL_SNS_LINGER", "0.25")
    monkeypatch.setenv("SINKWELL_SNS_ENDPOINT_URL", "http://localhost:4566")
    monkeypatch.setenv("SINKWELL_SNS_REGION_NAME", "eu-west-1")
    sink = SnsSink.from_env(env_file=None)
    assert "sns:events.fifo" in repr(sink)
    destination: Any = sink._destination
    assert sink._policy.linger == 0.25
    assert destination.limits.keys_repeat
    assert destination._settings.endpoint_url == "http://localhost:4566"


def test_from_env_refuses_a_missing_topic_and_a_misspelt_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="SINKWELL_SNS_TOPIC_ARN is not set"):
        SnsSink.from_env(env_file=None)
    monkeypatch.setenv("SINKWELL_SNS_TOPC_ARN", ARN)
    with pytest.raises(ConfigError, match="did you mean SINKWELL_SNS_TOPIC_ARN"):
        SnsSink.from_env(env_file=None)
