"""How DynamoDB words its errors: the model's name in the body, and no other code beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ._wire import AwsError, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

_DYNAMODB = "com.amazonaws.dynamodb.v20120810#"
_CORAL = "com.amazon.coral.service#"

# What a fault made for SQS is called here.
_ALIASES = {
    "AccessDenied": "AccessDeniedException",
    "ExpiredToken": "ExpiredTokenException",
    "InternalFailure": "InternalServerError",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "QueueDoesNotExist": "ResourceNotFoundException",
    "RequestThrottled": "ThrottlingException",
    "UnknownOperation": "UnknownOperationException",
}


class _Shape(NamedTuple):
    prefix: str
    status: int
    message: str


_SHAPES: dict[str, _Shape] = {
    "ValidationException": _Shape("com.amazon.coral.validate#", 400, ""),
    "ResourceNotFoundException": _Shape(_DYNAMODB, 400, "Requested resource not found"),
    "ResourceInUseException": _Shape(_DYNAMODB, 400, "Attempt to change a resource which is still in use"),
    "ProvisionedThroughputExceededException": _Shape(
        _DYNAMODB,
        400,
        "The level of configured provisioned throughput for the table was exceeded. "
        "Consider increasing your provisioning level with the UpdateTable API.",
    ),
    "ThrottlingException": _Shape(_DYNAMODB, 400, "Throughput exceeds the current capacity of your table or index."),
    "RequestLimitExceeded": _Shape(_DYNAMODB, 400, "Throughput exceeds the current throughput limit for your account."),
    "ItemCollectionSizeLimitExceededException": _Shape(_DYNAMODB, 400, "Collection size exceeded."),
    "ReplicatedWriteConflictException": _Shape(_DYNAMODB, 409, "Another Region is changing one of the items."),
    "InternalServerError": _Shape(_DYNAMODB, 500, "Internal server error"),
    "ServiceUnavailable": _Shape(_CORAL, 503, ""),
    "AccessDeniedException": _Shape(_CORAL, 400, "User is not authorized to perform: dynamodb:BatchWriteItem"),
    "UnrecognizedClientException": _Shape(_CORAL, 400, "The security token included in the request is invalid."),
    "ExpiredTokenException": _Shape(_CORAL, 400, "The security token included in the request is expired"),
    "InvalidSignatureException": _Shape(_CORAL, 400, "The request signature we calculated does not match."),
    "SerializationException": _Shape(_CORAL, 400, "Malformed input."),
    "UnknownOperationException": _Shape(_CORAL, 400, ""),
}


def dynamodb_error_reply(error: AwsError) -> Reply:
    """The answer that says it."""
    code = _ALIASES.get(error.code, error.code)
    shape = _SHAPES.get(code) or _Shape(_DYNAMODB, 400, "")
    document = {"__type": shape.prefix + code, "message": error.message or shape.message, **error.details}
    return Reply(error.status or shape.status, document)


def throttling(reasons: Mapping[str, str], code: str = "ProvisionedThroughputExceededException") -> AwsError:
    """The error of a request of which nothing had throughput left: reasons to resources."""
    listed = [{"reason": reason, "resource": resource} for reason, resource in reasons.items()]
    field = "throttlingReasons" if code == "ThrottlingException" else "ThrottlingReasons"
    return AwsError(code, details={field: listed})
