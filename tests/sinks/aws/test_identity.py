"""Whose requests they are and by what clock, on both ways of sending; and what nobody may doubt: that nothing went."""

from __future__ import annotations

import asyncio
import re
import socket
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from aiobotocore.session import get_session
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ClientError, ReadTimeoutError

from sinkwell.core import Backoff, ConfigError, DeliveryError, DeliveryRejected, Outcome, Policy
from sinkwell.sinks._aws import _read
from sinkwell.sinks._aws_identity import Identity
from sinkwell.sinks.testing import AwsEndpoint, AwsRequest, ClockAhead, ExpiredToken, Hang, Redirect, Refuse
from tests.sinks.aws.service import DYNAMODB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.sinks.aws.service import Service

CERTAIN = Policy(max_attempts=5, on_unknown="fail", backoff=Backoff(base=0.001, cap=0.002))
HOUR = 3600


@pytest.fixture(params=["direct", "client"])
def transport(request: pytest.FixtureRequest) -> str:
    way: str = request.param
    return way


class Provider:
    """What gives a session its credentials: `failures` first, each in place of an answer."""

    def __init__(self, *, seconds: float = HOUR) -> None:
        self.seconds = seconds
        self.asked = 0
        self.failures: deque[Exception | None] = deque()

    async def renew(self) -> dict[str, str]:
        self.asked += 1
        if self.failures:
            failure = self.failures.popleft()
            if failure is None:
                await asyncio.sleep(HOUR)
            else:
                raise failure
        expires = datetime.now(UTC) + timedelta(seconds=self.seconds)
        return {
            "access_key": f"KEY{self.asked}",
            "secret_key": "s",
            "token": "t",
            "expiry_time": expires.isoformat(),
        }

    async def session(self) -> Any:
        session = get_session()
        session._credentials = AioRefreshableCredentials.create_from_metadata(
            await self.renew(), refresh_using=self.renew, method="test"
        )
        return session


async def test_credentials_that_expire_and_can_not_be_renewed_end_at_once_in_clear_words(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, transport: str
) -> None:
    async with sink_for(place, transport=transport, policy=CERTAIN) as sink:
        aws.plan.always(service.writes, ExpiredToken())
        with pytest.raises(DeliveryRejected, match="it is not written") as rejected:
            await sink.put(service.record("a"))
    assert rejected.value.outcome is Outcome.NOT_WRITTEN
    words = r"the credentials have expired \(ExpiredToken(Exception)?\) and the session can't renew them"
    assert re.search(words, str(rejected.value.__cause__))
    assert len(aws.requests(service.writes)) == 1


async def test_credentials_that_aws_calls_expired_before_their_time_are_renewed_for_it(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, transport: str
) -> None:
    provider = Provider()
    async with sink_for(
        place, session=await provider.session(), **service.region, transport=transport, policy=CERTAIN
    ) as sink:
        aws.plan.next(service.writes, ExpiredToken())
        assert (await sink.put(service.record("a"))).attempts == 2
        assert (await sink.put(service.record("b"))).attempts == 1
    assert provider.asked == 2


