"""What AWS said, as verdicts: the table of error codes, and the strict reading of an answer that names entries.

Before: an API call's answer or exception. After: one verdict for each entry of the batch.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from enum import Enum
from typing import TypeGuard, cast

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from sinkwell.core import BatchRefused, Rejected, Retry, SinkwellError, Unknown


class NotConnectedError(EndpointConnectionError):
    """No connection could be made, so nothing was sent. Not botocore's: its own class says that of resets, too."""


class NoCredentialsYetError(CredentialRetrievalError):
    """The session's provider could not give credentials now, so nothing was sent."""

    fmt = "{error_msg}"

    def __init__(self, why: str) -> None:
        super().__init__(error_msg=why)


class Meaning(Enum):
    """What an error code says of the whole request. Nothing was written, but in the last case."""

    THROTTLED = "slow down and send it again"
    CREDENTIALS = "send it again: credentials get refreshed, and clocks set right, while the service runs"
    SETUP = "a person must mend it; sending again would be refused again"
    REFUSED = "because of one record in it, which isn't named"
    UNANSWERED = "nobody knows whether it was written"


def codes(table: Mapping[Meaning, str]) -> dict[str, Meaning]:
    """Turn a table of words by meaning into a look-up by code."""
    return {code: meaning for meaning, words in table.items() for code in words.split()}


# The codes that every AWS service shares: "Common errors" of the API references, and botocore's retry tables (1.44.5).
AWS_CODES = codes(
    {
        Meaning.THROTTLED: """
            Throttling ThrottlingException ThrottledException Throttled RequestThrottled RequestThrottledException
            TooManyRequestsException RequestLimitExceeded BandwidthLimitExceeded SlowDown PriorRequestNotComplete
            LimitExceededException""",
        Meaning.CREDENTIALS: """
            ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired RequestTimeTooSkewed
            UnrecognizedClientException InvalidClientTokenId InvalidAccessKeyId InvalidToken AuthFailure
            MissingAuthenticationToken MissingAuthenticationTokenException IncompleteSignature
            IncompleteSignatureException InvalidSignatureException SignatureDoesNotMatch""",
        Meaning.SETUP: """
            AccessDenied AccessDeniedException NotAuthorized UnauthorizedOperation OptInRequired
            InvalidAction UnknownOperationException""",
        Meaning.REFUSED: """
            ValidationError ValidationException InvalidParameterValue InvalidParameterCombination InvalidQueryParameter
            InvalidParameterValueException MissingRequiredParameterException MalformedQueryString MalformedInput
            MissingParameter SerializationException RequestEntityTooLarge RequestTooLarge""",
        Meaning.UNANSWERED: "InternalError InternalFailure InternalServerError ServiceUnavailable RequestTimeout",
    }
)

# Of `Meaning.CREDENTIALS`, those that say that credentials have had their time: the same ones are of no use any more.
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
# What the providers of credentials call, within a call of ours and before anything of it is sent.
_PROVIDERS_CALLS = frozenset(
    {
        "AssumeRole",
        "AssumeRoleWithSAML",
        "AssumeRoleWithWebIdentity",
        "CreateOAuth2Token",
        "CreateToken",
        "GetRoleCredentials",
        "GetSessionToken",
    }
)
_WITHOUT_CREDENTIALS = NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, TokenRetrievalError

# What entries are called in a request, with their place in it; no service takes a hundred.
_PLACES = {str(place): place for place in range(100)}
# Enough to tell what is wrong, whatever a server sends.
_LONGEST_TEXT = 300
_ABOUT_TIME = re.compile("TimeTooSkewed|ignature|RequestExpired")


