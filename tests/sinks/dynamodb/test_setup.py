"""Before the first record: tables, credentials, endpoints and settings; and what no text may ever show."""

from __future__ import annotations

import io
import logging
import traceback
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest

from sinkwell.core import Adaptive, Backoff, ConfigError, DeliveryError, Policy
from sinkwell.sinks.dynamodb import DynamoDBSink
from sinkwell.sinks.testing import (
    AccessDenied,
    AwsEndpoint,
    Drop,
    EmptyAnswer,
    ExpiredToken,
    FailEntries,
    Garbage,
    Hang,
    QueueGone,
    Refuse,
    ServerError,
    Throttle,
    ThrottleWrites,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY, SECRET, TOKEN, VALUE = "AKIACANARYKEY", "canary-secret", "canary-token", "canary-value"
QUICK = Policy(attempt_timeout=0.2, delivery_timeout=0.6, backoff=Backoff(base=0.005, cap=0.01))


async def opening_fails(table_name: str = "orders", **options: Any) -> pytest.ExceptionInfo[ConfigError]:
    with pytest.raises(ConfigError) as refused:
        async with DynamoDBSink(table_name, **({"region_name": "us-east-1", "policy": QUICK} | options)):
            pass
    return refused


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (QueueGone(), r"DynamoDB table 'orders' can't be used \(ResourceNotFoundException\)"),
        (AccessDenied(), r"can't be used \(AccessDeniedException\)"),
        (ExpiredToken(), "the credentials are refused; renew them"),
        (Refuse("UnrecognizedClientException"), "the credentials are refused"),
    ],
)
async def test_what_a_person_must_mend_is_told_when_the_sink_opens(
    aws: AwsEndpoint, session: Any, fault: Any, sentence: str
) -> None:
    aws.plan.always("DescribeTable", fault)
    (await opening_fails(session=session, endpoint_url=aws.url)).match(sentence)
    assert len(aws.requests("DescribeTable")) == 1


FLEETING = [Throttle(), ServerError(500), ServerError(503), Drop(), Hang(), EmptyAnswer(), Garbage()]


@pytest.mark.parametrize("fault", FLEETING, ids=repr)
async def test_a_table_that_is_only_busy_at_the_start_is_asked_again(
    aws: AwsEndpoint, sink_for: Any, fault: Any
) -> None:
    aws.plan.next("DescribeTable", fault, fault)
    async with sink_for(policy=QUICK) as sink:
        await sink.put({"id": "a"})
    assert len(aws.dynamodb.items("orders")) == 1


async def test_a_table_that_never_tells_its_key_stops_the_sink(aws: AwsEndpoint, session: Any) -> None:
    aws.plan.always("DescribeTable", EmptyAnswer())
    error = await opening_fails(session=session, endpoint_url=aws.url)
    error.match(r"DynamoDB table 'orders': its key can't be read \(AwsError\)")
    assert len(aws.requests("DescribeTable")) == 5


async def test_every_table_is_read_at_the_start(aws: AwsEndpoint, session: Any) -> None:
    aws.dynamodb.create_table("other", {"a": "N", "b": "B"})
    async with DynamoDBSink("orders", table_names=["other", "orders"], session=session, endpoint_url=aws.url):
        assert [request.document["TableName"] for request in aws.requests("DescribeTable")] == ["orders", "other"]
    (await opening_fails(table_names=["missing"], session=session, endpoint_url=aws.url)).match("'missing'")


async def test_a_table_under_two_names_is_refused_since_its_items_would_have_two_orders(
    aws: AwsEndpoint, session: Any
) -> None:
    twice = "arn:aws:dynamodb:us-east-1:000000000000:table/orders"
    (await opening_fails(table_names=[twice], session=session, endpoint_url=aws.url)).match("are one table")


@pytest.mark.parametrize("status", ["CREATING", "DELETING", "ARCHIVED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"])
async def test_a_table_that_takes_no_writes_is_told_when_the_sink_opens(
    aws: AwsEndpoint, session: Any, status: str
) -> None:
    aws.dynamodb.set_status("orders", status)
    (await opening_fails(session=session, endpoint_url=aws.url)).match(f"it is {status}")


async def test_an_endpoint_out_of_reach_is_told_when_the_sink_opens(session: Any) -> None:
    async with AwsEndpoint() as gone:
        url = gone.url
    error = await opening_fails(session=session, endpoint_url=url)
    error.match(r"DynamoDB table 'orders': could not be reached .*: check endpoint_url")