FAILURES = [
    ClientError({"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "AssumeRole"),
    ClientError({"Error": {"Code": "InternalError"}, "ResponseMetadata": {"HTTPStatusCode": 500}}, "AssumeRole"),
    ReadTimeoutError(endpoint_url="http://169.254.169.254/"),
    RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
]


@pytest.mark.parametrize("failure", FAILURES, ids=repr)
async def test_a_provider_of_credentials_that_fails_leaves_nothing_in_doubt(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, transport: str, failure: Any
) -> None:
    # It was read as the service's own answer, or as a request of which nobody knows what it did.
    provider = Provider(seconds=30)
    async with sink_for(
        place, session=await provider.session(), **service.region, transport=transport, policy=CERTAIN
    ) as sink:
        provider.failures.append(failure)
        assert (await sink.put(service.record("a"))).attempts == 2
        assert sink.stats().retries == 1
    assert len(aws.requests(service.writes)) == 1


async def test_a_provider_that_refuses_is_told_when_the_sink_opens(
    service: Service, place: str, sink_for: Any, transport: str
) -> None:
    provider = Provider(seconds=30)
    session = await provider.session()
    provider.failures.append(FAILURES[0])
    with pytest.raises(ConfigError, match=r"no AWS credentials for .*:orders \(AssumeRole answered AccessDenied"):
        async with sink_for(place, session=session, **service.region, transport=transport):
            pass


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
async def test_a_clock_that_is_wrong_costs_one_request_and_no_record(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, transport: str, seconds: float
) -> None:
    async with sink_for(place, transport=transport, policy=CERTAIN) as sink:
        aws.plan.always("*", ClockAhead(seconds))
        assert (await sink.put(service.record("a"))).attempts == 2
        assert (await sink.put(service.record("b"))).attempts == 1
        assert sink.stats().requests == 3
    refused, *taken = aws.requests(service.writes)
    assert b"Signature" in refused.answer
    assert [len(request.applied) for request in (refused, *taken)] == [0, 1, 1]
    assert sorted(service.texts(aws, place)) == ["a", "b"]


async def test_a_sink_opens_in_spite_of_a_wrong_clock_at_the_cost_of_one_request(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, transport: str
) -> None:
    aws.plan.always("*", ClockAhead(HOUR))
    async with sink_for(place, transport=transport, policy=CERTAIN) as sink:
        assert (await sink.put(service.record("a"))).attempts == 1
    assert [len(aws.requests(action)) for action in (service.reads, service.writes)] == [2, 1]


async def test_a_signature_that_is_refused_by_a_clock_that_is_right_moves_nothing(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, transport: str
) -> None:
    async with sink_for(place, transport=transport, policy=Policy(max_attempts=2, backoff=CERTAIN.backoff)) as sink:
        aws.plan.always(service.writes, ClockAhead(200))
        assert (await sink.put(service.record("a"))).attempts == 1
        assert sink._destination._way.identity.clock.ahead == 0.0


@pytest.fixture
def black_hole() -> Iterator[Any]:
    """Make a port where connections are neither made nor refused: its queue of those that wait is full."""
    sockets: list[socket.socket] = []

    def make(port: int) -> None:
        listener = socket.socket()
        sockets.append(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        for _ in range(2):
            waiting = socket.socket()
            sockets.append(waiting)
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))

    yield make
    for each in sockets:
        each.close()


# One service for all: what waits for its time to be up costs that time, and the three share this code.
ONCE = Policy(attempt_timeout=0.5, max_attempts=1)


@pytest.mark.parametrize("service", [DYNAMODB])
async def test_a_provider_of_credentials_that_does_not_answer_in_time_is_no_doubt(
    service: Service, place: str, sink_for: Any, transport: str
) -> None:
    provider = Provider(seconds=30)
    async with sink_for(
        place, session=await provider.session(), **service.region, transport=transport, policy=ONCE
    ) as sink:
        provider.failures.append(None)
        with pytest.raises(DeliveryError) as failed:
            await sink.put(service.record("a"))
    assert failed.value.outcome is Outcome.NOT_WRITTEN


@pytest.mark.parametrize("service", [DYNAMODB])
async def test_when_the_time_of_an_attempt_is_up_no_part_of_it_is_sent(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, transport: str
) -> None:
    # The first part's verdict was that nothing went, and the others went when the attempt was over.
    provider = Provider(seconds=30)

    def refuse_and_hang(request: AwsRequest) -> Refuse | None:
        if request.action != service.writes:
            return None
        provider.failures.append(None)
        return Refuse("Brand.New", status=400)

    aws.plan.script(refuse_and_hang)
    async with sink_for(
        place, session=await provider.session(), **service.region, transport=transport, policy=ONCE
    ) as sink:
        outcomes = await sink.put_many(service.record(text) for text in "abc")
    assert [outcome.outcome for outcome in outcomes] == [Outcome.UNKNOWN] * 3
    assert len(aws.requests(service.writes)) == 1


@pytest.mark.parametrize("service", [DYNAMODB])
async def test_a_connection_that_is_never_made_is_no_doubt(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, transport: str, black_hole: Any
) -> None:
    async with sink_for(place, transport=transport, policy=ONCE) as sink:
        port = int(aws.url.rpartition(":")[2])
        await aws.aclose()
        black_hole(port)
        for _ in range(5):  # the client's kept connection learns of its end
            await asyncio.sleep(0)
        with pytest.raises(DeliveryError) as failed:
            await sink.put(service.record("a"))
    assert failed.value.outcome is Outcome.NOT_WRITTEN


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every session of aiohttp watched, as an instrumentation of the whole program does."""
    make = aiohttp.ClientSession.__init__

    def make_watched(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs, trace_configs=[aiohttp.TraceConfig()])

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", make_watched)


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("service", [DYNAMODB])
async def test_what_was_written_is_in_doubt_and_no_redirect_followed_where_others_watch_the_connections(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any
) -> None:
    # Another's watch was taken for the sink's own: a request that hung was called certain not to be written.
    async with AwsEndpoint() as elsewhere, sink_for(place, transport="client", policy=ONCE) as sink:
        for fault in (Hang(), Redirect(elsewhere.url)):
            aws.plan.next(service.writes, fault)
            with pytest.raises(DeliveryError) as failed:
                await sink.put(service.record("a"))
            assert failed.value.outcome is Outcome.UNKNOWN
        assert elsewhere.log == []


async def test_a_client_that_does_not_tell_when_it_writes_leaves_doubt() -> None:
    async def hang() -> None:
        await asyncio.sleep(HOUR)

    sending = asyncio.ensure_future(Identity(object()).send(hang))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_an_answer_that_is_given_up_takes_its_connection_with_it() -> None:
    # It was left to the garbage collector.
    class Raw:
        is_closed = False

        @property
        def content(self) -> Any:
            return self

        async def iter_any(self) -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(HOUR)

        def close(self) -> None:
            self.is_closed = True

    raw = Raw()
    reading = asyncio.ensure_future(_read(raw, 100))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert raw.is_closed


class Rotated(AioCredentials):
    """Credentials of somebody's own make, which read a file that is renewed."""

    asked = 0

    async def get_frozen_credentials(self) -> Any:
        self.asked += 1
        return ReadOnlyCredentials("KEY", "s", f"t{self.asked}", None)


@pytest.mark.parametrize("service", [DYNAMODB])
async def test_credentials_of_an_unknown_kind_may_be_renewed_by_the_next_attempt(
    aws: AwsEndpoint, service: Service, place: str, sink_for: Any, transport: str
) -> None:
    session = get_session()
    session._credentials = Rotated("KEY", "s", "t")
    async with sink_for(place, session=session, **service.region, transport=transport, policy=CERTAIN) as sink:
        aws.plan.next(service.writes, ExpiredToken())
        assert (await sink.put(service.record("a"))).attempts == 2
