"""Apache Kafka: record batches straight to the partitions' leaders, idempotent or in transactions.

See docs/sinks/kafka.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from sinkwell.core import ConfigError, Policy, Sink

from ._extras import needs_extra

with needs_extra("kafka"):
    from pydantic import SecretStr, field_validator
    from pydantic_settings import NoDecode

    from ._json import json_text
    from ._kafka_client import CODECS
    from ._kafka_destination import KafkaDestination
    from ._kafka_errors import KafkaError
    from ._kafka_record import KafkaReceipt, KafkaRecord
    from ._kafka_security import SaslPassword, SaslToken, Security, parse_servers
    from ._kafka_send import Terms
    from ._settings import PolicySettings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from sinkwell.core import DeadLetterTarget, Observer

__all__ = ["KafkaError", "KafkaReceipt", "KafkaRecord", "KafkaSink", "SaslPassword", "SaslToken"]

# What fits into the request; brokers allow a quarter of an hour (transaction.max.timeout.ms).
_MAX_TRANSACTION_SECONDS = 2_147_483

Compression = Literal["gzip", "snappy", "lz4", "zstd"]


class KafkaSink(Sink[object, KafkaReceipt]):
    """Write records to topics, in order for each partition.

    ```python
    async with KafkaSink("localhost:9092", "orders") as sink:
        receipt = await sink.put(KafkaRecord(b"paid", key="order-7"))
    ```

    Args:
        bootstrap_servers: `host:port` of some brokers, separated by commas or as a list; they tell the others.
        topic: where records go that name no topic. It must be there: no topic is created.
        topics: other topics that records may name.
        acks: `"all"` in-sync replicas have a record before it counts as delivered, or only its leader (1).
        idempotent: the brokers recognise a batch that they have already, so that no retry writes it twice.
        compression: `"gzip"`, `"snappy"`, `"lz4"` or `"zstd"`; the last three are extras, as `sinkwell[kafka-zstd]`.
        transactional_id: makes each batch a transaction. One sink at a time may have it: a second one shuts out the
            first, for good.
        transaction_timeout: seconds after which the brokers abort a transaction that was left open.
        tls: an `ssl.SSLContext`, or `"off"`. Default: verified, except to brokers on this machine if
            all `bootstrap_servers` are there too.
        sasl: `SaslPassword(...)` or `SaslToken(...)`.
        encode: makes `bytes`, `str` or a `KafkaRecord` of any other object; default: JSON.
        policy: limits, timing, concurrency, retries.
        dead_letter: gets what ended without a receipt.
        observer: sees what happens.

    Raises:
        ConfigError: an argument can't be right.
    """

    def __init__(
        self,
        bootstrap_servers: str | Sequence[str],
        topic: str,
        *,
        topics: Sequence[str] = (),
        acks: Literal["all", 1] = "all",
        idempotent: bool = True,
        compression: Compression | None = None,
        transactional_id: str | None = None,
        transaction_timeout: float = 60.0,
        tls: ssl.SSLContext | Literal["off"] | None = None,
        sasl: SaslPassword | SaslToken | None = None,
        encode: Callable[[Any], bytes | str | KafkaRecord] | None = None,
        policy: Policy | None = None,
        dead_letter: DeadLetterTarget | None = None,
        observer: Observer | None = None,
    ) -> None:
        policy = policy or Policy()
        servers = parse_servers(bootstrap_servers)
        _check(
            policy,
            topic,
            topics,
            acks=acks,
            idempotent=idempotent,
            transactional_id=transactional_id,
            transaction_timeout=transaction_timeout,
        )
        destination = KafkaDestination(
            servers,
            tuple(dict.fromkeys((topic, *topics))),
            security=Security(servers, tls, sasl),
            terms=Terms(
                acks=-1 if acks == "all" else 1,
                codec_number=_codec_number(compression),
                transactional_id=transactional_id,
                timeout=policy.attempt_timeout,
            ),
            is_idempotent=idempotent,
            transaction_timeout=transaction_timeout,
            max_bytes=policy.max_bytes,
            encode=encode or json_text,
        )
        super().__init__(destination, policy, dead_letter=dead_letter, observer=observer)

    @classmethod
    def from_env(
        cls,
        env_file: str | Path | None = ".env",
        *,
        token: Callable[[], Awaitable[str] | str] | None = None,
        policy: Policy | None = None,
        dead_letter: DeadLetterTarget | None = None,
        observer: Observer | None = None,
    ) -> Self:
        """Make a sink from `SINKWELL_KAFKA_BOOTSTRAP_SERVERS`, `_TOPIC` and their companions: docs/sinks/kafka.md.

        Args:
            env_file: read after the environment.
            token: gives the tokens of OAUTHBEARER, which no variable can.
            policy: replaces all of the policy's variables.
            dead_letter: as for the constructor.
            observer: as for the constructor.

        Raises:
            ConfigError: a variable is missing, unknown, empty or wrong.
        """
        settings = KafkaSettings.load(env_file)
        return cls(
            **settings.options(token),
            policy=policy or settings.policy(),
            dead_letter=dead_letter,
            observer=observer,
        )


class KafkaSettings(PolicySettings, env_prefix="SINKWELL_KAFKA_"):
    """The variables of `KafkaSink.from_env`."""

    bootstrap_servers: str
    topic: str
    topics: Annotated[tuple[str, ...], NoDecode] = ()
    """Other topics, separated by commas."""
    acks: Literal["all", "1"] = "all"
    idempotent: bool = True
    compression: Compression | None = None
    transactional_id: str | None = None
    transaction_timeout: float = 60.0
    tls: Literal["off"] | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None

    @field_validator("topics", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value

    def options(self, token: Callable[[], Awaitable[str] | str] | None = None) -> dict[str, Any]:
        """Give the constructor's arguments, but for the policy."""
        places = ("bootstrap_servers", "topic", "topics")
        ways = ("idempotent", "compression", "transactional_id", "transaction_timeout", "tls")
        translated = {"acks": "all" if self.acks == "all" else 1, "sasl": self.sasl(token)}
        return translated | {name: getattr(self, name) for name in (*places, *ways)}

    def sasl(self, token: Callable[[], Awaitable[str] | str] | None = None) -> SaslPassword | SaslToken | None:
        """Give who we are.

        Raises:
            ConfigError: only a part of it is there, or both a name and a token are.
        """
        if token is not None and self.sasl_username is not None:
            raise ConfigError("SINKWELL_KAFKA_SASL_USERNAME and token= exclude each other")
        if token is not None:
            return SaslToken(token)
        if self.sasl_username is None and self.sasl_password is None:
            return None
        if self.sasl_username is None or self.sasl_password is None:
            raise ConfigError("SINKWELL_KAFKA_SASL_USERNAME and SINKWELL_KAFKA_SASL_PASSWORD need each other")
        return SaslPassword(self.sasl_username, self.sasl_password, self.sasl_mechanism)


