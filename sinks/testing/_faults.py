"""Everything that can go wrong with a request to AWS, one small class each; see `Turn` for writing one more.

`applied` says throughout whether AWS has done what was asked: `False` and the records are not there, `True` and they
are, whatever the client was told.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._dynamodb_errors import throttling
from ._turn import Pace, Turn
from ._wire import AwsError, EntryError, Reply, xml_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_HTML = b"<html><head><title>Maintenance</title></head><body>We will be back soon.</body></html>"


@dataclass(slots=True, frozen=True)
class FailEntries:
    """Some entries of a batch stand in `Failed`, and really are not applied; the others are.

    Of a DynamoDB batch they stand in `UnprocessedItems`, which tells neither code nor message.

    Attributes:
        probability: of each entry that is chosen below.
        code: the entry's `Code`.
        sender_fault: the entry's `SenderFault`.
        message: the entry's `Message`.
        positions: only entries at these places of the batch, from 0; None means all.
        only: only entries (as the JSON they were sent as) for which it returns True.
    """

    probability: float = 1.0
    code: str = "InternalError"
    sender_fault: bool = False
    message: str = "Failed by plan."
    positions: Collection[int] | None = None
    only: Callable[[dict[str, Any]], bool] | None = None

    def __call__(self, turn: Turn) -> None:
        error = EntryError(self.code, self.message, self.sender_fault)
        for position, entry in enumerate(turn.request.entries):
            is_chosen = self.positions is None or position in self.positions
            if is_chosen and (self.only is None or self.only(entry)) and turn.rng.random() < self.probability:
                turn.refused[entry.get("Id", "")] = error


@dataclass(slots=True, frozen=True)
class Refuse:
    """The whole request ends in an AWS error, and nothing of it is applied.

    Attributes:
        code: a name from AWS's model or its older common name; see `AwsError`.
        message: what the answer says; empty takes AWS's usual words.
        status: the HTTP status; 0 takes AWS's usual one.
    """

    code: str
    message: str = ""
    status: int = 0

    def __call__(self, turn: Turn) -> None:
        turn.instead = AwsError(self.code, self.message, self.status)
        turn.is_applied = False


@dataclass(slots=True, frozen=True)
class Throttle(Refuse):
    """The whole request is throttled: `RequestThrottled`, `ThrottlingException`, `OverLimit` or `KmsThrottled`."""

    code: str = "RequestThrottled"


@dataclass(slots=True, frozen=True)
class ThrottleWrites:
    """DynamoDB had throughput for nothing of the request, and says why.

    Attributes:
        reason: as `ThrottlingReasons` tells it; `TableWriteKeyRangeThroughputExceeded` means one key, not the table.
        code: `ProvisionedThroughputExceededException` or `ThrottlingException`.
    """

    reason: str = "TableWriteProvisionedThroughputExceeded"
    code: str = "ProvisionedThroughputExceededException"

    def __call__(self, turn: Turn) -> None:
        turn.instead = throttling({self.reason: "arn:aws:dynamodb:us-east-1:000000000000:table/any"}, self.code)
        turn.is_applied = False


@dataclass(slots=True, frozen=True)
class ExpiredToken(Refuse):
    """The session's credentials have run out."""

    code: str = "ExpiredToken"


@dataclass(slots=True, frozen=True)
class AccessDenied(Refuse):
    """The credentials may not do this."""

    code: str = "AccessDenied"


@dataclass(slots=True, frozen=True)
class QueueGone(Refuse):
    """The queue was deleted by someone else."""

    code: str = "QueueDoesNotExist"


@dataclass(slots=True, frozen=True)
class TopicGone(Refuse):
    """The topic was deleted by someone else."""

    code: str = "NotFound"


@dataclass(slots=True, frozen=True)
class ServerError:
    """AWS's own failure: 500 or 503.

    Attributes:
        status: the HTTP status.
        applied: whether the request was carried out before it failed.
    """

    status: int = 500
    applied: bool = False

    def __call__(self, turn: Turn) -> None:
        turn.instead = AwsError("ServiceUnavailable" if self.status == 503 else "InternalFailure", "", self.status)  # noqa: PLR2004 - the name of an HTTP status
        turn.is_applied = self.applied


@dataclass(slots=True, frozen=True)
class Redirect:
    """A 307 that points elsewhere; nothing is applied.

    Attributes:
        location: where to.
    """

    location: str = "http://127.0.0.1:9/"

    def __call__(self, turn: Turn) -> None:
        turn.instead = Reply(307, headers={"Location": self.location})
        turn.is_applied = False


