"""Amazon DynamoDB: puts and deletes through `BatchWriteItem`.

One sink serves one table, or several of one region in the same requests. See docs/sinks/dynamodb.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Self

from sinkwell.core import Policy, Sink

from ._extras import needs_extra

with needs_extra("dynamodb"):
    from pydantic import BeforeValidator
    from pydantic_settings import NoDecode

    from ._aws import AwsSession, AwsSettings, Transport
    from ._aws_settings import AwsVariables
    from ._aws_stats import AwsStats, extended
    from ._aws_verdicts import AwsError
    from ._dynamodb_answer import DynamoDBReceipt
    from ._dynamodb_destination import DynamoDBDestination

from ._dynamodb_item import Floats
from ._dynamodb_record import Delete, Put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from typing import Any

    from sinkwell.core import DeadLetterTarget, Observer

__all__ = [
    "AwsError",
    "AwsSession",
    "Delete",
    "DynamoDBReceipt",
    "DynamoDBSink",
    "DynamoDBStats",
    "Floats",
    "Put",
    "Transport",
]


@dataclass(slots=True, frozen=True, kw_only=True)
class DynamoDBStats(AwsStats):
    """A snapshot of a DynamoDB sink.

    Attributes:
        consumed_capacity: with `consumed_capacity=True`: write units that DynamoDB has told of, by table, those of its
            indexes included. What an unanswered request consumed is not known.
    """

    consumed_capacity: Mapping[str, float] = field(default_factory=dict[str, float])


class DynamoDBSink(Sink[object, DynamoDBReceipt]):
    """Write items to DynamoDB, and delete them, in batches of up to 25.

    ```python
    async with DynamoDBSink("orders") as sink:
        await sink.put({"customer": "c-17", "number": 4, "total": Decimal("9.99")})
        await sink.put(Delete({"customer": "c-17", "number": 3}))
    ```

    Writes of one item keep their order, whatever fails and is sent again; an older one never overwrites a newer one.

    Args:
        table_name: the table, by name or ARN. Its key is read when the sink opens.

        table_names: more tables, for records that name one: `Put(item, table_name=...)`.

        session: an `aioboto3.Session`, or a session of aiobotocore, for credentials and region.

        endpoint_url: another endpoint than AWS's own: https, or http on this machine.

        region_name: default: the session's.

        allow_http: take an http endpoint on another machine, as in a compose network.

        encode: turns any object but `dict`, `Put` and `Delete` into one of these. Without it, others are refused.

        floats: what becomes of a `float`, which DynamoDB has no type for. `"refuse"` refuses the record; `"decimal"`
            writes the shortest decimal that reads back as the same float.

        coalesce: let a newer write of a key take the place of an older one that has not left yet, so that only the
            newest goes; the older one's receipt says `superseded`. One that was sent before is never left out.

        consumed_capacity: ask for the write units that each request consumed, and sum them up by table in `stats()`.

        transport: how batches are sent. `"auto"`: signed and sent straight from their payloads, or through the client
            where the session asks for what only the client does. `"client"`: always through the client.
            `"direct"`: never, and a `ConfigError` says what speaks against it.

        policy: limits, timing, concurrency, retries. `Rate(units=...)` is in write units a second: one for each KiB
            that an item begins, one for a delete.

        dead_letter: gets what ended without a receipt.

        observer: sees what happens.

    Raises:
        ConfigError: a table's name can't be one, or the policy is above what DynamoDB allows.
    """

    def __init__(
        self,
        table_name: str,
        *,
        table_names: Iterable[str] = (),
        session: AwsSession | None = None,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        allow_http: bool = False,
        encode: Callable[[object], Mapping[str, Any] | Put | Delete] | None = None,
        floats: Floats = "refuse",
        coalesce: bool = False,
        consumed_capacity: bool = False,
        transport: Transport = "auto",
        policy: Policy | None = None,
        dead_letter: DeadLetterTarget | None = None,
        observer: Observer | None = None,
    ) -> None:
        policy = policy or Policy()
        settings = AwsSettings(
            session=session,
            endpoint_url=endpoint_url,
            region_name=region_name,
            allow_http=allow_http,
            transport=transport,
        )
        destination = DynamoDBDestination(
            table_name,
            table_names=table_names,
            settings=settings,
            policy=policy,
            encode=encode,
            floats=floats,
            coalesce=coalesce,
            counts_capacity=consumed_capacity,
        )
        self._consumed = destination.consumed
        super().__init__(destination, policy, dead_letter=dead_letter, observer=observer)
        self._keys = destination.key_types
        self._way = destination

    @property
    def transport(self) -> str:
        """How batches are sent: `"direct"`, or `"client"` with the reason. `"unopened"` before the sink is open."""
        return self._way.transport

    @property
    def key(self) -> dict[str, str]:
        """The table's key attributes, the partition key first, and their types: `"S"`, `"N"` or `"B"`.

        Raises:
            SinkClosed: the sink was not opened yet.
        """
        return self._keys()

    def stats(self) -> DynamoDBStats:
        """Return a snapshot of what is pending and what has happened so far; after close, the last one."""
        consumed = dict(self._consumed)
        return extended(super().stats(), DynamoDBStats, transport=self.transport, consumed_capacity=consumed)

    @classmethod
    def from_env(cls, env_file: str | Path | None = ".env") -> Self:
        """Make a sink from `SINKWELL_DYNAMODB_TABLE_NAME` and its companions: see docs/sinks/dynamodb.md.

        Raises:
            ConfigError: a variable is missing, unknown or wrong.
        """
        settings = DynamoDBSettings.load(env_file)
        return cls(
            settings.table_name,
            table_names=settings.table_names,
            floats=settings.floats,
            coalesce=settings.coalesce,
            consumed_capacity=settings.consumed_capacity,
            **settings.options(),
        )


def _names_in(text: object) -> object:
    return tuple(name.strip() for name in text.split(",")) if isinstance(text, str) else text


class DynamoDBSettings(AwsVariables, env_prefix="SINKWELL_DYNAMODB_"):
    """The variables of `DynamoDBSink.from_env`, beside those of every AWS sink."""

    table_name: str
    table_names: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_names_in)] = ()
    floats: Floats = "refuse"
    coalesce: bool = False
    consumed_capacity: bool = False
