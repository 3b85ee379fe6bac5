"""One write for DynamoDB: what the caller puts, and the checks and counts that DynamoDB would make of it.

Before: `DynamoDBSink.put`. After: the entry's payload, which goes into a request as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from sinkwell.core import Encoded, InvalidRecord, RecordTooLarge

from ._dynamodb_item import Floats, ItemEncoder, with_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._dynamodb_table import Table

MAX_ITEM_BYTES = 409_600
"""400 KB as DynamoDB counts (BatchWriteItem, API reference, November 2026): an item of exactly so many is taken."""

UNIT_BYTES = 1_024
"""A write unit is for so many bytes of an item, begun ("Read/write capacity", developer guide, November 2026)."""

# What a request's JSON has around the writes of a table and its name, and after each write.
_AROUND_TABLE = len('"": [], ' + ", ")
_CAPACITY = b', "ReturnConsumedCapacity": "TOTAL"'


@dataclass(slots=True, frozen=True)
class Put:
    """Write an item, in place of the one with the same key.

    Attributes:
        item: all of it: its key and whatever else.
        table_name: another table than the sink's; one of `table_names`.
    """

    item: Mapping[str, Any]
    table_name: str | None = None


@dataclass(slots=True, frozen=True)
class Delete:
    """Remove an item, if it is there.

    Attributes:
        key: its key, and nothing else.
        table_name: another table than the sink's; one of `table_names`.
    """

    key: Mapping[str, Any]
    table_name: str | None = None


class Write(NamedTuple):
    """A payload.

    Attributes:
        table: its name, under which the request lists the write.
        kind: `"PutRequest"` or `"DeleteRequest"`.
        body: its JSON, as it stands in the request.
    """

    table: str
    kind: str
    body: bytes

    @property
    def request(self) -> object:
        """The write as the client takes it."""
        return with_bytes(json.loads(self.body))


def encode_put(put: Put, table: Table, floats: Floats) -> Encoded:
    """Check and count an item.

    Raises:
        InvalidRecord: DynamoDB would refuse it, and the whole request it is in.
    """
    return encode_item(_mapping(put.item, "Put.item"), table, floats)


def encode_item(record: Mapping[object, object], table: Table, floats: Floats) -> Encoded:
    """Check and count an item.

    Raises:
        InvalidRecord: DynamoDB would refuse it, and the whole request it is in.
    """
    encoder = ItemEncoder(floats)
    item, text = encoder.encode_json(record, table.key_names)
    counted = encoder.counted
    if counted > MAX_ITEM_BYTES:
        raise RecordTooLarge(
            f"an item of {counted:,} bytes is above the {MAX_ITEM_BYTES:,} that DynamoDB takes (names count "
            "as well): split it, or store it elsewhere and keep where"
        )
    key = table.key_of(item)
    if table.index_keys:
        table.check_indexes(item)
    body = f'{{"PutRequest": {{"Item": {text}}}}}'.encode("ascii")
    name = table.name
    # A request names each table once; the name is counted for each write.
    size = len(body) + _AROUND_TABLE + len(name)
    return Encoded(Write(name, "PutRequest", body), size, key, None, -(-counted // UNIT_BYTES))


def encode_delete(delete: Delete, table: Table, floats: Floats) -> Encoded:
    """Check and count a key.

    Raises:
        InvalidRecord: DynamoDB would refuse it, and the whole request it is in.
    """
    encoder = ItemEncoder(floats)
    given = _mapping(delete.key, "Delete.key")
    attributes, text = encoder.encode_json(given, table.key_names)
    key = table.key_of(attributes)
    if len(given) > len(table.key):
        names = " and ".join(repr(attribute.name) for attribute in table.key)
        raise InvalidRecord(f"a key of {table} is made of {names}, and of nothing else")
    body = f'{{"DeleteRequest": {{"Key": {text}}}}}'.encode("ascii")
    return Encoded(Write(table.name, "DeleteRequest", body), len(body) + _AROUND_TABLE + len(table.name), key)


def _mapping(value: object, what: str) -> Mapping[object, object]:
    # What a caller gave may be anything: annotations bind nobody.
    if not isinstance(value, Mapping):
        raise InvalidRecord(f"{what} must be a dict, not {type(value).__name__}")
    return cast("Mapping[object, object]", value)


def request_body(request: Mapping[str, Sequence[Write]], *, counts_capacity: bool) -> bytes:
    """Return the JSON of a `BatchWriteItem` with these writes, by their table's name: as botocore makes it."""
    # A table's name needs no escapes: `is_table_name` has seen to it.
    tables = [
        b'"%b": [%b]' % (name.encode(), b", ".join([write.body for write in writes]))
        for name, writes in request.items()
    ]
    return b'{"RequestItems": {%b}%b}' % (b", ".join(tables), _CAPACITY if counts_capacity else b"")
