"""How SQS words its errors over JSON: the model's name in the body, the older query protocol's code in a header."""

from __future__ import annotations

from typing import NamedTuple

from ._wire import AwsError, Reply

_SQS = "com.amazonaws.sqs#"
_CORAL = "com.amazon.coral.service#"
_OLD = "AWS.SimpleQueueService."


class _Shape(NamedTuple):
    type: str
    query_code: str
    status: int
    message: str


def _batch(name: str, message: str) -> _Shape:
    return _Shape(_SQS + name, _OLD + name, 400, message)


_BAD_ID = (
    "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
    "It can be at most 80 letters long."
)

_SHAPES: dict[str, _Shape] = {
    "QueueDoesNotExist": _Shape(
        _SQS + "QueueDoesNotExist", _OLD + "NonExistentQueue", 400, "The specified queue does not exist."
    ),
    "QueueNameExists": _Shape(_SQS + "QueueNameExists", "QueueAlreadyExists", 400, "A queue already exists."),
    "QueueDeletedRecently": _batch(
        "QueueDeletedRecently",
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
    ),
    "TooManyEntriesInBatchRequest": _batch("TooManyEntriesInBatchRequest", "Too many entries."),
    "EmptyBatchRequest": _batch("EmptyBatchRequest", "There should be at least one entry in the request."),
    "BatchEntryIdsNotDistinct": _batch("BatchEntryIdsNotDistinct", "Ids repeated."),
    "BatchRequestTooLong": _batch("BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes."),
    "InvalidBatchEntryId": _batch("InvalidBatchEntryId", _BAD_ID),
    "UnsupportedOperation": _batch("UnsupportedOperation", "The operation is not supported."),
    "PurgeQueueInProgress": _batch(
        "PurgeQueueInProgress", "Only one PurgeQueue operation is allowed every 60 seconds."
    )._replace(status=403),
    "ReceiptHandleIsInvalid": _Shape(
        _SQS + "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404, "The input receipt handle is not valid."
    ),
    "InvalidMessageContents": _Shape(
        _SQS + "InvalidMessageContents", "InvalidMessageContents", 400, "Invalid characters found."
    ),
    "InvalidAttributeName": _Shape(_SQS + "InvalidAttributeName", "InvalidAttributeName", 400, "Unknown Attribute."),
    "InvalidAttributeValue": _Shape(_SQS + "InvalidAttributeValue", "InvalidAttributeValue", 400, "Invalid value."),
    "InvalidAddress": _Shape(_SQS + "InvalidAddress", "InvalidAddress", 404, "The specified ID is invalid."),
    "InvalidSecurity": _Shape(_SQS + "InvalidSecurity", "InvalidSecurity", 403, "The request was not made over HTTPS."),
    "RequestThrottled": _Shape(_SQS + "RequestThrottled", "RequestThrottled", 403, "Request is throttled."),
    "OverLimit": _Shape(_SQS + "OverLimit", "OverLimit", 403, "The limit was reached."),
    "KmsThrottled": _Shape(_SQS + "KmsThrottled", "KMS.ThrottlingException", 400, "Rate exceeded"),
    "KmsDisabled": _Shape(_SQS + "KmsDisabled", "KMS.DisabledException", 400, "The key is disabled."),
    "KmsInvalidState": _Shape(
        _SQS + "KmsInvalidState", "KMS.InvalidStateException", 400, "The key's state is invalid."
    ),
    "KmsNotFound": _Shape(_SQS + "KmsNotFound", "KMS.NotFoundException", 400, "The key was not found."),
    "KmsAccessDenied": _Shape(
        _SQS + "KmsAccessDenied", "KMS.AccessDeniedException", 400, "Access to the key is denied."
    ),
    "KmsOptInRequired": _Shape(_SQS + "KmsOptInRequired", "KMS.OptInRequired", 403, "The key needs an opt-in."),
    "KmsInvalidKeyUsage": _Shape(_SQS + "KmsInvalidKeyUsage", "KMS.InvalidKeyUsageException", 400, "Wrong key usage."),
    "InvalidParameterValue": _Shape(
        _CORAL + "InvalidParameterValueException", "InvalidParameterValue", 400, "A parameter is invalid."
    ),
    "MissingParameter": _Shape(
        _CORAL + "MissingRequiredParameterException", "MissingParameter", 400, "A parameter is missing."
    ),
    "ThrottlingException": _Shape(_CORAL + "ThrottlingException", "ThrottlingException", 400, "Rate exceeded"),
    "SerializationException": _Shape(_CORAL + "SerializationException", "MalformedInput", 400, "Malformed input."),
    "UnknownOperation": _Shape(_CORAL + "UnknownOperationException", "InvalidAction", 400, "Unknown operation."),
    "ExpiredToken": _Shape(
        _CORAL + "ExpiredTokenException", "ExpiredToken", 403, "The security token included in the request is expired"
    ),
    "InvalidClientTokenId": _Shape(
        _CORAL + "UnrecognizedClientException",
        "InvalidClientTokenId",
        403,
        "The security token included in the request is invalid.",
    ),
    "AccessDenied": _Shape(_CORAL + "AccessDeniedException", "AccessDenied", 403, "Access to the resource is denied."),
    "InternalFailure": _Shape(_CORAL + "InternalFailure", "InternalFailure", 500, ""),
    "ServiceUnavailable": _Shape(_CORAL + "ServiceUnavailableException", "ServiceUnavailable", 503, ""),
}


def sqs_error_reply(error: AwsError) -> Reply:
    """The answer that says it."""
    shape = _SHAPES.get(error.code) or _Shape(_SQS + error.code, error.code, 400, "")
    status = error.status or shape.status
    fault = "Sender" if status < 500 else "Receiver"  # noqa: PLR2004 - where HTTP's server errors begin
    return Reply(
        status,
        {"__type": shape.type, "message": error.message or shape.message},
        {"x-amzn-query-error": f"{shape.query_code};{fault}"},
    )
