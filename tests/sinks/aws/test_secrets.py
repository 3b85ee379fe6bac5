"""What no text of ours may ever show: credentials, and what stands in records."""

from __future__ import annotations

import io
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest

from sinkwell.core import Backoff, DeliveryError, Policy
from sinkwell.sinks.testing import (
    AccessDenied,
    AwsEndpoint,
    Drop,
    EmptyAnswer,
    FailEntries,
    Garbage,
    Hang,
    Refuse,
    ServerError,
)
from tests.sinks.aws.service import DYNAMODB, SNS, SQS

if TYPE_CHECKING:
    from tests.sinks.aws.service import Service

KEY, SECRET, TOKEN, TEXT = "AKIACANARYKEY", "canary-secret", "canary-token", "canary-text"
QUICK = Policy(attempt_timeout=0.2, max_attempts=2, backoff=Backoff(base=0.005, cap=0.01))
QUOTING = f"The Canonical String should have been 'x-amz-security-token:{TOKEN}'"
FAULTS = [Drop(), Drop(resets=True), Hang(), ServerError(500), AccessDenied(), EmptyAnswer()]
FAULTS += [Garbage(f"<a>{TOKEN}".encode()), FailEntries()]


class Printing:
    """An observer that shows every event."""

    def __init__(self, shown: io.StringIO) -> None:
        self._shown = shown

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)
        return lambda event: print(name, repr(event), file=self._shown)


def show(sink: Any, failed: DeliveryError, shown: io.StringIO) -> None:
    """Print all that a log could: the sink, the error, the variables of the frames it went through, its causes."""
    report = traceback.TracebackException.from_exception(failed, capture_locals=True)
    frames = [frame for frame in report.stack if __file__ not in frame.filename]
    cause, error = report.__cause__, failed.__cause__
    while cause is not None:
        assert not cause.stack, "foreign frames hold signed requests"
        print(*cause.format_exception_only(), file=shown)
        cause = cause.__cause__ or cause.__context__
    while error is not None:
        print(repr(error), vars(error), pickle.dumps(error.args), file=shown)
        error = error.__cause__ or error.__context__
    print(sink, sink.stats(), failed, repr(failed), sink._destination, file=shown)
    print([frame.locals for frame in frames], file=shown)


@pytest.mark.parametrize("transport", ["direct", "client"])
@pytest.mark.parametrize("is_watched", [True, False])
@pytest.mark.parametrize(
    ("service", "signature", "refusal"),
    [
        (SQS, "SignatureDoesNotMatch", "InvalidParameterValue"),
        (SNS, "SignatureDoesNotMatch", "InvalidParameter"),
        (DYNAMODB, "InvalidSignatureException", "ValidationException"),
    ],
)
async def test_no_text_of_ours_ever_shows_a_secret_or_a_record(
    aws: AwsEndpoint,
    service: Service,
    place: str,
    caplog: pytest.LogCaptureFixture,
    signature: str,
    refusal: str,
    transport: Any,
    is_watched: bool,
) -> None:
    caplog.set_level(logging.DEBUG, logger="sinkwell")
    session = aioboto3.Session(aws_access_key_id=KEY, aws_secret_access_key=SECRET, aws_session_token=TOKEN)
    shown = io.StringIO()
    given = {"session": session, "endpoint_url": aws.url, "transport": transport, **service.region}
    given["observer"] = Printing(shown) if is_watched else None
    async with service.sink(place, policy=QUICK, **given) as sink:
        for fault in [*FAULTS, service.throttling, Refuse(signature, QUOTING, 403), Refuse(refusal)]:
            aws.plan.always(service.writes, fault)
            with pytest.raises(DeliveryError) as failed:
                await sink.put(service.full_of(TEXT))
            aws.plan.clear()
            show(sink, failed.value, shown)
    text = shown.getvalue() + caplog.text
    assert "canary" not in text
    assert KEY not in text
