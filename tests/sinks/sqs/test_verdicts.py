"""What AWS's answers and a client's exceptions mean, where no server can be made to show it."""

from __future__ import annotations

import ssl
from typing import Any

import aiohttp
import pytest
from botocore import exceptions as boto
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkwell.core import BatchRefused, Rejected, Retry, Unknown
from sinkwell.sinks._aws import setup_problem
from sinkwell.sinks._aws_verdicts import classify, entries_named, without_secrets
from sinkwell.sinks._sqs_destination import SQS_CODES

KEY = aiohttp.client_reqrep.ConnectionKey("localhost", 1, False, True, None, None, None)
NOT_CONNECTED = aiohttp.ClientConnectorError(KEY, OSError(111, "refused"))
NO_PROXY = aiohttp.ClientProxyConnectionError(KEY, OSError(111, "refused"))
PROXY_ANSWERED = aiohttp.ClientHttpProxyError(None, (), status=502)  # type: ignore[arg-type]
URL = "https://sqs.us-east-1.amazonaws.com"


def answered(code: object = "", status: object = 400, **more: Any) -> boto.ClientError:
    response = {"Error": {"Code": code, "Message": "m"} | more, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(response, "SendMessageBatch")  # type: ignore[arg-type]


def meant(error: Exception) -> str:
    try:
        verdict = classify(error, SQS_CODES, "SQS queue 'orders'")
    except BatchRefused:
        return "refused"
    throttled = isinstance(verdict, Retry) and verdict.throttled
    return "throttled" if throttled else {Retry: "retry", Rejected: "rejected", Unknown: "unknown"}[type(verdict)]


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (boto.EndpointConnectionError(endpoint_url=URL, error=NOT_CONNECTED), "retry"),
        (boto.EndpointConnectionError(endpoint_url=URL, error=aiohttp.ClientOSError(104, "reset")), "unknown"),
        (boto.EndpointConnectionError(endpoint_url=URL), "unknown"),
        (boto.ConnectTimeoutError(endpoint_url=URL), "retry"),
        (boto.ReadTimeoutError(endpoint_url=URL), "unknown"),
        (boto.ConnectionClosedError(endpoint_url=URL), "unknown"),
        (boto.HTTPClientError(error=OSError()), "unknown"),
        (boto.ProxyConnectionError(proxy_url=URL, error=NO_PROXY), "retry"),
        (boto.ProxyConnectionError(proxy_url=URL, error=PROXY_ANSWERED), "unknown"),
        (boto.SSLError(endpoint_url=URL, error=ssl.SSLCertVerificationError("self-signed")), "rejected"),
        (boto.SSLError(endpoint_url=URL, error=ssl.SSLError("handshake failure")), "retry"),
        (boto.NoCredentialsError(), "retry"),
        (boto.CredentialRetrievalError(provider="sso", error_msg="m"), "retry"),
        (boto.TokenRetrievalError(provider="sso", error_msg="m"), "retry"),
        (boto.ParamValidationError(report="Entries[0]"), "refused"),
        (RuntimeError("Session is closed"), "unknown"),
        (KeyError("a parser's bug"), "unknown"),
    ],
    ids=repr,
)
def test_an_exception_is_in_doubt_unless_nothing_can_have_left(error: Exception, meaning: str) -> None:
    assert meant(error) == meaning


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (answered("AWS.SimpleQueueService.NonExistentQueue"), "rejected"),
        (answered("Unheard.Of", QueryErrorCode="QueueDoesNotExist"), "rejected"),
        (answered("com.amazonaws.sqs#RequestThrottled", 403), "throttled"),
        (answered("KMS.ThrottlingException"), "throttled"),
        (answered("ThrottlingException", 503), "throttled"),
        (answered("InternalError", 400), "unknown"),
        (answered("TooManyEntriesInBatchRequest"), "refused"),
        (answered("Unheard.Of", 400), "refused"),
        (answered("413", 413), "refused"),
        (answered("404", 404), "rejected"),
        (answered("408", 408), "unknown"),
        (answered("307", 307), "unknown"),
        (answered("500", 500), "unknown"),
        (answered("Unheard.Of", None), "unknown"),
        (answered(7, "400"), "unknown"),
        (boto.ClientError({}, "SendMessageBatch"), "unknown"),
    ],
    ids=str,
)
def test_an_answer_is_judged_by_either_of_its_codes_then_by_its_status(error: Exception, meaning: str) -> None:
    assert meant(error) == meaning


def test_a_codes_own_exception_without_a_response_is_in_doubt() -> None:
    error = answered("NonExistentQueue")
    error.response = None  # type: ignore[assignment]
    assert meant(error) == "unknown"
    assert setup_problem(error, SQS_CODES, "SQS queue 'orders'") is None


def test_what_a_server_says_is_kept_short() -> None:
    verdict = classify(answered("QueueDoesNotExist", Message="x\n" * 1_000_000), SQS_CODES, "SQS queue 'orders'")
    assert len(str(verdict.error)) < 500
    assert "\n" not in str(verdict.error)


def test_a_ring_of_causes_is_cleaned_and_ends() -> None:
    first, second = ValueError(), boto.HTTPClientError(request="signed", error=OSError())
    first.__cause__, second.__cause__ = second, first
    without_secrets(first)
    assert second.request is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["0", "1", "2", "x"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["Successful", "Failed", "Id", "MessageId"]), inner, max_size=3)
    ),
)
ITEMS = st.lists(st.fixed_dictionaries({"Id": st.sampled_from(["0", "1", "2", "9", 0, None])}) | JSON, max_size=5)
ANSWERS = JSON | st.fixed_dictionaries({}, optional={"Successful": ITEMS, "Failed": ITEMS})


@settings(deadline=None)
@given(ANSWERS)
def test_an_entry_is_accounted_for_only_if_the_answer_names_it_exactly_once(answer: Any) -> None:
    said = entries_named(answer, 3)
    lists = [answer.get(name) for name in ("Successful", "Failed")] if isinstance(answer, dict) else []
    ids = [item.get("Id") for part in lists if isinstance(part, list) for item in part if isinstance(item, dict)]
    for index, item in enumerate(said):
        named = [entry_id for entry_id in ids if entry_id == str(index)]
        assert (item is not None) == (len(named) == 1)
