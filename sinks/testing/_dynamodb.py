"""DynamoDB: its actions over the tables they change. Pure; the clock is handed in, nothing here waits.

Before me: `_endpoint.py` read a request. After me: `_dynamodb_rules.py` judges, `_dynamodb_table.py` stores.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

from ._dynamodb_errors import dynamodb_error_reply, throttling
from ._dynamodb_rules import read_item, refusal
from ._dynamodb_table import Capacity, StoredWrite, Table, Write, normal
from ._fields import document_of, list_of, text_of
from ._wire import AwsError, AwsRequest, Document, EntryError, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_WRITES = 25
MAX_KEYS = 100
_FIELDS: dict[str, tuple[Literal["put", "delete"], str]] = {
    "PutRequest": ("put", "Item"),
    "DeleteRequest": ("delete", "Key"),
}


class DynamoDB:
    """The tables, and what tests and demos ask of them.

    Attributes:
        echoes_plain_numbers: whether `UnprocessedItems` tells numbers as DynamoDB keeps them (`10` for `1E1`) rather
            than as they were sent; what AWS does is not documented.
    """

    name = "dynamodb"
    prefix = "DynamoDB_20120810"

    def __init__(self, clock: Callable[[], float], *, remembers: bool = True) -> None:
        self.echoes_plain_numbers = True
        self._clock = clock
        self._remembers = remembers
        self._tables: dict[str, Table] = {}
        self._actions: dict[str, Callable[[AwsRequest, Mapping[str, EntryError]], Document]] = {
            "CreateTable": self._create,
            "DescribeTable": self._describe,
            "DeleteTable": self._delete_table,
            "PutItem": self._put,
            "DeleteItem": self._delete,
            "GetItem": self._get,
            "BatchWriteItem": self._write_batch,
            "BatchGetItem": self._get_batch,
            "Scan": self._scan,
        }

    # What tests ask.

    def create_table(
        self,
        name: str,
        key: Mapping[str, str] | None = None,
        *,
        indexes: Mapping[str, Mapping[str, str]] | None = None,
    ) -> str:
        """Create a table without a request; returns its name.

        Args:
            name: of the table.

            key: attribute names to types, the partition key first; by default `{"id": "S"}`.

            indexes: names of indexes to the same.

        Raises:
            AwsError: as CreateTable would.
        """
        if name in self._tables:
            raise AwsError("ResourceInUseException", f"Table already exists: {name}")
        keys = {index: dict(wanted) for index, wanted in (indexes or {}).items()}
        self._tables[name] = Table(name, dict(key or {"id": "S"}), keys)
        return name

    def items(self, table_name: str) -> list[Document]:
        """Everything that is in a table, in the typed form.

        Raises:
            AwsError: if there is no such table; so do all methods here that take one.
        """
        return list(self._table_at(table_name).items.values())

    def writes(self, table_name: str) -> list[StoredWrite]:
        """Every write that was ever done, in order, also what was overwritten or deleted since."""
        return list(self._table_at(table_name).writes)

    def count(self, table_name: str) -> int:
        """How many writes were ever done, also when the endpoint remembers nothing."""
        return self._table_at(table_name).write_count

    def throttle(self, table_name: str, units_per_second: float | None) -> None:
        """Leave writes beyond a rate unprocessed; None takes all again."""
        capacity = None if units_per_second is None else Capacity(units_per_second, self._clock())
        self._table_at(table_name).capacity = capacity

    def throttle_key(self, table_name: str, partition_key: Document, units_per_second: float) -> None:
        """Do so for the items of one partition key, given in the typed form: `{"S": "hot"}`."""
        ((kind, value),) = partition_key.items()
        self._table_at(table_name).hot_keys[normal(kind, value)] = Capacity(units_per_second, self._clock())

    def set_status(self, table_name: str, status: str) -> None:
        """Give a table another status than ACTIVE."""
        self._table_at(table_name).status = status

    # What the endpoint asks.

    def perform(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        """Carry out one request and note in it what was applied; writes in `refused` stay unprocessed.

        Raises:
            AwsError: if AWS would refuse the whole request.
        """
        action = self._actions.get(request.action)
        if action is None:
            raise AwsError("UnknownOperation")
        return action(request, refused)

    def error_reply(self, error: AwsError) -> Reply:
        """The answer that says the error in DynamoDB's way."""
        return dynamodb_error_reply(error)

    def _table_at(self, name: str | None) -> Table:
        # An ARN ends in the name.
        table = self._tables.get((name or "").rpartition("/")[2])
        if table is None:
            raise AwsError("ResourceNotFoundException")
        return table

    def _table_of(self, request: AwsRequest) -> Table:
        return self._table_at(text_of(request.document, "TableName"))

    def _writable(self, name: str | None) -> Table:
        table = self._table_at(name)
        if table.status not in ("ACTIVE", "UPDATING"):
            raise AwsError("ResourceNotFoundException")
        return table

    def _write_batch(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        _check_count(request)
        writes = [(entry["Id"], entry["Table"], _read_write(entry)) for entry in request.entries]
        keyed = [(entry_id, name, write, self._writable(name)) for entry_id, name, write in writes]
        keys = [table.check(write) for _, _, write, table in keyed]
        if len(set(zip([table.name for *_, table in keyed], keys, strict=True))) < len(keys):
            raise refusal("Provided list of item keys contains duplicates")
        now = self._clock()
        left: Document = {}
        reasons: dict[str, str] = {}
        units: Counter[str] = Counter()
        for entry, (entry_id, name, write, table), key in zip(request.entries, keyed, keys, strict=True):
            reason = "refused" if entry_id in refused else table.allows(key, now)
            if reason is None:
                table.apply(write, key, request.number, now, remembers=self._remembers)
                request.applied[entry_id] = f"{table.name}/{'/'.join(map(str, key))}"
                units[table.name] += write.units
            else:
                left.setdefault(name, []).append(self._echo(entry, write))
                if reason != "refused":
                    reasons[reason] = f"arn:aws:dynamodb:us-east-1:000000000000:table/{table.name}"
        if not request.applied and reasons:
            raise throttling(reasons)
        return {"UnprocessedItems": left, **_consumed(request, units)}

    def _echo(self, entry: Document, write: Write) -> Document:
        name = "PutRequest" if write.kind == "put" else "DeleteRequest"
        return {name: {_FIELDS[name][1]: write.attributes} if self.echoes_plain_numbers else entry[name]}

    def _put(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        return self._write_one(request, Write("put", read_item(request.document.get("Item"))))

    def _delete(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        return self._write_one(request, Write("delete", read_item(request.document.get("Key"))))

    def _write_one(self, request: AwsRequest, write: Write) -> Document:
        table = self._writable(text_of(request.document, "TableName"))
        key, now = table.check(write), self._clock()
        reason = table.allows(key, now)
        if reason is not None:
            raise throttling({reason: table.name})
        table.apply(write, key, request.number, now, remembers=self._remembers)
        request.applied["0"] = f"{table.name}/{'/'.join(map(str, key))}"
        return {}

    def _get(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        table = self._table_of(request)
        item = table.items.get(table.check(Write("delete", read_item(request.document.get("Key")))))
        return {"Item": item} if item is not None else {}

    def _get_batch(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        asked = document_of(request.document.get("RequestItems"))
        found: Document = {}
        for name, wanted in asked.items():
            table = self._table_at(name)
            keys = list_of(document_of(wanted), "Keys") or []
            if not 1 <= len(keys) <= MAX_KEYS:
                raise refusal("Too many items requested for the BatchGetItem call")
            items = [table.items.get(table.check(Write("delete", read_item(key)))) for key in keys]
            found[name] = [item for item in items if item is not None]
        return {"Responses": found, "UnprocessedKeys": {}}

    def _scan(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        items = list(self._table_of(request).items.values())
        return {"Items": items, "Count": len(items), "ScannedCount": len(items)}

    def _create(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        document = request.document
        definitions = map(document_of, list_of(document, "AttributeDefinitions") or ())
        types = {text_of(each, "AttributeName"): text_of(each, "AttributeType") or "" for each in definitions}
        indexes = {
            text_of(document_of(index), "IndexName") or "": _key_in(document_of(index), types)
            for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
            for index in list_of(document, kind) or ()
        }
        name = self.create_table(text_of(document, "TableName") or "", _key_in(document, types), indexes=indexes)
        return {"TableDescription": self._tables[name].describe()}

    def _describe(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        return {"Table": self._table_of(request).describe()}

    def _delete_table(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        table = self._table_of(request)
        del self._tables[table.name]
        return {"TableDescription": table.describe() | {"TableStatus": "DELETING"}}


def _check_count(request: AwsRequest) -> None:
    tables = document_of(request.document.get("RequestItems") or {})
    constraint = "failed to satisfy constraint: Member must have length"
    if not tables:
        raise refusal(f"1 validation error detected: Value at 'RequestItems' {constraint} greater than or equal to 1")
    for name, writes in tables.items():
        amount = len(list_of({name: writes}, name) or ())
        if not 1 <= amount <= MAX_WRITES:
            than = "less than or equal to 25" if amount else "greater than or equal to 1"
            raise refusal(f"1 validation error detected: Value at 'RequestItems.{name}.member' {constraint} {than}")
    if len(request.entries) > MAX_WRITES:
        raise refusal("Too many items requested for the BatchWriteItem call")


def _read_write(entry: Document) -> Write:
    given = [name for name in _FIELDS if name in entry]
    if len(given) != 1:
        raise refusal(
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported "
            "datatypes"
        )
    kind, field = _FIELDS[given[0]]
    return Write(kind, read_item(document_of(entry[given[0]]).get(field)))


def _consumed(request: AwsRequest, units: Mapping[str, int]) -> Document:
    if request.document.get("ReturnConsumedCapacity") not in ("TOTAL", "INDEXES"):
        return {}
    return {"ConsumedCapacity": [{"TableName": name, "CapacityUnits": float(used)} for name, used in units.items()]}


def _key_in(document: Document, types: Mapping[str | None, str]) -> dict[str, str]:
    schema = [document_of(element) for element in list_of(document, "KeySchema") or ()]
    names = [text_of(element, "AttributeName") or "" for element in schema]
    return {name: types[name] for name in names}
