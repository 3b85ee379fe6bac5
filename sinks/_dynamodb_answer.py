"""What DynamoDB said of each write of a batch, read strictly. Pure.

Before: an answer of BatchWriteItem. After: one verdict for each entry.
It says only what it did not do, without a reason and without an id: a write is found again by its table, its kind and
its key, and whatever can't be found again leaves the others in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from sinkwell.core import Delivered, Receipt, Retry, Unknown, Verdict

from ._aws_verdicts import AwsError, is_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sinkwell.core import Entry

    from ._dynamodb_record import Write
    from ._dynamodb_table import Key, Table

_FIELDS = {"PutRequest": "Item", "DeleteRequest": "Key"}


@dataclass(slots=True, kw_only=True)
class DynamoDBReceipt(Receipt):
    """DynamoDB has done the write.

    Attributes:
        table_name: where.
        superseded: with `coalesce=True`: a newer write of the same key took this one's place before it left, and that
            one is done; this one never was.
    """

    table_name: str
    superseded: bool = False


def verdicts_of(
    answer: object, entries: Sequence[Entry], tables: Mapping[str, Table]
) -> list[Verdict[DynamoDBReceipt]]:
    """Judge each entry.

    The cases: (1) the answer does not list what was left over (botocore makes an empty dict of a garbled one): nobody
    knows; (2) the entry is in the list: it goes again; (3) something in the list is none of ours: no entry that
    isn't in it is known to be written; (4) otherwise it is.
    """
    listed = answer.get("UnprocessedItems") if is_mapping(answer) else None
    if not is_mapping(listed):
        said = AwsError("DynamoDB's answer does not tell what was left over", code="Unanswered")
        return [Unknown(said)] * len(entries)
    made: dict[tuple[str, int], Delivered[DynamoDBReceipt]] = {}
    if not listed:
        return [_delivered(entry, made) for entry in entries]
    sent: dict[object, str] = {entry.key: cast("Write", entry.payload).kind for entry in entries}
    left: set[object] = set()
    is_clear = True
    for kind, key in _left_over(listed, tables):
        if sent.get(key) == kind:
            left.add(key)
        else:
            is_clear = False
    again = Retry(_unprocessed(len(left), len(entries)), throttled=not _is_hot_key(left, sent))
    doubt = Unknown(AwsError("DynamoDB's answer lists a write that was not in the request", code="Unanswered"))
    return [again if entry.key in left else _delivered(entry, made) if is_clear else doubt for entry in entries]


def only_hot_keys(error: Exception) -> bool:
    """Whether a throttled request names single keys as its only reason: then the table itself has capacity."""
    if not isinstance(error, ClientError):
        return False
    response = cast("Mapping[str, object]", error.response or {})
    listed = response.get("ThrottlingReasons") or response.get("throttlingReasons")
    reasons = cast("list[object]", listed) if isinstance(listed, list) else []
    return bool(reasons) and all(
        is_mapping(reason) and str(reason.get("reason")).endswith("KeyRangeThroughputExceeded") for reason in reasons
    )


def _left_over(listed: Mapping[str, object], tables: Mapping[str, Table]) -> Iterator[tuple[str, Key | None]]:
    """Yield the kind and the key of each write in `UnprocessedItems`; `None` for one that can't be read."""
    for name, writes in listed.items():
        table = tables.get(name)
        for write in cast("list[object]", writes) if isinstance(writes, list) else [None]:
            yield _read(write, table) if table is not None and is_mapping(write) else ("", None)


def _read(write: Mapping[str, object], table: Table) -> tuple[str, Key | None]:
    for kind, field in _FIELDS.items():
        request = write.get(kind)
        attributes = request.get(field) if is_mapping(request) else None
        if is_mapping(attributes):
            return kind, table.echoed_key(attributes)
    return "", None


def _is_hot_key(left: set[object], sent: Mapping[object, str]) -> bool:
    """Whether all that was left over is of one partition key, while others were taken."""
    partitions = {cast("Key", key)[:2] for key in left}
    return len(partitions) == 1 and any(cast("Key", key)[:2] not in partitions for key in sent)


def _delivered(entry: Entry, made: dict[tuple[str, int], Delivered[DynamoDBReceipt]]) -> Delivered[DynamoDBReceipt]:
    """Return the verdict of a write that is done; those with the same to tell share one."""
    table_name, attempts = entry.payload.table, entry.attempts
    verdict = made.get((table_name, attempts))
    if verdict is None:
        verdict = made[table_name, attempts] = Delivered(
            DynamoDBReceipt(attempts=attempts, table_name=table_name),
            DynamoDBReceipt(attempts=attempts, table_name=table_name, superseded=True),
        )
    return verdict


def consumed_capacity(answer: object) -> Iterator[tuple[str, float]]:
    """Yield each table that the answer tells the consumed write units of, and how many."""
    listed = answer.get("ConsumedCapacity") if is_mapping(answer) else None
    for told in cast("list[object]", listed) if isinstance(listed, list) else ():
        name, units = (told.get("TableName"), told.get("CapacityUnits")) if is_mapping(told) else (None, None)
        if isinstance(name, str) and isinstance(units, (int, float)) and not isinstance(units, bool):
            yield name, float(units)


def _unprocessed(count: int, total: int) -> AwsError:
    return AwsError(
        f"DynamoDB left {count} of {total} writes unprocessed: the table's or a key's throughput is used up",
        code="UnprocessedItems",
    )
