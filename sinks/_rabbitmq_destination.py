"""Batches over one connection, a channel for each write. Before: the core's batch. After: `Attempt` says what goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sinkwell.core import ConfigError

from ._rabbitmq_attempt import MISSING, Attempt, Exchanges, RabbitMQReceipt
from ._rabbitmq_channel import ChannelError, ConnectionLost
from ._rabbitmq_connect import advice, is_setup
from ._rabbitmq_link import Blocked, CannotConnect, Link

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

    from sinkwell.core import Batch, Encoded, Limits, Verdict

    from ._rabbitmq_channel import ConfirmChannel
    from ._rabbitmq_connect import BrokerUrl
    from ._rabbitmq_message import Encoder


class RabbitMQDestination:
    """Publishes batches over one connection, a channel for each write.

    Args:
        url: where the broker is.
        exchange: checked at the start, unless it is the default one.
        encoder: makes frames of records.
        tls: verifies the broker, instead of the system's certificates.
        limits: what suits the broker, and whether a batch may hold a key twice.
        timeout: seconds that connecting may take.
        repeats: whether what may be there already may go again, when a channel was closed over a batch.
        longest_wait: seconds after which a broker that takes nothing is looked at again, at the latest.
    """

    def __init__(
        self,
        url: BrokerUrl,
        exchange: str,
        encoder: Encoder,
        *,
        tls: ssl.SSLContext | None,
        limits: Limits,
        timeout: float,
        repeats: bool,
        longest_wait: float,
    ) -> None:
        self._exchange = exchange
        self._encoder = encoder
        self._timeout = timeout
        self._repeats = repeats
        self._longest_wait = longest_wait
        self.limits = limits
        self.name = f"rabbitmq:{exchange or '(default)'}"
        self.link = Link(url, tls, self.name)
        self._exchanges = Exchanges()

    def __repr__(self) -> str:
        """Return its name: the URI may hold a password."""
        return f"<RabbitMQDestination {self.name}>"

    async def open(self) -> None:
        """Connect, and look for the exchange.

        Raises:
            ConfigError: the broker, the virtual host or the exchange is not there, or not for us.
        """
        self._encoder.renew_ids()
        problem = ""
        cause: BaseException
        try:
            async with asyncio.timeout(self._timeout):
                channel = await self.link.channel()
                if self._exchange:
                    await channel.check_exchange(self._exchange)
                self.link.give_back(channel)
        except ChannelError as error:
            is_missing = error.code == MISSING
            problem, cause = f"{error}{': declare it first, the sink does not' if is_missing else ''}", error
        except (Blocked, CannotConnect, ConnectionLost) as error:
            cause = error.__cause__ or error
            problem = f"{error}{advice(cause)}"
        except TimeoutError as error:
            problem, cause = f"no answer in {self._timeout} s: is it a RabbitMQ that listens there?", error
        else:
            self._encoder.frame_max = self.link.frame_max
            return
        cause.__traceback__ = None
        raise ConfigError(f"{self.name}: {problem}") from cause

    def encode(self, record: object, /) -> Encoded:
        """Check a record and make its frames.

        Raises:
            InvalidRecord: RabbitMQ would not take it as it is.
        """
        return self._encoder.encode(record)

    async def write(self, batch: Batch, /) -> Sequence[Verdict[RabbitMQReceipt]]:
        """Publish one batch; cancelled, what was not handed to the socket is told from what was."""
        attempt = Attempt(batch, self._exchanges, repeats=self._repeats)
        try:
            while attempt.todo:
                await self._publish(attempt, await self.link.channel())
        except asyncio.CancelledError:
            attempt.end(TimeoutError("the broker gave no answer in time"))
        except Blocked as error:
            attempt.held_back(error, min(error.seconds, self._longest_wait))
        except CannotConnect as error:
            reason = error.__cause__ or error
            attempt.end(reason, is_setup=is_setup(reason))
        except (ConnectionLost, ChannelError) as error:
            attempt.end(error)
        return attempt.verdicts()

    async def _publish(self, attempt: Attempt, channel: ConfirmChannel) -> None:
        """Publish windows until all is answered or the channel is closed over one."""
        while attempt.todo and channel.error is None:
            window = attempt.next_window()
            sent = channel.begin(attempt.messages(window))
            try:
                await sent.done
            except asyncio.CancelledError:
                attempt.landed(window, sent.answers)
                self.link.give_up(channel)
                self.link.cut_if_silent(sent.sent_at)
                raise
            attempt.landed(window, sent.answers)
            if isinstance(sent.error, ChannelError):
                attempt.channel_closed(window, sent.error)
            elif sent.error is not None:
                self.link.give_up(channel)
                raise sent.error
        self.link.give_back(channel)

    async def aclose(self) -> None:
        """Close the connection."""
        await self.link.aclose()
