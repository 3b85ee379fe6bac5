"""A client of an AWS service, made so that Sinkwell alone decides what is sent, when, how often and to whom.

Before: a sink's `open`. After: the sink's own calls, whose answers `_aws_verdicts` reads.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast
from urllib.parse import SplitResult, urlsplit

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    NoRegionError,
    ReadTimeoutError,
)
from botocore.httpsession import create_urllib3_context

from sinkwell.core import Adaptive, ConfigError, Policy, Rejected, Retry

from ._aws_answer import is_intact, most_bytes
from ._aws_identity import note_writing
from ._aws_verdicts import (
    Meaning,
    NoCredentialsYetError,
    classify,
    lacks_credentials,
    meaning_of,
    short,
    without_secrets,
    words_of,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from contextlib import AsyncExitStack

MakesClient = Callable[..., AbstractAsyncContextManager[object]]


class AioboSession(Protocol):
    """An `aioboto3.Session`."""

    @property
    def client(self) -> MakesClient:
        """Make a client."""
        ...


class AiobotocoreSession(Protocol):
    """A session of aiobotocore, from `aiobotocore.session.get_session()`."""

    @property
    def create_client(self) -> MakesClient:
        """Make a client."""
        ...


AwsSession = AioboSession | AiobotocoreSession

Transport = Literal["auto", "direct", "client"]
"""How batches are sent: straight from their payloads, through the client, or the first of these that is exact."""


@dataclass(slots=True, frozen=True, kw_only=True)
class AwsSettings:
    """What the AWS sinks have in common.

    Attributes:
        session: where credentials and region come from; `None` for a new session with the usual providers.
        endpoint_url: another endpoint than AWS's own: https, or http on this machine.
        region_name: `None` for the session's own.
        allow_http: take http for any host; credentials are signed and never sent, payloads are readable on the way.
        transport: how batches are sent: see `_aws_transport`.
    """

    session: AwsSession | None = None
    endpoint_url: str | None = None
    region_name: str | None = None
    allow_http: bool = False
    transport: Transport = "auto"


async def open_client(stack: AsyncExitStack, service: str, settings: AwsSettings, policy: Policy) -> object:
    """Make one client, kept until the stack is closed.

    Raises:
        ConfigError: there is no region, or the endpoint must not be used.
    """
    if settings.endpoint_url is not None:
        check_endpoint(settings.endpoint_url, allow_http=settings.allow_http)
    make = _factory(settings.session)
    given = {"region_name": settings.region_name, "endpoint_url": settings.endpoint_url, "config": _config(policy)}
    try:
        client = await stack.enter_async_context(make(service, **given))
    except TypeError as error:
        if "http_session_cls" not in str(error):
            raise
        raise ConfigError("the session's default client Config must be aiobotocore's AioConfig") from None
    except NoRegionError:
        raise ConfigError("no AWS region: pass region_name= or set AWS_DEFAULT_REGION") from None
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"no {service} client can be made: {short(error)}") from without_secrets(error)
    connections = getattr(getattr(client, "_endpoint", None), "http_session", None)
    if connections is not None and not getattr(connections, "is_straight", False):
        raise ConfigError("the session makes its connections in a way of its own, which may follow redirects")
    # What the client will really use: AWS_ENDPOINT_URL and the shared config file have a say as well.
    endpoint = cast("_HasMeta", client).meta.endpoint_url
    await refuse_metadata_addresses(check_endpoint(endpoint, allow_http=settings.allow_http))
    return client


def setup_problem(error: Exception, known: Mapping[str, Meaning], what: str) -> ConfigError | None:
    """Return what a person must mend if the very first call to a service failed so; `None` if it may pass by itself."""
    if lacks_credentials(error):
        why = f" ({error})" if isinstance(error, NoCredentialsYetError) else ""
        said = f"no AWS credentials for {what}{why}: set them as for the aws command line, or pass session="
        problem = ConfigError(said)
        problem.__cause__ = without_secrets(error)
        return problem
    if isinstance(error, ClientError):
        meaning, code, _ = meaning_of(error, known)
        if meaning in (Meaning.THROTTLED, Meaning.UNANSWERED):
            return None
        return _config_error(error, meaning, f"{what} can't be used ({short(code)})")
    verdict = classify(error, known, what)
    if isinstance(verdict, Rejected | Retry):
        problem = ConfigError(f"{verdict.error}: check endpoint_url, region and network")
        problem.__cause__ = verdict.error
        return problem
    return None


def check_endpoint(url: str, *, allow_http: bool) -> SplitResult:
    """Check an endpoint by its spelling alone.

    Raises:
        ConfigError: it is not https (nor http on this machine), holds a user name, or names a metadata service.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError("endpoint_url is not a URL: write https://host[:port]") from None
    if parts.username is not None or parts.password is not None:
        # The URL itself may hold a password: it is not shown.
        raise ConfigError("endpoint_url must not hold a user name or password: pass credentials through session=")
    if parts.scheme not in ("https", "http") or not host:
        raise ConfigError(f"endpoint_url ({short(url)!r}) must begin with https://")
    address = _address(host)
    if address is not None and _is_metadata(address):
        raise ConfigError(f"endpoint_url ({short(url)!r}) is an address of a metadata service or link-local")
    is_local = address.is_loopback if address is not None else host == "localhost" or host.endswith(".localhost")
    if parts.scheme == "http" and not is_local and not allow_http:
        raise ConfigError(f"endpoint_url ({short(url)!r}) must be https, or name this machine, or have allow_http=True")
    return parts


