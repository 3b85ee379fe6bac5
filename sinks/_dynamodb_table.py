"""What a table demands of a record: its key, by which records are told apart, and the types of its indexes' keys.

Before: DescribeTable, read when the sink opens. After: `_dynamodb_record` checks records, `_dynamodb_answer` finds them
again in what DynamoDB left over.
Sources: "Quotas" (developer guide, November 2026): 2,048 bytes for a partition key, 1,024 for a sort key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, cast

from sinkwell.core import InvalidRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ._dynamodb_item import AttributeMap

MAX_PARTITION_KEY_BYTES = 2_048
MAX_SORT_KEY_BYTES = 1_024

Key = tuple[object, ...]
"""A table's name, and the values of its key: two records with equal keys are the same item. Numbers are `Decimal`, so
that 1, 1.0 and 1E0 are one."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}|arn:[!#-\[\]-~]{1,1019}", re.ASCII)
_TYPE_NAMES = {"S": "text (S)", "N": "a number (N)", "B": "bytes (B)"}


@dataclass(slots=True, frozen=True)
class KeyAttribute:
    """One attribute of a key.

    Attributes:
        name: of the attribute.
        type: `"S"`, `"N"` or `"B"`.
        max_bytes: the most its value may have.
        index: the name of the index it is a key of; empty for the table's own.
    """

    name: str
    type: str
    max_bytes: int
    index: str = ""


@dataclass(slots=True, frozen=True)
class Table:
    """A table's keys.

    Attributes:
        name: as it is sent: the table's name or its ARN.
        key: its partition key and, if it has one, its sort key.
        index_keys: those of its indexes; a record may lack them.
        arn: the same for every name of it; empty if it was not told.
        key_names: the names of both.
    """

    name: str
    key: tuple[KeyAttribute, ...]
    index_keys: tuple[KeyAttribute, ...] = ()
    arn: str = ""
    key_names: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Gather the names of all key attributes."""
        names = frozenset(attribute.name for attribute in (*self.key, *self.index_keys))
        object.__setattr__(self, "key_names", names)

    @classmethod
    def read(cls, name: str, told: Mapping[str, object]) -> Table | None:
        """Return what `DescribeTable` told; `None` if it told no key."""
        definitions = cast("Sequence[Mapping[str, str]]", told.get("AttributeDefinitions") or ())
        types = {definition["AttributeName"]: definition["AttributeType"] for definition in definitions}
        key = tuple(_key_attributes(told, types, ""))
        if not key:
            return None
        indexes: list[KeyAttribute] = []
        for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
            for index in cast("Sequence[Mapping[str, object]]", told.get(kind) or ()):
                indexes += _key_attributes(index, types, str(index.get("IndexName")))
        own = {attribute.name for attribute in key}
        arn = told.get("TableArn")
        others = tuple(attribute for attribute in indexes if attribute.name not in own)
        return cls(name, key, others, arn if isinstance(arn, str) else "")

    def __str__(self) -> str:
        """Return how messages call it."""
        return f"DynamoDB table {self.name!r}"

    def key_of(self, attributes: AttributeMap) -> Key:
        """Return the key of an item in the typed form.

        Raises:
            InvalidRecord: it has none, or one that DynamoDB would refuse.
        """
        key: list[object] = [self.name]
        for attribute in self.key:
            key.append(self._checked(attribute, attributes))  # noqa: PERF401 - a comprehension is a call more
        return tuple(key)

    def check_indexes(self, attributes: AttributeMap) -> None:
        """Check what the table's indexes demand: an attribute they are made of has their type, if it is there.

        Raises:
            InvalidRecord: DynamoDB would refuse the item.
        """
        for attribute in self.index_keys:
            if attribute.name in attributes:
                self._checked(attribute, attributes)

    def echoed_key(self, attributes: Mapping[str, object]) -> Key | None:
        """Return the key of an item that DynamoDB sent back; `None` if it can't be found in it."""
        values: list[object] = []
        for attribute in self.key:
            typed = attributes.get(attribute.name)
            value = cast("Mapping[str, object]", typed).get(attribute.type) if isinstance(typed, dict) else None
            if not isinstance(value, bytes if attribute.type == "B" else str):
                return None
            try:
                values.append(_normalised(value, attribute.type))
            except InvalidOperation:
                return None
        return (self.name, *values)

    def _checked(self, attribute: KeyAttribute, attributes: AttributeMap) -> object:
        kind = attribute.type
        typed = attributes.get(attribute.name)
        if typed is None:
            raise InvalidRecord(f"the record lacks {self._called(attribute).removesuffix(',')}")
        value = typed.get(kind)
        if value is None:
            raise InvalidRecord(f"{self._called(attribute)} must be {_TYPE_NAMES[kind]}, not {next(iter(typed))}")
        if kind == "N":
            return Decimal(cast("str", value))
        size = len(value.encode() if isinstance(value, str) else cast("bytes", value))
        if size == 0:
            raise InvalidRecord(f"{self._called(attribute)} is empty, which DynamoDB refuses")
        if size > attribute.max_bytes:
            raise InvalidRecord(
                f"{self._called(attribute)} has {size:,} bytes, and DynamoDB takes {attribute.max_bytes:,}"
            )
        return value

    def _called(self, attribute: KeyAttribute) -> str:
        index = f"'s index {attribute.index!r}" if attribute.index else ""
        return f"attribute {attribute.name!r}, a key of {self}{index},"


def is_table_name(name: object) -> bool:
    """Whether it can be a table's name or ARN."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _normalised(value: object, kind: str) -> object:
    return Decimal(cast("str", value)) if kind == "N" else value


def _key_attributes(told: Mapping[str, object], types: Mapping[str, str], index: str) -> Iterator[KeyAttribute]:
    for element in cast("Sequence[Mapping[str, str]]", told.get("KeySchema") or ()):
        name = element["AttributeName"]
        most = MAX_PARTITION_KEY_BYTES if element["KeyType"] == "HASH" else MAX_SORT_KEY_BYTES
        yield KeyAttribute(name, types[name], most, index)