@dataclass(slots=True, frozen=True)
class DropUnread:
    """The connection is closed as soon as the request's head is there; its body is never read."""

    def __call__(self, turn: Turn) -> None:
        turn.is_applied = False
        turn.cut_at = 0.0


@dataclass(slots=True, frozen=True)
class Drop:
    """The connection is closed in place of an answer.

    Attributes:
        applied: whether the request was carried out.
        resets: the client sees a TCP reset rather than an orderly end.
    """

    applied: bool = False
    resets: bool = False

    def __call__(self, turn: Turn) -> None:
        turn.is_applied = self.applied
        turn.cut_at = 0.0
        turn.resets = self.resets


@dataclass(slots=True, frozen=True)
class DropMidAnswer:
    """The request is applied, and the connection closed within the answer.

    Attributes:
        share: of the answer's bytes, head included, that still leave.
    """

    share: float = 0.8

    def __call__(self, turn: Turn) -> None:
        turn.cut_at = self.share


@dataclass(slots=True, frozen=True)
class Hang:
    """No answer comes and the connection stays open, until the client or the endpoint ends it.

    Attributes:
        applied: whether the request was carried out.
    """

    applied: bool = False

    def __call__(self, turn: Turn) -> None:
        turn.is_applied = self.applied
        turn.hangs = True


@dataclass(slots=True, frozen=True)
class Late:
    """Latency.

    Attributes:
        seconds: how long; or a function of the turn, for example `lambda turn: turn.rng.expovariate(20)`.
        before: the wait comes before the request is applied. It then is applied even when the client has left, so a
            first attempt can land after its own retry. Otherwise it is applied at once and only the answer is late.
    """

    seconds: float | Callable[[Turn], float]
    before: bool = False

    def __call__(self, turn: Turn) -> None:
        seconds = self.seconds(turn) if callable(self.seconds) else self.seconds
        if self.before:
            turn.wait_before += seconds
        else:
            turn.wait_after += seconds


@dataclass(slots=True, frozen=True)
class Trickle:
    """A slow loris: the answer leaves a few bytes at a time.

    Attributes:
        piece_bytes: how many at a time.
        pause: seconds between them.
    """

    piece_bytes: int = 1
    pause: float = 0.05

    def __call__(self, turn: Turn) -> None:
        turn.pace = Pace(self.piece_bytes, self.pause)


@dataclass(slots=True, frozen=True)
class Bandwidth:
    """The answer leaves no faster than this.

    Attributes:
        bytes_per_second: how fast.
    """

    bytes_per_second: float

    def __call__(self, turn: Turn) -> None:
        # Fifty pieces a second are smooth enough, and few enough timers.
        piece_bytes = max(1, int(self.bytes_per_second / 50))
        turn.pace = Pace(piece_bytes, piece_bytes / self.bytes_per_second)


@dataclass(slots=True, frozen=True)
class Garbage:
    """A 200 whose body is no JSON at all.

    Attributes:
        body: what it is instead.
        applied: whether the request was carried out.
    """

    body: bytes = _HTML
    applied: bool = True

    def __call__(self, turn: Turn) -> None:
        turn.instead = Reply(body=self.body, content_type="text/html")
        turn.is_applied = self.applied


@dataclass(slots=True, frozen=True)
class EmptyAnswer:
    """A 200 that says `{}`, or in XML nothing about its result.

    Attributes:
        applied: whether the request was carried out.
    """

    applied: bool = True

    def __call__(self, turn: Turn) -> None:
        turn.instead = xml_reply(turn.request.action, {}) if turn.request.service == "sns" else Reply(body=b"{}")
        turn.is_applied = self.applied


@dataclass(slots=True, frozen=True)
class CutAnswer:
    """The request is applied; the answer is sound HTTP, but its JSON ends early.

    Attributes:
        share: of the body's bytes that stay.
    """

    share: float = 0.6

    def __call__(self, turn: Turn) -> None:
        turn.edits.append(self._cut)

    def _cut(self, reply: Reply) -> None:
        body = reply.to_body()
        reply.body = body[: int(len(body) * self.share)]


@dataclass(slots=True, frozen=True)
class WrongChecksum:
    """The request is applied; the answer's `x-amz-crc32` does not fit its body."""

    def __call__(self, turn: Turn) -> None:
        turn.edits.append(_spoil_checksum)


def _spoil_checksum(reply: Reply) -> None:
    reply.headers["x-amz-crc32"] = str(zlib.crc32(reply.to_body()) ^ 1)
