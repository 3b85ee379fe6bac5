"""Whose requests a sink sends, by what clock, and what it means when AWS does not believe it. For both ways of sending.

Before: an open client. After: credentials that are fresh, dates that AWS takes, and verdicts.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from aiobotocore.credentials import AioCredentials
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from sinkwell.core import Rejected, Retry, Unknown

from ._aws_clock import Clock
from ._aws_verdicts import (
    AwsError,
    NoCredentialsYetError,
    NotConnectedError,
    classify,
    has_expired,
    lacks_credentials,
    meaning_of,
    not_had,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from ._aws_verdicts import Meaning

T = TypeVar("T")

# Of these exact types; a subclass, also of somebody's own make, may read new ones.
_STATIC = Credentials, AioCredentials

# A mark is added when aiohttp begins to write the request of the current task.
_written: ContextVar[list[bool]] = ContextVar("_written")


class Identity:
    """A client's credentials and its clock.

    Args:
        client: open.
    """

    def __init__(self, client: Any) -> None:
        self.clock = Clock()
        self.clock.date_signatures_of(client)
        self._url = getattr(getattr(client, "meta", None), "endpoint_url", "")
        connections = getattr(getattr(client, "_endpoint", None), "http_session", None)
        # Whether it tells when it writes: where nobody does, that it has not is no certainty.
        self._tells = getattr(connections, "is_straight", False)
        self._credentials: Any = getattr(getattr(client, "_request_signer", None), "_credentials", None)
        # Those that AWS called expired before botocore did: they are renewed once for it.
        self._expired: object = None

    def __repr__(self) -> str:
        """Return nothing of it."""
        return "<Identity>"

    async def ready(self) -> None:
        """Have credentials at hand, if the session has any.

        Raises:
            NoCredentialsYetError: they can't be had.
        """
        await fresh(self._credentials)

    async def send(self, api: Callable[[], Awaitable[T]]) -> T:
        """Send a batch through the client.

        Cancelled before the request is written: it is an error that says so, for then it is certain that nothing went.

        Raises:
            NoCredentialsYetError: the credentials can't be had, or not in time: nothing was sent.
            NotConnectedError: there was no connection in time: nothing was sent.
        """
        await fresh_in_time(self._credentials)
        written: list[bool] = []
        _written.set(written)
        try:
            return await api()
        except asyncio.CancelledError:
            if written or not self._tells:
                raise
            raise NotConnectedError(endpoint_url=self._url, error="given up before there was a connection") from None

    async def call(self, api: Callable[[], Awaitable[T]]) -> T:
        """Call the client once; twice if the first was refused for the clock's sake alone.

        Raises:
            NoCredentialsYetError: the credentials can't be had: nothing was sent.
        """
        await fresh(self._credentials)
        try:
            return await api()
        except ClientError as error:
            if not self.clock.learn(error):
                raise
        return await api()

    def judge(self, error: Exception, known: Mapping[str, Meaning], what: str) -> Retry | Rejected | Unknown:
        """Classify a failed call. The next one is dated and signed better, if that is what was wrong.

        Raises:
            BatchRefused: as `classify`.
        """
        if not isinstance(error, ClientError):
            return classify(error, known, what)
        self.clock.learn(error)
        if has_expired(error) and not self._renews():
            # Static ones: nobody reads them anew, so every attempt until the deadline would end like this one.
            _, code, status = meaning_of(error, known)
            said = f"{what}: the credentials have expired ({code}) and the session can't renew them: pass one that does"
            return Rejected(AwsError(said, code=code, status=status))
        return classify(error, known, what)

    def _renews(self) -> bool:
        """Whether the credentials may get renewed; botocore's own, which would be too late, are made to be, once."""
        credentials = self._credentials
        if credentials is None or type(credentials) in _STATIC:
            return False
        used = getattr(credentials, "_frozen_credentials", None)
        if used is not self._expired and isinstance(getattr(credentials, "_expiry_time", None), datetime):
            self._expired = used
            credentials._expiry_time = datetime.now(UTC)  # noqa: SLF001 - botocore renews by its own idea of it alone
        return True


async def note_writing(*_: object) -> None:
    """Called by aiohttp before the first byte of a request."""
    written = _written.get(None)
    if written is not None:
        written.append(True)


async def fresh(credentials: Any) -> Any:
    """Return a session's credentials, which it renews when they grow old. `None` if it has none.

    Raises:
        NoCredentialsYetError: they can't be had: nothing was sent.
    """
    if credentials is None:
        return None
    try:
        return await credentials.get_frozen_credentials()
    except Exception as error:
        if lacks_credentials(error):
            raise
        raise not_had(error) from None


async def fresh_in_time(credentials: Any) -> Any:
    """Return them for a batch, whose attempt is cancelled when its time is up: a verdict then tells that nothing went.

    Raises:
        NoCredentialsYetError: they can't be had, or not in time: nothing was sent.
    """
    try:
        return await fresh(credentials)
    except asyncio.CancelledError:
        raise NoCredentialsYetError("the session's provider did not answer in time") from None
