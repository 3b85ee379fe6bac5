"""What the direct way must know of a client, and why it may have to leave a request to the client.

Before: a client of aiobotocore. After: an endpoint, a TLS context, or a reason.
This file reads parts of aiobotocore that it does not promise; tests/sinks/test_aws_direct.py fails when they move. In
use, a part that moved is a reason for the client.
"""

# ruff: noqa: SLF001 - see above
# The client's types are private or untyped: what is read of them is checked here, once, as values.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from botocore.httpsession import get_cert_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# What every client's events do, each of it done here as well or of no effect on these operations.
_USUAL_HANDLERS = {
    "botocore.handlers.generate_idempotent_uuid",
    "botocore.handlers._handle_request_validation_mode_member",
    "botocore.handlers.add_recursion_detection_header",
    "botocore.handlers.inject_api_version_header_if_needed",
    "botocore.handlers.set_operation_specific_signer",
    "botocore.handlers._set_auth_scheme_preference_signer",
    "botocore.handlers.add_retry_headers",
    "botocore.handlers._handle_sqs_compatible_error",
    "botocore.discovery.block_endpoint_discovery_required_operations",
    "botocore.useragent.UserAgentString.rebuild_and_replace_user_agent_handler",
    "botocore.retries.standard.RetryHandler.needs_retry",
    "botocore.retries.standard.RetryQuotaChecker.release_retry_quota",
    "aiobotocore.retries.standard.AioRetryHandler.needs_retry",
    "aiobotocore.signers.AioRequestSigner.handler",
}
_EVENTS = [
    "provide-client-params",
    "before-parameter-build",
    "before-endpoint-resolution",
    "before-call",
    "request-created",
    "choose-signer",
    "before-sign",
    "before-send",
    "response-received",
    "before-parse",
    "needs-retry",
    "after-call",
    "after-call-error",
]
# aiobotocore's own default.
_KEEPALIVE = 12.0
_PLAIN_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?", re.ASCII)
_PLAIN_TEXT = re.compile(r"[\x20-\x7e]*")


class NotDirectError(Exception):
    """The client must send it; the text says why."""


class Endpoint(NamedTuple):
    """What botocore's rules say of a request.

    Attributes:
        url: where it goes.
        region: in the signature.
        service: in the signature.
        headers: to be signed, with lower-case names.
        user_agent: not signed.
    """

    url: str
    region: str
    service: str
    headers: list[tuple[str, str]]
    user_agent: str


def check_client(client: Any, operation: str) -> None:
    """Look for what only the client could do.

    Raises:
        NotDirectError: there is something.
    """
    model = client.meta.service_model
    if not is_query(client) and (model.resolved_protocol != "json" or not model.metadata.get("targetPrefix")):
        raise NotDirectError(f"the service's protocol is {model.resolved_protocol}")
    if getattr(client._endpoint.http_session, "is_straight", False) is not True:
        raise NotDirectError("the HTTP session is not the standard one: a default Config must be an AioConfig")
    for event, name in _handlers(client, operation):
        if name not in _USUAL_HANDLERS:
            raise NotDirectError(f"an event handler is registered: {name} for {event}")


async def endpoint_for(client: Any, operation: Any, parameters: Mapping[str, object]) -> Endpoint:
    """Ask botocore's own rules: region, dualstack, FIPS, account-based endpoints, other signers.

    Raises:
        NotDirectError: the request must be signed otherwise, or not at all.
    """
    context: dict[str, Any] = {
        "client_region": client.meta.region_name,
        "client_config": client.meta.config,
        "has_streaming_input": False,
        "auth_type": operation.resolved_auth_type,
        "unsigned_payload": operation.unsigned_payload,
        "auth_options": client.meta.service_model.metadata.get("auth"),
    }
    url, more, _ = await client._resolve_endpoint_ruleset(operation, parameters, context)
    signer = client._request_signer
    version = await signer._choose_signer(operation.name, "standard", context)
    if version != "v4":
        raise NotDirectError(f"the signature version is {version if isinstance(version, str) else 'none'}, not v4")
    parts = urlsplit(url)
    if parts.query or not _PLAIN_PATH.fullmatch(parts.path) or not _PLAIN_TEXT.fullmatch(url):
        raise NotDirectError("the endpoint's URL is not a plain one")
    signing = context.get("signing", {})
    headers = _headers_of(client, operation) | {name.lower(): str(value) for name, value in more.items()}
    agent = client._user_agent_creator.to_string()
    if not all(_PLAIN_TEXT.fullmatch(text) for text in (agent, *headers, *headers.values())):
        raise NotDirectError("a header is not plain text")
    return Endpoint(
        url,
        signing.get("region", signer.region_name),
        signing.get("signing_name", signer.signing_name),
        [*headers.items()],
        agent,
    )


def is_query(client: Any) -> bool:
    """Whether the service takes forms and answers in XML, the way of AWS's older services."""
    is_one: bool = client.meta.service_model.resolved_protocol == "query"
    return is_one


def _headers_of(client: Any, operation: Any) -> dict[str, str]:
    if is_query(client):
        return {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    model = client.meta.service_model
    headers = {
        "content-type": f"application/x-amz-json-{model.metadata['jsonVersion']}",
        "x-amz-target": f"{model.metadata['targetPrefix']}.{operation.name}",
    }
    return headers | {"x-amzn-query-mode": "true"} if model.is_query_compatible else headers


def tls_of(client: Any, url: str) -> ssl.SSLContext | None:
    """Return how the client judges this server's certificate, and shows its own; `None` for plain HTTP.

    Raises:
        NotDirectError: there is a proxy on the way, or the connections are made in a way of the user's own.
    """
    session = client._endpoint.http_session
    if session._proxy_config.proxy_url_for(url):
        raise NotDirectError("there is a proxy on the way")
    if set(client.meta.config.connector_args or ()) - {"keepalive_timeout"}:
        raise NotDirectError("connector_args are set")
    if urlsplit(url).scheme != "https":
        return None
    context: ssl.SSLContext = session._get_ssl_context()
    if not session._verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(get_cert_path(session._verify))
    if session._cert_file:
        context.load_cert_chain(session._cert_file, session._key_file)
    return context


def keepalive_of(client: Any) -> float:
    """Return for how many idle seconds a connection may be used again."""
    return float((client.meta.config.connector_args or {}).get("keepalive_timeout", _KEEPALIVE))


def _handlers(client: Any, operation: str) -> Iterator[tuple[str, str]]:
    service = client.meta.service_model.service_id.hyphenize()
    known = client.meta.events._emitter._handlers
    for event in _EVENTS:
        for handler in known.prefix_search(f"{event}.{service}.{operation}"):
            plain = getattr(handler, "__func__", handler)
            kind = plain if hasattr(plain, "__qualname__") else type(plain)
            yield event, f"{kind.__module__}.{kind.__qualname__}"
