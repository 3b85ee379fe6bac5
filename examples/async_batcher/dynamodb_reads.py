"""DynamoDB reads: a request handler asks for one item; a batched function asks BatchGetItem for up to a hundred.

Equal keys that wait together are read once (BatchGetItem refuses a key twice), what DynamoDB leaves unprocessed is
asked for again, and each `Reader` has its own projection and consistency: a request has one of each for a table.

Run it: a thousand handlers read three hundred items, some of them large, from DynamoDB Local.
"""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import aioboto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from sinkwell.core import batched

SESSION = aioboto3.Session("testing", "testing", region_name="us-east-1")  # a real service has real credentials
TABLE = "examples-users"
SMALL, LARGE = 240, 60

Item = dict[str, Any]
to_dynamodb, from_dynamodb = TypeSerializer().serialize, TypeDeserializer().deserialize


class Unprocessed(Exception):
    """DynamoDB was asked several times, and did not get to this key."""


class Reader:
    """Reads items of one table by their keys, always the same attributes of them.

    Args:
        client: of aioboto3 or aiobotocore, with its own retries for requests that fail as a whole.
        table: its name.
        keys: its key attributes.
        attributes: what is read of an item; everything if there are none.
        consistent: whether a read sees every write that came before it; costs twice as much.
    """

    def __init__(
        self, client: Any, table: str, keys: tuple[str, ...], *attributes: str, consistent: bool = False
    ) -> None:
        self._client = client
        self._table = table
        self._keys = keys
        self._options: dict[str, Any] = {"ConsistentRead": consistent}
        if attributes:
            # By number: some attributes' names are reserved words. With its key, or an answer could not be paired.
            names = {f"#{number}": name for number, name in enumerate({*attributes, *keys})}
            self._options |= {"ProjectionExpression": ", ".join(names), "ExpressionAttributeNames": names}
        self.requests = 0

    def _identity(self, item: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(item[name] for name in self._keys)

    @batched(max_records=100, concurrency=8, key=lambda key: frozenset(key.items()), timeout=30.0)
    async def get(self, keys: list[Mapping[str, Any]]) -> list[Item | Unprocessed | None]:
        """Read one item; `None` if it is not there."""
        found: dict[tuple[Any, ...], Item | Unprocessed | None] = {self._identity(key): None for key in keys}
        wanted = [{name: to_dynamodb(value) for name, value in key.items()} for key in keys]
        for attempt in range(8):
            self.requests += 1
            answer = await self._client.batch_get_item(RequestItems={self._table: {"Keys": wanted, **self._options}})
            for raw in answer["Responses"].get(self._table, []):
                item = {name: from_dynamodb(value) for name, value in raw.items()}
                found[self._identity(item)] = item
            wanted = answer["UnprocessedKeys"].get(self._table, {}).get("Keys", [])
            if not wanted:
                break
            if not answer["Responses"].get(self._table):  # throttled; otherwise the answer was only too large
                await asyncio.sleep(random.uniform(0.0, 0.05 * 2**attempt))
        for raw in wanted:
            key = {name: from_dynamodb(value) for name, value in raw.items()}
            found[self._identity(key)] = Unprocessed(f"{self._table}: {self._identity(key)}")
        return [found[self._identity(key)] for key in keys]


async def fill(client: Any) -> None:
    """Write the users: the last ones with a photo of 300 KB, so that a hundred don't fit into an answer's 16 MB."""
    await client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "user", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "user", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )

    def put(number: int) -> Any:
        item: Item = {"user": f"u{number}", "name": f"User {number}", "photo": b"\0" * (300_000 * (number >= SMALL))}
        return client.put_item(TableName=TABLE, Item={name: to_dynamodb(value) for name, value in item.items()})

    for start in range(0, SMALL + LARGE, 20):
        await asyncio.gather(*(put(number) for number in range(start, start + 20)))


async def main(url: str) -> None:
    """Serve a thousand requests for names, then some for whole users."""
    async with SESSION.client("dynamodb", endpoint_url=url) as client:
        await fill(client)
        names = Reader(client, TABLE, ("user",), "name")
        wanted = [f"u{number % 320}" for number in range(1_000)]  # u300 to u319 don't exist
        users = await asyncio.gather(*(names.get({"user": user}) for user in wanted))
        for user, found in zip(wanted, users, strict=True):
            exists = int(user[1:]) < SMALL + LARGE
            assert found == ({"user": user, "name": f"User {user[1:]}"} if exists else None)

        whole = Reader(client, TABLE, ("user",), consistent=True)
        large = await asyncio.gather(*(whole.get({"user": f"u{SMALL + number}"}) for number in range(LARGE)))
        assert all(user is not None and len(user["photo"].value) == 300_000 for user in large)
    print(f"{len(users)} names, {names.requests} requests; {len(large)} large users, {whole.requests} requests")


def run() -> None:
    """Start a server of our own, or take the one that SINKWELL_TEST_DYNAMODB_URL names."""
    from tests.servers import DynamoDBLocalServer

    with DynamoDBLocalServer.start() as server:
        asyncio.run(main(server.url))


if __name__ == "__main__":
    run()
