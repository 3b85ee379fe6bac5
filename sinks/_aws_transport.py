"""Which way a sink's batches go: direct, or through the client.

Before: a sink's settings and its open client. After: its writes, which ask for `Way.direct` each time.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError

from sinkwell.core import ConfigError

from ._aws import setup_problem
from ._aws_direct import Direct
from ._aws_fit import NotDirectError
from ._aws_identity import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinkwell.core import Policy

    from ._aws import Transport

__all__ = ["NotDirectError", "Way"]

logger = logging.getLogger("sinkwell")


class Way:
    """The way that is taken, and why it is not the direct one.

    Args:
        name: the sink's.
        wanted: by the user.
        policy: the sink's.

    Raises:
        ConfigError: there is no such way.
    """

    def __init__(self, name: str, wanted: Transport, policy: Policy) -> None:
        if wanted not in ("auto", "direct", "client"):
            raise ConfigError(f'transport ({wanted!r}) must be "auto", "direct" or "client"')
        self._name = name
        self._wanted: Transport = wanted
        self._policy = policy
        self._told = "unopened"
        # None: through the client.
        self.direct: Direct | None = None
        # A way that was left: requests may still be on it.
        self._left: Direct | None = None
        # Of the client, once it is open.
        self.identity = Identity(None)

    def __str__(self) -> str:
        """Return what `sink.transport` says."""
        return self._told

    async def find(self, client: object, operation: str, parameters: Mapping[str, object]) -> None:
        """Choose, once the client is open.

        Raises:
            ConfigError: the direct way was asked for and is closed, or the session can't give credentials.
        """
        self.identity = Identity(client)
        try:
            await self.identity.ready()  # the endpoint may have the account's number in its name
        except BotoCoreError as error:
            problem = setup_problem(error, {}, self._name)
        else:
            problem = None
        if problem is not None:
            raise problem
        if self._wanted == "client":
            self._told = "client (asked for)"
            return
        try:
            self.direct = await Direct.of(client, operation, parameters, self._policy, self.identity.clock)
        except NotDirectError as error:
            if self._wanted == "direct":
                raise ConfigError(f'{self._name}: transport="direct" is not possible: {error}') from None
            self.leave(error)
        else:
            self._told = "direct"
            logger.debug("%s sends its batches directly", self._name)

    def leave(self, reason: NotDirectError) -> None:
        """Take the client from now on. Requests that are on the direct way get their answers."""
        if self._left is not None:
            return  # another request has found the same
        self._told = f"client ({reason})"
        logger.info("%s sends its batches through the AWS client: %s", self._name, reason)
        self._left, self.direct = self.direct, None

    async def aclose(self) -> None:
        """Close the direct way's connections."""
        ways, self.direct, self._left = (self.direct, self._left), None, None
        for direct in ways:
            if direct is not None:
                await direct.aclose()
