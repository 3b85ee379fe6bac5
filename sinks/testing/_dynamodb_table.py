"""One DynamoDB table: its keys, its items, what was ever written. Pure; the time is handed in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from ._dynamodb_rules import binary_of, item_size, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ._wire import Document

_UNSUITABLE = "One or more parameter values are not valid. "
_INVALID = "One or more parameter values were invalid: "
_MAX_KEY_BYTES = (2048, 1024)
_UNIT = 1024

Key = tuple[object, ...]


@dataclass(slots=True, frozen=True)
class StoredWrite:
    """A write that AWS has really done.

    Attributes:
        kind: put or delete.
        key: the item's key, in the typed form.
        item: the item, in the typed form; empty for a delete.
        request: the number of the request that brought it, as in the endpoint's log.
        at: when, in the event loop's time.
    """

    kind: Literal["put", "delete"]
    key: Document
    item: Document
    request: int
    at: float


class Write(NamedTuple):
    """One write of a request that was understood: the item of a put, the key of a delete."""

    kind: Literal["put", "delete"]
    attributes: Document

    @property
    def units(self) -> int:
        """Write units: one for each KiB that was begun."""
        return max(1, math.ceil(item_size(self.attributes) / _UNIT)) if self.kind == "put" else 1


class Capacity:
    """So many write units a second, one second's worth at once; a bucket that time fills."""

    def __init__(self, units_per_second: float, now: float) -> None:
        self._rate = units_per_second
        self._units = max(1.0, units_per_second)
        self._filled_at = now

    def has(self, now: float) -> bool:
        """Whether anything is left. A write takes what it needs, also below zero, as bursts do."""
        self._units = min(max(1.0, self._rate), self._units + (now - self._filled_at) * self._rate)
        self._filled_at = now
        return self._units >= 1

    def take(self, units: int) -> None:
        """Use it."""
        self._units -= units


@dataclass(slots=True, eq=False)
class Table:
    """One table.

    Attributes:
        key: attribute name to type: the partition key, then the sort key.
        indexes: index name to the same.
    """

    name: str
    key: dict[str, str]
    indexes: dict[str, dict[str, str]]
    status: str = "ACTIVE"
    items: dict[Key, Document] = field(default_factory=dict["Key", "Document"])
    # All that was ever written, in order; and how many, also when nothing is remembered.
    writes: list[StoredWrite] = field(default_factory=list["StoredWrite"])
    write_count: int = 0
    capacity: Capacity | None = None
    # By the value of a partition key, in its normal form.
    hot_keys: dict[object, Capacity] = field(default_factory=dict[object, "Capacity"])

    def describe(self) -> Document:
        """What DescribeTable tells."""
        types = dict(self.key)
        for index in self.indexes.values():
            types |= index
        return {
            "TableName": self.name,
            "TableStatus": self.status,
            "TableArn": f"arn:aws:dynamodb:us-east-1:000000000000:table/{self.name}",
            "AttributeDefinitions": [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()],
            "KeySchema": _schema(self.key),
            "ItemCount": len(self.items),
            **(
                {
                    "GlobalSecondaryIndexes": [
                        {"IndexName": name, "KeySchema": _schema(key), "IndexStatus": "ACTIVE"}
                        for name, key in self.indexes.items()
                    ]
                }
                if self.indexes
                else {}
            ),
        }

    def check(self, write: Write) -> Key:
        """The rules that depend on the table; returns the item's key in its normal form.

        Raises:
            AwsError: the first that is broken.
        """
        attributes = write.attributes
        if write.kind == "delete" and len(attributes) != len(self.key):
            raise refusal("The provided key element does not match the schema")
        for place, (name, kind) in enumerate(self.key.items()):
            value = attributes.get(name, {}).get(kind)
            if value is None:
                raise refusal("The provided key element does not match the schema")
            _check_key_value(kind, value, place, f"Key: {name}")
        for index, name, kind, place in self._index_keys():
            if name in attributes:
                self._check_index_value(attributes[name], index, name, kind, place)
        return self.normal_key(attributes)

    def normal_key(self, attributes: Document) -> Key:
        """The values of the key by which items are told apart."""
        return tuple(normal(kind, attributes[name][kind]) for name, kind in self.key.items())

    def allows(self, key: Key, now: float) -> str | None:
        """Why a write would be throttled now, in the words of `ThrottlingReasons`; None if it would not."""
        hot = self.hot_keys.get(key[0])
        if hot is not None and not hot.has(now):
            return "TableWriteKeyRangeThroughputExceeded"
        if self.capacity is not None and not self.capacity.has(now):
            return "TableWriteProvisionedThroughputExceeded"
        return None

    def apply(self, write: Write, key: Key, request: int, now: float, *, remembers: bool) -> None:
        """Do it."""
        for capacity in (self.capacity, self.hot_keys.get(key[0])):
            if capacity is not None:
                capacity.take(write.units)
        self.write_count += 1
        if not remembers:
            return
        own = {name: write.attributes[name] for name in self.key}
        if write.kind == "put":
            self.items[key] = write.attributes
            self.writes.append(StoredWrite("put", own, write.attributes, request, now))
        else:
            self.items.pop(key, None)
            self.writes.append(StoredWrite("delete", own, {}, request, now))

    def _index_keys(self) -> Iterator[tuple[str, str, str, int]]:
        for index in sorted(self.indexes):
            for place, (name, kind) in enumerate(self.indexes[index].items()):
                if name not in self.key:
                    yield index, name, kind, place

    def _check_index_value(self, value: Document, index: str, name: str, kind: str, place: int) -> None:
        if kind not in value:
            actual = next(iter(value))
            raise refusal(
                f"{_INVALID}Type mismatch for Index Key {name} Expected: {kind} Actual: {actual} IndexName: {index}"
            )
        where = f"IndexName: {index}, IndexKey: {name}"
        prefix = "A value specified for a secondary index key is not supported. "
        _check_key_value(kind, value[kind], place, where, prefix)


def _schema(key: Mapping[str, str]) -> list[Document]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(key, ("HASH", "RANGE"), strict=False)]


def _check_key_value(kind: str, value: str, place: int, where: str, prefix: str = "") -> None:
    if kind == "N":
        return
    size = len(binary_of(value)) if kind == "B" else len(value.encode("utf-8", "surrogatepass"))
    if not size:
        what = "binary" if kind == "B" else "string"
        sentence = f"The AttributeValue for a key attribute cannot contain an empty {what} value. {where}"
        raise refusal(_UNSUITABLE + prefix + sentence)
    if size > _MAX_KEY_BYTES[place]:
        what = "Aggregated size of all range keys has exceeded the size limit of 1024 bytes"
        raise refusal(
            _INVALID + (what if place else "Size of hashkey has exceeded the maximum size limit of2048 bytes")
        )


def normal(kind: str, value: str) -> object:
    """A key's value by which items are told apart: 1 and 1.0 are one."""
    return Decimal(value) if kind == "N" else binary_of(value) if kind == "B" else value
