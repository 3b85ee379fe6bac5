"""How a `Sink` speaks DynamoDB. Before: the core's batch. After: `BatchWriteItem`, and one verdict for each write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

from sinkwell.core import (
    Batch,
    BatchRefused,
    ConfigError,
    Encoded,
    Entry,
    InvalidRecord,
    Limits,
    Policy,
    Rejected,
    Retry,
    SinkClosed,
    Unknown,
    Verdict,
)

from ._aws import AwsSettings, setup_problem
from ._aws_destination import AwsDestination
from ._aws_transport import NotDirectError
from ._aws_verdicts import AWS_CODES, AwsError, Meaning, codes, is_mapping
from ._dynamodb_answer import DynamoDBReceipt, consumed_capacity, only_hot_keys, verdicts_of
from ._dynamodb_item import with_bytes
from ._dynamodb_record import Delete, Put, Write, encode_delete, encode_item, encode_put, request_body
from ._dynamodb_table import Table, is_table_name
from ._encode import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._dynamodb_item import Floats

MAX_RECORDS = 25
MAX_REQUEST_BYTES = 16 * 1024 * 1024
"""BatchWriteItem (API reference, November 2026): 25 writes over all tables, and 16 MB over the network."""

# What a request's JSON has around its tables, and some to spare.
_AROUND_REQUEST = 1024
_READ_ATTEMPTS = 5
_TOO_LARGE = 413
_USABLE = ("ACTIVE", "UPDATING", None)

# DynamoDB's own codes, beside those of all AWS services. Sources: BatchWriteItem and "Error handling with DynamoDB".
DYNAMODB_CODES = AWS_CODES | codes(
    {
        Meaning.THROTTLED: "ProvisionedThroughputExceededException ProvisionedThroughputExceeded",
        Meaning.SETUP: "ResourceNotFoundException TableNotFoundException ResourceInUseException",
        Meaning.REFUSED: "ItemCollectionSizeLimitExceededException",
        # A batch is not atomic: what these say of one write, they don't say of the others.
        Meaning.UNANSWERED: "ReplicatedWriteConflictException TransactionConflictException",
    }
)


class DynamoDBApi(Protocol):
    """The two calls the sink makes. A faster way to send replaces the client by offering the same."""

    async def batch_write_item(
        self,
        *,
        RequestItems: Mapping[str, Sequence[object]],  # noqa: N803 - AWS's names
        ReturnConsumedCapacity: str = "NONE",  # noqa: N803 - AWS's names
    ) -> object:
        """Send up to 25 writes. The second argument is given only if the user asks for it."""
        ...

    async def describe_table(self, *, TableName: str) -> object:  # noqa: N803 - AWS's names
        """Read a table's keys."""
        ...


