"""How SNS words its errors: a code in XML, which is not always the name in AWS's model."""

from __future__ import annotations

from typing import NamedTuple

from ._wire import AwsError, Reply
from ._xml import XML, error_to_xml


class _Shape(NamedTuple):
    code: str
    status: int
    message: str


def _same(code: str, message: str, status: int = 400) -> tuple[str, _Shape]:
    return code, _Shape(code, status, message)


_SHAPES: dict[str, _Shape] = dict([
    _same("InvalidParameter", "Invalid parameter"),
    _same("ParameterValueInvalid", "A parameter's value is invalid."),
    _same("ValidationError", "1 validation error detected"),
    _same("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible."),
    _same("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id."),
    _same("BatchRequestTooLong", "The length of all the messages put together is more than the limit."),
    _same("EmptyBatchRequest", "The batch request doesn't contain any entries."),
    _same("InvalidBatchEntryId", "The Id of a batch entry in a batch request doesn't abide by the specification."),
    _same("NotFound", "Topic does not exist", 404),
    _same("AuthorizationError", "User is not authorized to perform: SNS:Publish", 403),
    _same("InvalidSecurity", "The credential signature isn't valid, or the request was not made over HTTPS.", 403),
    _same("KMSThrottling", "The request was denied due to request throttling."),
    _same("KMSDisabled", "The key is disabled."),
    _same("KMSInvalidState", "The key's state is invalid."),
    _same("KMSNotFound", "The key was not found."),
    _same("KMSAccessDenied", "Access to the key is denied."),
    _same("KMSOptInRequired", "The key needs an opt-in.", 403),
    _same("EndpointDisabled", "Endpoint is disabled"),
    _same("PlatformApplicationDisabled", "Platform application is disabled"),
    _same("Throttled", "Rate exceeded", 429),
    _same("Throttling", "Rate exceeded"),
    _same("ThrottlingException", "Rate exceeded"),
    _same("RequestThrottled", "Rate exceeded", 403),
    _same("InvalidAction", "The action or operation requested is invalid."),
    _same("ExpiredToken", "The security token included in the request is expired", 403),
    _same("InvalidClientTokenId", "The security token included in the request is invalid.", 403),
    _same("ServiceUnavailable", "Service Unavailable", 503),
    # What the plan's faults call by the names of newer services.
    ("AccessDenied", _Shape("AuthorizationError", 403, "User is not authorized to perform: SNS:Publish")),
    ("InternalFailure", _Shape("InternalError", 500, "An internal error occurred")),
    ("SerializationException", _Shape("MalformedQueryString", 400, "The query string contains a syntax error.")),
])  # fmt: skip


def sns_error_reply(error: AwsError) -> Reply:
    """The answer that says it."""
    shape = _SHAPES.get(error.code) or _Shape(error.code, 400, "")
    status = error.status or shape.status
    fault = "Sender" if status < 500 else "Receiver"  # noqa: PLR2004 - where HTTP's server errors begin
    return Reply(status, body=error_to_xml(shape.code, error.message or shape.message, fault), content_type=XML)
