"""What the destinations of DynamoDB, SQS and SNS have in common: one client, a way to send, and the end of both.

Before: a destination's `open`. After: its calls of the client, and its `aclose`.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from ._aws import AwsSettings, open_client
from ._aws_transport import Way

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinkwell.core import Policy

A = TypeVar("A")


class AwsDestination(Generic[A]):
    """Holds a client that offers the calls `A`, from `_connect` to `aclose`."""

    def __init__(self, name: str, settings: AwsSettings, policy: Policy) -> None:
        self.name = name
        self._settings = settings
        self._policy = policy
        self._stack = AsyncExitStack()
        self._way = Way(name, settings.transport, policy)
        self._api: A | None = None

    def __repr__(self) -> str:
        """Return its name and its way: settings may hold credentials."""
        return f"<{type(self).__name__} {self.name} transport={self.transport}>"

    @property
    def transport(self) -> str:
        """How batches are sent: "direct", or "client" and why."""
        return str(self._way)

    async def _connect(self, action: str, parameters: Mapping[str, object]) -> None:
        """Make the client of the service that the name begins with, and find the way for this action."""
        client = await open_client(self._stack, self.name.partition(":")[0], self._settings, self._policy)
        self._api = cast("A", client)
        await self._way.find(client, action, parameters)

    async def aclose(self) -> None:
        """Close the client and all connections."""
        self._api = None
        await self._way.aclose()
        await self._stack.aclose()