class DynamoDBDestination(AwsDestination[DynamoDBApi]):
    """Speaks DynamoDB for a `Sink`: one request a `write`, over as many tables as its records name."""

    def __init__(
        self,
        table_name: str,
        *,
        table_names: Iterable[str],
        settings: AwsSettings,
        policy: Policy,
        encode: Callable[[object], object] | None,
        floats: Floats,
        coalesce: bool = False,
        counts_capacity: bool = False,
    ) -> None:
        if isinstance(table_names, str):
            raise ConfigError("table_names must be a list of names, not one text")
        self._names = tuple(dict.fromkeys((table_name, *table_names)))
        for name in self._names:
            if not is_table_name(name):
                raise ConfigError(
                    "a table's name must be 3 to 255 ASCII letters, digits, _ - and ., or its ARN; "
                    f"this one is {str(name)[:100]!r}"
                )
        if floats not in ("refuse", "decimal"):
            raise ConfigError(f'floats ({floats!r}) must be "refuse" or "decimal"')
        super().__init__(f"dynamodb:{table_name.rpartition('/')[2]}", settings, policy)
        self._encode = encode
        self._floats: Floats = floats
        # By the name that records give. All are read by `open`: without a table's key, no order could be kept.
        self._tables: dict[str, Table] = {}
        # Write units that answers have told of, by table. An attempt without an answer has told of none.
        self.consumed: dict[str, float] = {}
        self._counts_capacity = counts_capacity
        self.limits = Limits(
            records=MAX_RECORDS,
            bytes=MAX_REQUEST_BYTES - _AROUND_REQUEST,
            keys_repeat=False,
            retry_unknown=True,
            coalesce=coalesce,
            counts_units=True,
        )

    async def open(self) -> None:
        """Make the client and read the tables' keys.

        Raises:
            ConfigError: a table is missing, out of reach, or not for these credentials.
        """
        await self._connect("BatchWriteItem", {"RequestItems": dict.fromkeys(self._names, ())})
        arns: dict[str, str] = {}
        for name in self._names:
            table = self._tables[name] = await self._read(name)
            if table.arn and (other := arns.setdefault(table.arn, name)) != name:
                raise ConfigError(f"{other!r} and {name!r} are one table: name it once, or its items have two orders")

    def key_types(self) -> dict[str, str]:
        """Return the key attributes of the first table, and their types.

        Raises:
            SinkClosed: they were not read yet.
        """
        table = self._tables.get(self._names[0])
        if table is None:
            raise SinkClosed(f"{self.name}: its key is known when the sink is open")
        return {attribute.name: attribute.type for attribute in table.key}

    def encode(self, record: object, /) -> Encoded:
        """Check a record, count it as DynamoDB does and find its key.

        Raises:
            InvalidRecord: DynamoDB would refuse it.
        """
        table = self._tables.get(self._names[0])
        if type(record) is dict and table is not None:  # the usual case, which needs no look at anything else
            return encode_item(cast("dict[object, object]", record), table, self._floats)
        if not isinstance(record, (Put, Delete, Mapping)):
            record = self._converted(record)
        if isinstance(record, Mapping):
            record = Put(cast("Mapping[str, object]", record))
        name = self._names[0] if record.table_name is None else record.table_name
        table = self._tables.get(name) if isinstance(name, str) else None
        if table is None:
            raise InvalidRecord(
                f"table {str(name)[:100]!r} is none of {self.name}'s: pass it in table_names=, so that its key is known"
            )
        if isinstance(record, Put):
            return encode_put(record, table, self._floats)
        return encode_delete(record, table, self._floats)

    async def write(self, batch: Batch, /) -> list[Verdict[DynamoDBReceipt]]:
        """Send one request; if one of several tables is out of use, one for each; one a write if that must be known.

        Raises:
            BatchRefused: DynamoDB refused all of it because of one write.
        """
        try:
            verdicts = await self._send(batch.entries)
        except BatchRefused as refused:
            if len(batch) == 1 or _speaks_of_all(refused.__cause__):
                raise
            # A batch is not atomic: what it says of one write, it doesn't say of the others, and some may be there.
            return await self._send_parts(batch.entries, [[entry] for entry in batch.entries], is_in_doubt=True)
        if not isinstance(verdicts[0], Rejected):
            return verdicts
        # What the setup forbids is a whole request; the tables that it doesn't concern must not suffer from it.
        parts = _by_table(batch.entries)
        return verdicts if len(parts) == 1 else await self._send_parts(batch.entries, parts, is_in_doubt=False)

    async def _send(self, entries: Sequence[Entry]) -> list[Verdict[DynamoDBReceipt]]:
        request: dict[str, list[Write]] = {}
        for entry in entries:
            write: Write = entry.payload
            request.setdefault(write.table, []).append(write)
        try:
            answer = await self._answer(request)
        except Exception as error:  # noqa: BLE001 - whatever a client raises, it is about these entries
            names = " and ".join(repr(name) for name in [*request][:3])
            verdict = self._way.identity.judge(error, DYNAMODB_CODES, f"DynamoDB table {names}")
            if isinstance(verdict, Retry) and only_hot_keys(error):
                verdict = Retry(verdict.error)
            return [verdict] * len(entries)
        for name, units in consumed_capacity(answer):
            self.consumed[name] = self.consumed.get(name, 0.0) + units
        return verdicts_of(answer, entries, self._tables)

    async def _answer(self, request: Mapping[str, Sequence[Write]]) -> object:
        direct = self._way.direct
        if direct is not None:
            tables = (*request,)
            try:
                answer = await direct.call(tables, {"RequestItems": dict.fromkeys(tables, ())}, self._body(request))
            except NotDirectError as error:
                self._way.leave(error)
            else:
                return with_bytes(answer) if is_mapping(answer) and answer.get("UnprocessedItems") else answer
        assert self._api is not None, "write comes after open"
        items = {name: [write.request for write in writes] for name, writes in request.items()}
        options = {"ReturnConsumedCapacity": "TOTAL"} if self._counts_capacity else {}
        return await self._way.identity.send(partial(self._api.batch_write_item, RequestItems=items, **options))

    def _body(self, request: Mapping[str, Sequence[Write]]) -> bytes:
        return request_body(request, counts_capacity=self._counts_capacity)

    async def _send_parts(
        self, entries: Sequence[Entry], parts: Sequence[Sequence[Entry]], *, is_in_doubt: bool
    ) -> list[Verdict[DynamoDBReceipt]]:
        """Send each part by itself. One that is refused because of one write goes on write by write.

        Args:
            entries: all of them.
            parts: of them.
            is_in_doubt: what was refused before may have written some: of that, only a part's own answer frees it.
        """
        verdicts: dict[object, Verdict[DynamoDBReceipt]] = {}
        waiting = [(part, is_in_doubt) for part in parts]
        while waiting:
            part, doubt = waiting.pop()
            try:
                said = await self._send_in_time(part)
            except BatchRefused as refused:
                if len(part) > 1:
                    doubt = doubt or not _speaks_of_all(refused.__cause__)
                    waiting += [([entry], doubt) for entry in part]
                    continue
                said = [Rejected(refused.__cause__ or refused)]
            else:
                if doubt:
                    said = [Unknown(v.error) if isinstance(v, (Retry, Rejected)) else v for v in said]
            verdicts |= {entry.key: verdict for entry, verdict in zip(part, said, strict=True)}
        return [verdicts[entry.key] for entry in entries]

    async def _send_in_time(self, entries: Sequence[Entry]) -> list[Verdict[DynamoDBReceipt]]:
        """Send them, unless the attempt's time is up: a verdict that nothing went has then caught its end."""
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return [Retry(TimeoutError("the attempt's time was up before this part of it was sent"))] * len(entries)
        return await self._send(entries)

    async def _read(self, name: str) -> Table:
        """Read a table's key, again if DynamoDB is only slow or busy."""
        problem = ConfigError(f"DynamoDB table {name!r} can't be used")
        for attempt in range(1, _READ_ATTEMPTS + 1):
            try:
                async with asyncio.timeout(self._policy.attempt_timeout):
                    return await self._described(name)
            except ConfigError:
                raise
            except Exception as error:  # noqa: BLE001 - every one is judged, and none keeps its frames
                found = setup_problem(error, DYNAMODB_CODES, f"DynamoDB table {name!r}")
                problem = found or ConfigError(
                    f"DynamoDB table {name!r}: its key can't be read ({type(error).__name__})"
                )
            if found is not None:
                break
            if attempt < _READ_ATTEMPTS:
                await asyncio.sleep(self._policy.backoff.delay(attempt, 1.0))
        raise problem

    async def _described(self, name: str) -> Table:
        assert self._api is not None, "open makes the client"
        answer = await self._way.identity.call(partial(self._api.describe_table, TableName=name))
        told = answer.get("Table") if is_mapping(answer) else None
        table = Table.read(name, told) if is_mapping(told) else None
        if told is None or table is None:  # botocore makes an empty dict of a garbled answer
            raise AwsError(f"DynamoDB table {name!r}: the answer does not tell its key", code="Unanswered")
        status = cast("Mapping[str, object]", told).get("TableStatus")
        if status not in _USABLE:
            raise ConfigError(f"{table} can't be used: it is {status}")
        return table

    def _converted(self, record: object) -> Put | Delete | Mapping[object, object]:
        if self._encode is None:
            raise InvalidRecord(
                f"{self.name} takes a dict, Put or Delete, not {type(record).__name__}: pass encode= to make one of it"
            )
        kinds = (Put, Delete, Mapping)
        return cast(
            "Put | Delete | Mapping[object, object]", encoded(record, self._encode, kinds, "a dict, Put or Delete")
        )


def _speaks_of_all(cause: BaseException | None) -> bool:
    """Whether a refusal says that the request was not even begun: it was malformed, or too large."""
    return isinstance(cause, AwsError) and (
        cause.code in AWS_CODES or cause.code == "ParamValidationError" or cause.status == _TOO_LARGE
    )


def _by_table(entries: Sequence[Entry]) -> list[list[Entry]]:
    parts: dict[str, list[Entry]] = {}
    for entry in entries:
        parts.setdefault(cast("Write", entry.payload).table, []).append(entry)
    return list(parts.values())