async def test_no_credentials_and_no_region_are_told_in_one_sentence(
    aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    (await opening_fails(endpoint_url=aws.url)).match("no AWS credentials")
    (await opening_fails(endpoint_url=aws.url, region_name=None)).match("no AWS region")
    (await opening_fails(endpoint_url=aws.url, session=7)).match("session=")


@pytest.mark.parametrize("url", ["http://169.254.169.254", "http://example.com", "https://user:canary@example.com"])
async def test_an_endpoint_that_could_leak_credentials_is_refused(
    monkeypatch: pytest.MonkeyPatch, session: Any, url: str
) -> None:
    error = await opening_fails(session=session, endpoint_url=url)
    error.match("endpoint_url")
    assert "canary" not in str(error.value)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
    (await opening_fails(session=session)).match("endpoint_url")


@pytest.mark.parametrize("name", ["", "ab", "a" * 256, "or ders", "é" * 3, 7, None, "orders\n"])
def test_a_name_that_no_table_can_have_is_refused(name: Any) -> None:
    for names in ((name, ()), ("orders", [name])):
        with pytest.raises(ConfigError, match="3 to 255"):
            DynamoDBSink(names[0], table_names=names[1])


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="floats"):
        DynamoDBSink("orders", floats="round")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="list of names"):
        DynamoDBSink("orders", table_names="other")


@pytest.mark.parametrize("concurrency", [3, Adaptive(1, 3)])
async def test_the_client_retries_nothing_and_has_a_connection_for_each_request(
    sink_for: Any, concurrency: Any
) -> None:
    async with sink_for(policy=Policy(concurrency=concurrency, attempt_timeout=7.0)) as sink:
        config = sink._destination._api.meta.config
    assert config.max_pool_connections == 3
    assert config.retries == {"total_max_attempts": 1, "mode": "standard"}
    assert (config.connect_timeout, config.read_timeout) == (7.0, 7.0)


FAULTS = [Drop(), Drop(resets=True), Hang(), ServerError(500), ThrottleWrites(), AccessDenied(), EmptyAnswer()]


async def test_no_text_of_ours_ever_shows_a_secret_or_a_value(
    aws: AwsEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="sinkwell")
    session = aioboto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, aws_session_token=TOKEN)
    quoting = f"The Canonical String should have been 'x-amz-security-token:{TOKEN}'"
    refusing = [Refuse("InvalidSignatureException", quoting, 403), Refuse("ValidationException"), FailEntries()]
    shown = io.StringIO()
    for fault in [*FAULTS, *refusing]:
        sink = DynamoDBSink("orders", session=session, endpoint_url=aws.url, region_name="us-east-1", policy=QUICK)
        async with sink:
            aws.plan.always("BatchWriteItem", fault)
            with pytest.raises(DeliveryError) as failed:
                await sink.put({"id": VALUE, "v": VALUE})
        aws.plan.clear()
        report = traceback.TracebackException.from_exception(failed.value, capture_locals=True)
        frames = [frame for frame in report.stack if __file__ not in frame.filename]
        cause = report.__cause__
        while cause is not None:
            assert not cause.stack, "foreign frames hold signed requests"
            cause = cause.__cause__ or cause.__context__
        print(sink, sink.stats(), failed.value, repr(failed.value), sink._destination, file=shown)
        print([frame.locals for frame in frames], vars(failed.value.__cause__ or ConfigError()), file=shown)
    text = shown.getvalue() + caplog.text
    assert "canary" not in text
    assert KEY not in text


def test_from_env_reads_its_variables_and_the_policys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "TABLE_NAME": "orders",
        "TABLE_NAMES": "events, users",
        "FLOATS": "decimal",
        "LINGER": "0.25",
        "ENDPOINT_URL": "http://localhost:8000",
        "REGION_NAME": "eu-west-1",
    }.items():
        monkeypatch.setenv(f"SINKWELL_DYNAMODB_{name}", value)
    sink = DynamoDBSink.from_env(env_file=None)
    destination: Any = sink._destination
    assert "dynamodb:orders" in repr(sink)
    assert sink._policy.linger == 0.25
    assert destination._names == ("orders", "events", "users")
    assert destination._floats == "decimal"
    assert destination._settings.endpoint_url == "http://localhost:8000"
    assert destination._settings.region_name == "eu-west-1"


def test_from_env_refuses_a_missing_table_and_a_misspelt_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="SINKWELL_DYNAMODB_TABLE_NAME is not set"):
        DynamoDBSink.from_env(env_file=None)
    monkeypatch.setenv("SINKWELL_DYNAMODB_TABEL_NAME", "orders")
    with pytest.raises(ConfigError, match="did you mean SINKWELL_DYNAMODB_TABLE_NAME"):
        DynamoDBSink.from_env(env_file=None)