async def refuse_metadata_addresses(endpoint: SplitResult) -> None:
    """Look the host up once and refuse a name that stands for a metadata service.

    Raises:
        ConfigError: one of its addresses is link-local.
    """
    host = endpoint.hostname or ""
    if _address(host) is not None or host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")):
        return
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError:
        return  # the first call says so, in its own words
    for *_, location in found:
        address = _address(str(location[0]))
        if address is not None and _is_metadata(address):
            raise ConfigError(f"endpoint_url's host {host!r} stands for a metadata service or a link-local address")


class _HasEndpoint(Protocol):
    endpoint_url: str


class _HasMeta(Protocol):
    meta: _HasEndpoint


_LARGE_BYTES = 1024 * 1024
_GetsSession = Callable[[str | None], Awaitable[aiohttp.ClientSession]]


class _StraightSession(AIOHTTPSession):
    """Refuses redirects: following one would show the session token to a host that nobody chose.

    It hands large bodies on as a stream: otherwise aiohttp warns of them, which is an error where warnings are. It
    reads no more of an answer than any can have. And it checks the checksum that DynamoDB gives its answers, which
    botocore leaves to its own retries, and those are off.
    """

    # What `_aws_fit` knows it by.
    is_straight = True

    def _get_ssl_context(self) -> ssl.SSLContext:
        # botocore leaves host names to urllib3, which is not here: any trusted certificate would do for any host.
        context: ssl.SSLContext = create_urllib3_context()
        context.check_hostname = True
        return context

    async def send(self, request: Any) -> Any:  # the stubs name the types of another library
        body = request.body
        size = len(body) if isinstance(body, str | bytes) else 0
        if size > _LARGE_BYTES:
            request.body = io.BytesIO(body.encode() if isinstance(body, str) else body)
        request.stream_output = True  # or the answer would be read by `super`, whatever its size
        try:
            response: Any = await super().send(request)
            content = await _read(response.raw, most_bytes(size))
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url, error=error) from error
        except aiohttp.ClientError as error:
            raise ConnectionClosedError(endpoint_url=request.url, error=error) from error
        if not is_intact(response.headers, content):
            raise ConnectionClosedError(endpoint_url=request.url, error="the checksum is not that of the body")
        response._content = content  # noqa: SLF001 - where aiobotocore keeps what it has read
        return response

    async def _get_session(self, proxy_url: str | None) -> aiohttp.ClientSession:
        # aiobotocore leaves aiohttp's redirects on, and this is the one place to reach its session.
        inherited = cast("_GetsSession", getattr(super(), "_get_session"))  # noqa: B009 - the stubs don't know it
        session = await inherited(proxy_url)
        if _TRACE not in session.trace_configs:  # others may be there: an instrumentation adds its own to each session
            session.trace_configs.append(_TRACE)
        return session


async def _read(raw: Any, most: int) -> bytes:
    """Read an answer's body, within bounds."""
    pieces: list[bytes] = []
    left = most
    try:
        async for piece in raw.content.iter_any():
            left -= len(piece)
            if left < 0:
                raise aiohttp.ClientPayloadError("larger than any answer of this service")  # noqa: TRY301 - ends as others do
            pieces.append(piece)
    except BaseException:
        raw.close()  # with its connection: as soon as an attempt is given up, not when it is collected as garbage
        raise
    return b"".join(pieces)


async def _refuse_redirect(*_: object) -> None:
    raise aiohttp.ClientError("the server redirected the request, which is not followed")


def _make_trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_refuse_redirect)
    trace.on_request_headers_sent.append(note_writing)
    trace.freeze()
    return trace


_TRACE = _make_trace()


def _factory(session: AwsSession | None) -> MakesClient:
    chosen: object = get_session() if session is None else session
    make = getattr(chosen, "create_client", None) or getattr(chosen, "client", None)
    if not callable(make):
        raise ConfigError(f"session= ({type(chosen).__name__}) must be an aioboto3.Session or an aiobotocore session")
    return cast("MakesClient", make)


def _config(policy: Policy) -> AioConfig:
    concurrency = policy.concurrency
    config = AioConfig(
        http_session_cls=_StraightSession,
        # One call, one request: the client's own loops re-send after timeouts, unseen, and wait up to 25 s.
        retries={"total_max_attempts": 1, "mode": "standard"},
        # Time spent waiting for a connection is under no timeout of the client's: there must be one for each request.
        max_pool_connections=concurrency.maximum if isinstance(concurrency, Adaptive) else concurrency,
        connect_timeout=policy.attempt_timeout,
        read_timeout=policy.attempt_timeout,
        # botocore would check the values once more, at a tenth of the call's cost; the sinks do it record by record.
        parameter_validation=False,
    )
    # Where a session has a default Config, aiobotocore merges the two and keeps of ours what stands here. It forgets
    # the class of the HTTP session, and with it who refuses redirects and checks host names.
    cast("Any", config)._user_provided_options["http_session_cls"] = _StraightSession  # noqa: SLF001 - see above
    return config


def _config_error(error: ClientError, meaning: Meaning, sentence: str) -> ConfigError:
    if meaning is Meaning.CREDENTIALS:  # its text quotes the signed request
        return ConfigError(f"{sentence}: the credentials are refused; renew them, or set this machine's clock")
    problem = ConfigError(f"{sentence}: {words_of(error)}")
    problem.__cause__ = without_secrets(error)
    return problem


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an IP address in every spelling that a connection would take: also 0xa9fea9fe and 2852039166."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        if not re.fullmatch(r"[0-9a-fA-FxX.]+", host):
            return None
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_metadata(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_link_local or address.is_unspecified or address.is_multicast or address in _IPV6_METADATA


_IPV6_METADATA = ipaddress.ip_network("fd00:ec2::/32")
