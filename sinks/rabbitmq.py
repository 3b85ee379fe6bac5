"""RabbitMQ: persistent, mandatory, confirmed publishing over AMQP 0-9-1. See docs/sinks/rabbitmq.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from sinkwell.core import Adaptive, ConfigError, InvalidRecord, Limits, Policy, Sink

from ._extras import needs_extra

with needs_extra("rabbitmq"):
    from pydantic import SecretStr  # noqa: TC002 - pydantic reads the annotation

    from ._rabbitmq_attempt import RabbitMQReceipt
    from ._rabbitmq_connect import BrokerUrl
    from ._rabbitmq_destination import RabbitMQDestination
    from ._rabbitmq_message import Encoder, RabbitMQMessage
    from ._settings import PolicySettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from sinkwell.core import DeadLetterTarget, Observer

__all__ = ["RabbitMQMessage", "RabbitMQReceipt", "RabbitMQSink"]

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""RabbitMQ 4's default of `max_message_size` ("Limits", November 2026); no client can ask a broker for its own."""
_WINDOW = 500
_FRAME_BYTES = 131_072
# The broker allows 2,047 channels a connection by default, and those given up count until it has closed them.
_MOST_CONCURRENCY = 1_000


class RabbitMQSink(Sink[object, RabbitMQReceipt]):
    """Publish messages, each confirmed by the broker.

    ```python
    async with RabbitMQSink("amqps://writer@broker/shop", "orders", "order.placed") as sink:
        receipt = await sink.put({"order": 17})
    ```

    A record is bytes, text (as UTF-8), a `RabbitMQMessage`, or any other object, through `encode`.

    Args:
        url: `amqps://user:password@host:port/vhost`, verified; `amqp://` is not encrypted.
        exchange: must exist; `""` is the default exchange, where the routing key is the queue's name.
        routing_key: of messages that name none.
        encode: turns any other object into bytes, text or a `RabbitMQMessage`; default: JSON.
        persistent: messages outlive the broker in durable queues.
        mandatory: a message that no queue takes is rejected. `False`: the broker drops it and confirms.
        ordered: messages of one exchange and routing key keep their order.
        strict_order: with `ordered`: one message of a routing key in a batch, so that its order is exact even when a
            full queue refuses some. `False` lets a routing key fill a batch.
        max_message_bytes: the broker's `max_message_size`; a longer body is refused at `put`.
        tls: verifies the broker, instead of the system's certificates.
        policy: limits, timing, concurrency, retries.
        dead_letter: gets what ended without a receipt.
        observer: sees what happens.

    Raises:
        ConfigError: the URL or a name can't be one, or the policy is above the broker's limits.
    """

    def __init__(
        self,
        url: str | SecretStr,
        exchange: str = "",
        routing_key: str = "",
        *,
        encode: Callable[[object], bytes | str | RabbitMQMessage] | None = None,
        persistent: bool = True,
        mandatory: bool = True,
        ordered: bool = False,
        strict_order: bool = True,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        tls: ssl.SSLContext | None = None,
        policy: Policy | None = None,
        dead_letter: DeadLetterTarget | None = None,
        observer: Observer | None = None,
    ) -> None:
        # From here on no variable holds the password in clear: a traceback may show them all.
        secret = BrokerUrl(url)
        del url
        if problem := secret.problem():
            raise ConfigError(problem)
        policy = policy or Policy()
        concurrency = policy.concurrency
        most = concurrency.maximum if isinstance(concurrency, Adaptive) else concurrency
        if most > _MOST_CONCURRENCY:
            raise ConfigError(f"concurrency ({most:,}) is above {_MOST_CONCURRENCY:,}: each write has a channel")
        try:
            encoder = Encoder(
                exchange,
                routing_key,
                encode=encode,
                persistent=persistent,
                mandatory=mandatory,
                ordered=ordered,
                max_message_bytes=max_message_bytes,
            )
        except InvalidRecord as error:
            raise ConfigError(str(error)) from None
        limits = Limits(
            default_records=_WINDOW,
            default_bytes=max_message_bytes + _FRAME_BYTES,
            keys_repeat=not (ordered and strict_order),
        )
        destination = RabbitMQDestination(
            secret,
            exchange,
            encoder,
            tls=tls,
            limits=limits,
            timeout=policy.attempt_timeout,
            repeats=policy.on_unknown != "fail",
            longest_wait=policy.backoff.cap,
        )
        super().__init__(destination, policy, dead_letter=dead_letter, observer=observer)

    @classmethod
    def from_env(
        cls,
        env_file: str | Path | None = ".env",
        *,
        encode: Callable[[object], bytes | str | RabbitMQMessage] | None = None,
        policy: Policy | None = None,
        dead_letter: DeadLetterTarget | None = None,
        observer: Observer | None = None,
    ) -> Self:
        """Make a sink from `SINKWELL_RABBITMQ_URL`, `_EXCHANGE`, `_ROUTING_KEY`, `_LINGER`, and so on.

        A `policy` replaces all of the policy's variables.

        Raises:
            ConfigError: a variable is missing, unknown, empty or wrong.
        """
        settings = RabbitMQSettings.load(env_file)
        return cls(
            **settings.own(),
            encode=encode,
            policy=policy or settings.policy(),
            dead_letter=dead_letter,
            observer=observer,
        )


class RabbitMQSettings(PolicySettings, env_prefix="SINKWELL_RABBITMQ_"):
    """The variables of `RabbitMQSink.from_env`."""

    url: SecretStr
    exchange: str = ""
    routing_key: str = ""
    persistent: bool = True
    mandatory: bool = True
    ordered: bool = False
    strict_order: bool = True
    max_message_bytes: int = MAX_MESSAGE_BYTES