class AwsError(SinkwellError):
    """What AWS, or the way to it, said. It is the `__cause__` of a `DeliveryError`.

    Attributes:
        code: the service's error code, or the name of the client's exception if no answer came.
        status: the HTTP status, if there was one.
    """

    def __init__(self, sentence: str, *, code: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.status = status


def classify(error: Exception, known: Mapping[str, Meaning], what: str) -> Retry | Rejected | Unknown:
    """Say what a failed call means for every entry it carried. `what` begins each sentence: "SQS queue 'orders'".

    The cases: (1) AWS answered with an error; (2) nothing left this machine; (3) anything else, of which nobody
    knows what it did.

    Raises:
        BatchRefused: nothing was written, because of one record that the answer does not name.
    """
    if isinstance(error, ClientError):
        if error.operation_name in _PROVIDERS_CALLS:
            return classify(not_had(error), known, what)
        return _by_answer(error, known, what)
    said = AwsError(f"{what}: {_unanswered(error)}", code=type(error).__name__)
    said.__cause__ = without_secrets(error)
    if isinstance(error, ParamValidationError):
        raise BatchRefused from said
    if _is_untrusted(error):
        return Rejected(said)
    return Retry(said) if was_not_sent(error) else Unknown(said)


def _is_untrusted(error: Exception) -> bool:
    """Whether the server's certificate is not to be trusted; other failures of TLS may pass."""
    if not isinstance(error, SSLError):
        return False
    cause: object = error.kwargs.get("error")
    cause = getattr(cause, "certificate_error", None) or getattr(cause, "os_error", None) or cause
    return isinstance(cause, ssl.SSLCertVerificationError)


def was_not_sent(error: Exception) -> bool:
    """Whether it is certain that the request never reached a server.

    `EndpointConnectionError` alone does not say so, in spite of its text: a server that reads the whole request and
    then resets the connection causes it too. What aiohttp said is inside.
    """
    if isinstance(error, NotConnectedError):
        return True
    if isinstance(error, EndpointConnectionError):
        return isinstance(error.kwargs.get("error"), aiohttp.ClientConnectorError)
    if isinstance(error, ProxyConnectionError):
        return isinstance(error.kwargs.get("error"), aiohttp.ClientProxyConnectionError)
    return isinstance(error, (ConnectTimeoutError, SSLError, *_WITHOUT_CREDENTIALS))


def lacks_credentials(error: Exception) -> bool:
    """Whether the request could not be signed."""
    return isinstance(error, _WITHOUT_CREDENTIALS)


def not_had(error: Exception) -> NoCredentialsYetError:
    """Return what a provider's failure means for the request that waits for its credentials."""
    if not isinstance(error, ClientError):
        failed = NoCredentialsYetError(f"{type(error).__name__} from the session's provider")
        failed.__cause__ = without_secrets(error)
        return failed
    meaning, code, _ = meaning_of(error, AWS_CODES)
    # As in `_by_answer`: such a text quotes the signed request.
    words = "" if meaning is Meaning.CREDENTIALS else f": {words_of(error)}"
    return NoCredentialsYetError(f"{error.operation_name} answered {short(code)}{words}")


def has_expired(error: ClientError) -> bool:
    """Whether the service says that the credentials have had their time."""
    return not _EXPIRED.isdisjoint(_names(error))


def speaks_of_time(error: ClientError) -> bool:
    """Whether a refusal may be for a clock that is wrong: it then tells its own time."""
    text = " ".join([*_names(error), str(_part(error, "Error").get("Message", ""))])
    return meaning_of(error, {})[2] in (400, 401, 403) and _ABOUT_TIME.search(text) is not None


def headers_of(error: ClientError) -> Mapping[str, str]:
    """Return the answer's headers, by lower-case names."""
    found = _part(error, "ResponseMetadata").get("HTTPHeaders")
    return cast("Mapping[str, str]", found) if is_mapping(found) else {}


def meaning_of(error: ClientError, known: Mapping[str, Meaning]) -> tuple[Meaning, str, int | None]:
    """Return what AWS's answer means, its code without the old prefix, and its HTTP status."""
    status = _part(error, "ResponseMetadata").get("HTTPStatusCode")
    status = status if isinstance(status, int) else None
    names = _names(error)
    meaning = next((known[name] for name in names if name in known), None)
    return meaning or _by_status(status), names[0] if names else "no code", status


def throttled(code: str, known: Mapping[str, Meaning]) -> bool:
    """Whether an entry's own error code asks for a lower pace."""
    return known.get(_bare(code)) is Meaning.THROTTLED


def without_secrets(error: BaseException) -> BaseException:
    """Strip an exception of a foreign library of what may show payloads, tokens or signatures.

    That is its frames' variables, and the signed request that some of botocore's exceptions carry.
    """
    link: BaseException | None = error
    for _ in range(10):  # a chain of causes may be a ring
        if link is None:
            break
        link.__traceback__ = None
        if isinstance(link, ResponseParserError):  # it quotes the answer, which may quote the request
            link.args = ("the answer can't be parsed",)
        for name in ("request", "response"):
            if isinstance(link, BotoCoreError) and getattr(link, name, None) is not None:
                setattr(link, name, None)
        link = link.__cause__ or link.__context__
    return error


def entries_named(answer: object, count: int) -> list[Mapping[str, object] | None]:
    """Read an answer with `Successful` and `Failed` strictly: what it says of the entries with the ids "0", "1", ...

    An entry that is in neither list, in both or twice is `None`: the answer does not tell what became of it. So is
    every entry of an answer that is cut short: botocore turns a garbled one into an empty dict, without an error.

    Args:
        answer: is this function's own: `Delivered`, which says of which list an item is, is added to its items.
        count: of the entries.
    """
    said: list[Mapping[str, object] | None] = [None] * count
    if not is_mapping(answer):
        return said
    seen: set[int] = set()
    for is_delivered, listed in ((True, answer.get("Successful")), (False, answer.get("Failed"))):
        for item in cast("list[object]", listed) if isinstance(listed, list) else ():
            if not isinstance(item, dict):
                continue
            fields = cast("dict[str, object]", item)
            entry_id = fields.get("Id")
            place = _PLACES.get(entry_id, count) if isinstance(entry_id, str) else count
            if place < count:
                fields["Delivered"] = is_delivered
                said[place] = None if place in seen else fields
                seen.add(place)
    return said


def words_of(error: ClientError) -> str:
    """Return AWS's message. Not for `Meaning.CREDENTIALS`: it quotes the signed request, session token included."""
    return short(_part(error, "Error").get("Message", ""))


def _names(error: ClientError) -> list[str]:
    said = _part(error, "Error")
    # SQS and others speak two dialects at once: `Code` is the older name, `QueryErrorCode` the newer.
    return [_bare(name) for name in (said.get("Code"), said.get("QueryErrorCode")) if isinstance(name, str)]


def _part(error: ClientError, name: str) -> Mapping[str, object]:
    response: object = error.response  # None from some of botocore's own subclasses
    part = response.get(name) if is_mapping(response) else None
    return part if is_mapping(part) else {}


def is_mapping(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether a part of an answer has fields."""
    return isinstance(value, Mapping)


def short(text: object) -> str:
    """Return a server's words, bounded and on one line."""
    return " ".join(str(text).split())[:_LONGEST_TEXT]


def _by_answer(error: ClientError, known: Mapping[str, Meaning], what: str) -> Retry | Rejected | Unknown:
    meaning, code, status = meaning_of(error, known)
    words = "" if meaning is Meaning.CREDENTIALS else f": {words_of(error)}"
    said = AwsError(f"{what} answered {short(code)} (HTTP {status}){words}", code=code, status=status)
    if meaning is not Meaning.CREDENTIALS:
        said.__cause__ = without_secrets(error)
    match meaning:
        case Meaning.THROTTLED:
            return Retry(said, throttled=True)
        case Meaning.CREDENTIALS:
            return Retry(said)
        case Meaning.SETUP:
            return Rejected(said)
        case Meaning.REFUSED:
            raise BatchRefused from said
        case Meaning.UNANSWERED:
            return Unknown(said)


def _by_status(status: int | None) -> Meaning:
    """Judge an answer whose code nobody knows: a service's new one, or a proxy's page."""
    if status == 429:  # noqa: PLR2004 - the number is the name
        return Meaning.THROTTLED
    if status in (401, 403, 404, 405, 407):
        return Meaning.SETUP
    # A refusal costs a few more requests than a rejection and never takes the innocent along.
    return Meaning.REFUSED if status is not None and 400 <= status < 500 and status != 408 else Meaning.UNANSWERED  # noqa: PLR2004 - as above


def _bare(code: str) -> str:
    return code.rpartition("#")[2].removeprefix("AWS.SimpleQueueService.")


def _unanswered(error: Exception) -> str:
    if isinstance(error, ParamValidationError):
        return "the client library refused to send the request"
    if _is_untrusted(error):
        return "the server's certificate is not to be trusted"
    if isinstance(error, NoCredentialsYetError):
        return f"no credentials to sign with ({error})"
    if was_not_sent(error):
        return f"could not be reached ({type(error).__name__})"
    return f"no answer that can be read ({type(error).__name__})"