def _codec_number(compression: str | None) -> int:
    if compression is None:
        return 0
    number, is_there = CODECS.get(compression, (0, bool))
    if not number:
        raise ConfigError(f"compression ({compression!r}) must be one of {', '.join(CODECS)}, or None")
    if not is_there():
        raise ConfigError(f'{compression} is an extra: run  pip install "sinkwell[kafka-{compression}]"')
    return number


def _check(
    policy: Policy,
    topic: object,
    topics: object,
    *,
    acks: object,
    idempotent: bool,
    transactional_id: str | None,
    transaction_timeout: float,
) -> None:
    """Refuse what contradicts itself."""
    if isinstance(topics, str) or not all(isinstance(name, str) and name for name in (topic, *list(topics or ()))):  # type: ignore[call-overload]
        raise ConfigError("topic must be a topic's name, and topics a list of others")
    if acks not in ("all", 1):
        raise ConfigError(f'acks ({acks!r}) must be "all" or 1: without any, nothing could be promised')
    if acks == 1 and (idempotent or transactional_id is not None):
        raise ConfigError("acks=1 needs idempotent=False: brokers recognise what all replicas have")
    if transactional_id is not None and not idempotent:
        raise ConfigError("transactional_id needs idempotent=True")
    if transactional_id == "":
        raise ConfigError("transactional_id is empty: give it a name, or leave it out")
    if transactional_id is not None and not policy.attempt_timeout < transaction_timeout <= _MAX_TRANSACTION_SECONDS:
        raise ConfigError(
            f"transaction_timeout ({transaction_timeout}) must be longer than attempt_timeout "
            f"({policy.attempt_timeout}) and at most {_MAX_TRANSACTION_SECONDS:,} s"
        )
    if policy.order != "key":
        raise ConfigError('order="none" is not for Kafka: each partition is a lane, and keeps its order; leave it out')
