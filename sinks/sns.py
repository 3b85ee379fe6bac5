"""Amazon SNS: `PublishBatch`, standard and FIFO topics.

One sink serves one topic, or many of one region: `SnsMessage.topic_arn` names another. See docs/sinks/sns.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from sinkwell.core import Policy, Sink

from ._extras import needs_extra

with needs_extra("sns"):
    from ._aws import AwsSession, AwsSettings, Transport
    from ._aws_settings import AwsVariables
    from ._aws_stats import AwsStats, TargetStats, extended
    from ._aws_verdicts import AwsError
    from ._json import json_text
    from ._sns_destination import SnsDestination, SnsReceipt

from ._aws_message import AttributeValue
from ._sns_message import SnsAttribute, SnsMessage, is_topic_arn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sinkwell.core import DeadLetterTarget, Observer

__all__ = [
    "AttributeValue",
    "AwsError",
    "AwsSession",
    "SnsAttribute",
    "SnsMessage",
    "SnsReceipt",
    "SnsSink",
    "SnsStats",
    "TargetStats",
    "Transport",
]


@dataclass(slots=True, frozen=True, kw_only=True)
class SnsStats(AwsStats):
    """A snapshot of an SNS sink.

    Attributes:
        topics: what each one was sent, and what became of it, by its ARN; those that were written to.
    """

    topics: Mapping[str, TargetStats] = field(default_factory=dict[str, TargetStats])


class SnsSink(Sink[object, SnsReceipt]):
    """Publish messages to SNS in batches of up to ten.

    ```python
    async with SnsSink("arn:aws:sns:eu-west-1:123456789012:events") as sink:
        receipt = await sink.put("hello")
    ```

    Args:
        topic_arn: the topic; a message may name another of the same region.

        session: an `aioboto3.Session`, or a session of aiobotocore, for credentials.

        endpoint_url: another endpoint than AWS's own: https, or http on this machine.

        region_name: default: the one in the topic's ARN.

        allow_http: take an http endpoint on another machine, as in a compose network.

        encode: turns any object but `str` and `SnsMessage` into one of these; default: JSON.

        strict_order: FIFO topics: one message of a group in a batch, so that a group's order is exact even if SNS takes
            only a part of a batch. `False` lets a group fill a batch; a message that SNS refuses for the moment then
            arrives after those that followed it.

        transport: how batches are sent. `"auto"`: signed and sent straight from their payloads, or through the client
            where the session asks for what only the client does. `"client"`: always through the client.
            `"direct"`: never, and a `ConfigError` says what speaks against it.

        policy: limits, timing, concurrency, retries. For FIFO topics `delivery_timeout` must stay below 290 seconds.

        dead_letter: gets what ended without a receipt.

        observer: sees what happens.

    Raises:
        ConfigError: the policy is above what SNS allows, or a retry would outlive SNS's deduplication.
    """

    def __init__(
        self,
        topic_arn: str,
        *,
        session: AwsSession | None = None,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        allow_http: bool = False,
        encode: Callable[[object], str | SnsMessage] | None = None,
        strict_order: bool = True,
        transport: Transport = "auto",
        policy: Policy | None = None,
        dead_letter: DeadLetterTarget | None = None,
        observer: Observer | None = None,
    ) -> None:
        policy = policy or Policy()
        in_arn = topic_arn.split(":")[3] if is_topic_arn(topic_arn) else None
        settings = AwsSettings(
            session=session,
            endpoint_url=endpoint_url,
            # SNS takes a message only in the region of its topic.
            region_name=region_name or in_arn,
            allow_http=allow_http,
            transport=transport,
        )
        destination = SnsDestination(
            topic_arn, settings=settings, policy=policy, encode=encode or json_text, strict_order=strict_order
        )
        super().__init__(destination, policy, dead_letter=dead_letter, observer=observer)
        self._way = destination

    @property
    def transport(self) -> str:
        """How batches are sent: `"direct"`, or `"client"` with the reason. `"unopened"` before the sink is open."""
        return self._way.transport

    def stats(self) -> SnsStats:
        """Return a snapshot of what is pending and what has happened so far; after close, the last one."""
        topics = self._way.targets.stats()
        return extended(super().stats(), SnsStats, transport=self.transport, topics=topics)

    @classmethod
    def from_env(cls, env_file: str | Path | None = ".env") -> Self:
        """Make a sink from `SINKWELL_SNS_TOPIC_ARN` and its companions: see docs/sinks/sns.md.

        Raises:
            ConfigError: a variable is missing, unknown or wrong.
        """
        settings = SnsSettings.load(env_file)
        return cls(
            settings.topic_arn,
            strict_order=settings.strict_order,
            **settings.options(),
        )


class SnsSettings(AwsVariables, env_prefix="SINKWELL_SNS_"):
    """The variables of `SnsSink.from_env`, beside those of every AWS sink."""

    topic_arn: str
    strict_order: bool = True
