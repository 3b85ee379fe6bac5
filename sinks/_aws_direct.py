"""The direct way to AWS: a request made of payloads as they are, signed once, over connections of our own.

Before: an open client, and a body. After: the answer, or the exception that the client would have raised for it.
Everything that decides where a request goes and whose it is comes from the client: endpoint, signer, credentials, TLS.
Where the client would do anything else to a request, `Direct.of` refuses, and the sink uses the client itself.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

from botocore.exceptions import ClientError, ConnectionClosedError, NoCredentialsError
from botocore.parsers import create_parser
from pydantic_core import from_json

from ._aws_answer import is_intact, most_bytes
from ._aws_fit import NotDirectError, check_client, endpoint_for, is_query, keepalive_of, tls_of
from ._aws_identity import fresh_in_time
from ._aws_signature import Credentials, Signer
from ._aws_wire import Address, Pool
from ._aws_xml import read_entries, without_document_type

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from sinkwell.core import Policy

    from ._aws_answer import Answer
    from ._aws_clock import Clock
    from ._aws_fit import Endpoint

_FIRST_ERROR = 300
_MOST_ENDPOINTS = 100


class Direct:
    """Sends one operation's requests. Made by `Direct.of`."""

    def __init__(self, client: Any, operation: str, policy: Policy, clock: Clock) -> None:
        self._client = client
        self._operation = client.meta.service_model.operation_model(operation)
        self._read = partial(read_entries, operation) if is_query(client) else _read_json
        self._policy = policy
        self._credentials: Any = client._request_signer._credentials  # noqa: SLF001 - see DESIGN.md, "The direct way"
        self._frozen: object = None
        self._usable: Credentials | None = None
        self._account: str = ""
        self._endpoints: dict[Hashable, _Way] = {}
        self._pools: dict[Address, Pool] = {}
        self._is_in_lambda = "AWS_LAMBDA_FUNCTION_NAME" in os.environ
        self._clock = clock
        self._second, self._stamp = 0, ""

    def __repr__(self) -> str:
        """Return the operation: everything else may hold secrets."""
        return f"<Direct {self._operation.name}>"

    @classmethod
    async def of(
        cls, client: object, operation: str, parameters: Mapping[str, object], policy: Policy, clock: Clock
    ) -> Direct:
        """Make one that sends what the client would send.

        Args:
            client: open, and kept open.
            operation: AWS's name of it.
            parameters: of a first request, without its records.
            policy: for its timeout.
            clock: dates the signatures; whoever reads the refusals sets it.

        Raises:
            NotDirectError: the client does, or might do, more than this can. It says what.
        """
        try:
            check_client(client, operation)
            direct = cls(client, operation, policy, clock)
            await direct._way_for(None, parameters)
        except NotDirectError:
            raise
        except Exception as error:  # noqa: BLE001 - another version of aiobotocore: nothing of it may stop the sink
            raise NotDirectError(f"this version of aiobotocore is built differently ({type(error).__name__})") from None
        return direct

    async def call(self, place: Hashable, parameters: Mapping[str, object], body: bytes) -> object:
        """Send a request and return its answer; `{}` if it should be JSON and isn't any, as botocore does.

        Args:
            place: requests with equal ones have the same endpoint.
            parameters: of the request, without its records, for botocore's endpoint rules.
            body: the request's JSON, or its form.

        Raises:
            NotDirectError: this request must go through the client; nothing was sent.
            ClientError: the service refused.
            BotoCoreError: no answer; `was_not_sent` knows if it was sent.
        """
        credentials = await self._current_credentials()
        way = self._endpoints.get(place) or await self._way_for(place, parameters)
        answer = await way.pool.send(self._request(way, credentials, body), most_bytes(len(body)))
        if not is_intact(answer.headers, answer.body):
            raise ConnectionClosedError(endpoint_url=way.path, error="the checksum is not that of the body")
        if answer.status >= _FIRST_ERROR:
            raise self._error(answer)
        return self._read(answer.body)

    async def aclose(self) -> None:
        """Close the connections."""
        for pool in self._pools.values():
            await pool.aclose()

    async def _current_credentials(self) -> Credentials:
        """Return the session's credentials, which it renews when they grow old."""
        frozen = await fresh_in_time(self._credentials)
        if frozen is None:
            raise NoCredentialsError
        if frozen is not self._frozen or self._usable is None:
            usable = Credentials(frozen.access_key, frozen.secret_key, frozen.token)
            if not all(text.isascii() and text.isprintable() for text in (usable.access_key, usable.token or "")):
                raise NoCredentialsError  # they would break out of their header
            account = str(getattr(frozen, "account_id", None))
            if account != self._account:
                self._endpoints.clear()  # DynamoDB's endpoint may have the account's number in its name
            self._account, self._usable, self._frozen = account, usable, frozen
        return self._usable

    async def _way_for(self, place: Hashable, parameters: Mapping[str, object]) -> _Way:
        endpoint = await endpoint_for(self._client, self._operation, parameters)
        parts = urlsplit(endpoint.url)
        tls = tls_of(self._client, endpoint.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        address = Address(parts.hostname or "", port, tls, endpoint.url)
        known = next((old for old in self._pools if (old.host, old.port) == (address.host, address.port)), None)
        if known is None:
            self._pools[address] = Pool(address, self._policy.attempt_timeout, keepalive_of(self._client))
        if len(self._endpoints) >= _MOST_ENDPOINTS:
            self._endpoints.clear()
        way = _Way.to(endpoint, self._pools[known or address])
        self._endpoints[place] = way
        return way

    def _request(self, way: _Way, credentials: Credentials, body: bytes) -> bytes:
        at = self._now()
        headers = [*way.signed]
        headers[way.date_place] = ("x-amz-date", at)
        if credentials.token is not None:
            headers.append(("x-amz-security-token", credentials.token))
            headers.sort()
        authorization = way.signer.authorization(credentials, at, way.path, headers, body)
        lines = "\r\n".join([f"{name}: {value}" for name, value in headers])
        trace = _trace() if self._is_in_lambda else ""
        head = f"{way.start}{lines}\r\nauthorization: {authorization}\r\n{trace}content-length: {len(body)}\r\n\r\n"
        return head.encode("ascii") + body

    def _now(self) -> str:
        second = int(time.time() + self._clock.ahead)
        if second != self._second:
            self._second = second
            self._stamp = self._clock.stamp()
        return self._stamp

    def _error(self, answer: Answer) -> ClientError:
        """Return what the client would raise: botocore's own parser reads the answer."""
        model = self._operation.service_model
        parser: Any = create_parser(model.resolved_protocol)
        response = {
            "status_code": answer.status,
            "headers": answer.headers,
            "body": without_document_type(answer.body),
            "context": {"operation_name": self._operation.name},
        }
        parsed = parser.parse(response, self._operation.output_shape)
        shape = model.shape_for_error_code(parsed.get("Error", {}).get("Code"))
        if shape is not None:
            parsed.update(parser.parse(response, shape))
        return ClientError(parsed, self._operation.name)


class _Way(NamedTuple):
    """Where requests go, and all of them that never changes.

    Attributes:
        pool: the connections.
        signer: for the endpoint's region.
        path: of the URL.
        start: the first line, and the headers that are not signed.
        signed: those that are, in alphabetical order.
        date_place: of the one that changes.
    """

    pool: Pool
    signer: Signer
    path: str
    start: str
    signed: list[tuple[str, str]]
    date_place: int

    @classmethod
    def to(cls, endpoint: Endpoint, pool: Pool) -> _Way:
        parts = urlsplit(endpoint.url)
        is_usual = parts.port in (None, 443 if parts.scheme == "https" else 80)
        host = parts.netloc.rpartition(":")[0] if is_usual and parts.port else parts.netloc
        path = parts.path or "/"
        signed = sorted([("host", host), ("x-amz-date", ""), *endpoint.headers])
        start = f"POST {path} HTTP/1.1\r\nuser-agent: {endpoint.user_agent}\r\naccept-encoding: identity\r\n"
        return cls(
            pool, Signer(endpoint.region, endpoint.service), path, start, signed, signed.index(("x-amz-date", ""))
        )


def _read_json(body: bytes) -> object:
    try:
        return cast("object", from_json(body))
    except ValueError:
        return {}


def _trace() -> str:
    """Return X-Ray's header in a Lambda function, as botocore adds it."""
    trace = os.environ.get("_X_AMZN_TRACE_ID", "")
    return f"x-amzn-trace-id: {trace}\r\n" if trace and trace.isascii() and trace.isprintable() else ""
