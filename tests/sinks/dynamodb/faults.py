"""What DynamoDB alone answers, and what each must mean: three records are written while it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sinkwell.sinks.testing import FailEntries, Garbage, Refuse, Throttle, ThrottleWrites, Turn, WrongChecksum
from tests.sinks.oracle import D, R, T, U, X

HOT = "TableWriteKeyRangeThroughputExceeded"


@dataclass(frozen=True)
class AddToAnswer:
    """The answer's UnprocessedItems holds a write that wasn't left over, or was never sent."""

    write: Any
    table: str = "orders"

    def __call__(self, turn: Turn) -> None:
        turn.edits.append(
            lambda reply: reply.document["UnprocessedItems"].setdefault(self.table, []).append(self.write)
        )


def stray(key: str) -> dict[str, Any]:
    return {"PutRequest": {"Item": {"id": {"S": key}}}}


FAULTS: list[tuple[Any, list[str]]] = [
    # the whole request is throttled
    (ThrottleWrites(), [T] * 3),
    (ThrottleWrites(code="ThrottlingException"), [T] * 3),
    (ThrottleWrites("TableWriteAccountLimitExceeded"), [T] * 3),
    (ThrottleWrites("IndexWriteProvisionedThroughputExceeded"), [T] * 3),
    (Throttle("ProvisionedThroughputExceededException"), [T] * 3),
    (Throttle("ProvisionedThroughputExceededException", status=503), [T] * 3),
    (Throttle("RequestLimitExceeded"), [T] * 3),
    # ... by one hot key, which says nothing of the table
    (ThrottleWrites(HOT), [R] * 3),
    (ThrottleWrites("IndexWriteKeyRangeThroughputExceeded", code="ThrottlingException"), [R] * 3),
    # a part of it is left unprocessed, without a reason: more than one key means the table
    (FailEntries(positions=[0, 1]), [T, T, D]),
    (FailEntries(), [T, T, T]),
    # the answer tells of other writes than those that were sent
    (AddToAnswer(stray("never-sent")), [U] * 3),
    (AddToAnswer(stray("a"), table="elsewhere"), [U] * 3),
    (AddToAnswer({"PutRequest": {"Item": {}}}), [U] * 3),
    (AddToAnswer({"DeleteRequest": {"Key": {"id": {"S": "a"}}}}), [U] * 3),
    (AddToAnswer({"PutRequest": {"Item": {"id": {"N": "1"}}}}), [U] * 3),
    (AddToAnswer({}), [U] * 3),
    # there is a 200, and nothing readable in it
    (Garbage(b'{"UnprocessedItems": null}'), [U] * 3),
    (Garbage(b'{"UnprocessedItems": "all"}'), [U] * 3),
    (Garbage(b'{"UnprocessedItems": {"orders": "all"}}'), [U] * 3),
    (Garbage(b'{"UnprocessedItems": {"orders": [null]}}'), [U] * 3),
    (Garbage(b"[" * 100_000), [U] * 3),
    (WrongChecksum(), [U] * 3),
    (Garbage(b"<html>Service unavailable</html>", applied=False), [U] * 3),
    # DynamoDB fails, or the connection does: both halves of each
    (Refuse("InternalServerError", status=502), [U] * 3),
    (Refuse("SomethingNew", status=504), [U] * 3),
    (Refuse("ReplicatedWriteConflictException"), [U] * 3),
    (Refuse("TransactionConflictException"), [U] * 3),
    # credentials: they get renewed while the service runs
    (Refuse("UnrecognizedClientException"), [R] * 3),
    (Refuse("InvalidSignatureException"), [R] * 3),
    (Refuse("RequestTimeTooSkewed", status=403), [R] * 3),
    # what a person must mend
    (Refuse("ResourceNotFoundException"), [X] * 3),
]
