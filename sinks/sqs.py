"""Amazon SQS: `SendMessageBatch`, standard and FIFO queues.

One sink serves one queue, or many of one region: `SqsMessage.queue_url` names another. See docs/sinks/sqs.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from sinkwell.core import Policy, Sink

from ._extras import needs_extra

with needs_extra("sqs"):
    from ._aws import AwsSession, AwsSettings, Transport
    from ._aws_settings import AwsVariables
    from ._aws_stats import AwsStats, TargetStats, extended
    from ._aws_verdicts import AwsError
    from ._json import json_text
    from ._sqs_destination import SqsDestination, SqsReceipt

from ._aws_message import AttributeValue
from ._sqs_message import SqsAttribute, SqsMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sinkwell.core import DeadLetterTarget, Observer

__all__ = [
    "AttributeValue",
    "AwsError",
    "AwsSession",
    "SqsAttribute",
    "SqsMessage",
    "SqsReceipt",
    "SqsSink",
    "SqsStats",
    "TargetStats",
    "Transport",
]

_REGION = re.compile(r"https://(?:sqs\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.(?:queue\.)?amazonaws\.com(?:\.cn)?/")


@dataclass(slots=True, frozen=True, kw_only=True)
class SqsStats(AwsStats):
    """A snapshot of an SQS sink.

    Attributes:
        queues: what each one was sent, and what became of it, by its URL; those that were written to.
    """

    queues: Mapping[str, TargetStats] = field(default_factory=dict[str, TargetStats])


class SqsSink(Sink[object, SqsReceipt]):
    """Send messages to SQS in batches of up to ten.

    ```python
    async with SqsSink("https://sqs.eu-west-1.amazonaws.com/123456789012/orders") as sink:
        receipt = await sink.put("hello")
    ```

    Args:
        queue_url: the queue; a message may name another of the same region.

        session: an `aioboto3.Session`, or a session of aiobotocore, for credentials and region.

        endpoint_url: another endpoint than AWS's own: https, or http on this machine.

        region_name: default: the one in the queue's URL, then the session's.

        allow_http: take an http endpoint on another machine, as in a compose network.

        encode: turns any object but `str` and `SqsMessage` into one of these; default: JSON.

        strict_order: FIFO queues: one message of a group in a batch, so that a group's order is exact even when SQS
            takes only a part of a batch. `False` lets a group fill a batch; a message that SQS refuses for the moment
            then arrives after those that followed it.

        fair_queues: take a `group_id` for standard queues, as SQS's fair queues do: it names the tenant, so that one
            with a backlog doesn't hold back the others. SQS bills these messages higher.

        transport: how batches are sent. `"auto"`: signed and sent straight from their payloads, or through the client
            where the session asks for what only the client does. `"client"`: always through the client.
            `"direct"`: never, and a `ConfigError` says what speaks against it.

        policy: limits, timing, concurrency, retries. For FIFO queues `delivery_timeout` must stay below 290 seconds.

        dead_letter: gets what ended without a receipt.

        observer: sees what happens.

    Raises:
        ConfigError: the policy is above what SQS allows, or a retry would outlive SQS's deduplication.
    """

    def __init__(
        self,
        queue_url: str,
        *,
        session: AwsSession | None = None,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        allow_http: bool = False,
        encode: Callable[[object], str | SqsMessage] | None = None,
        strict_order: bool = True,
        fair_queues: bool = False,
        transport: Transport = "auto",
        policy: Policy | None = None,
        dead_letter: DeadLetterTarget | None = None,
        observer: Observer | None = None,
    ) -> None:
        policy = policy or Policy()
        in_url = _REGION.match(str(queue_url))
        settings = AwsSettings(
            session=session,
            endpoint_url=endpoint_url,
            region_name=region_name or (in_url[1] if in_url and endpoint_url is None else None),
            allow_http=allow_http,
            transport=transport,
        )
        destination = SqsDestination(
            queue_url,
            settings=settings,
            policy=policy,
            encode=encode or json_text,
            strict_order=strict_order,
            fair_queues=fair_queues,
        )
        super().__init__(destination, policy, dead_letter=dead_letter, observer=observer)
        self._way = destination

    @property
    def transport(self) -> str:
        """How batches are sent: `"direct"`, or `"client"` with the reason. `"unopened"` before the sink is open."""
        return self._way.transport

    def stats(self) -> SqsStats:
        """Return a snapshot of what is pending and what has happened so far; after close, the last one."""
        queues = self._way.targets.stats()
        return extended(super().stats(), SqsStats, transport=self.transport, queues=queues)

    @classmethod
    def from_env(cls, env_file: str | Path | None = ".env") -> Self:
        """Make a sink from `SINKWELL_SQS_QUEUE_URL` and its companions: see docs/sinks/sqs.md.

        Raises:
            ConfigError: a variable is missing, unknown or wrong.
        """
        settings = SqsSettings.load(env_file)
        return cls(
            settings.queue_url,
            strict_order=settings.strict_order,
            fair_queues=settings.fair_queues,
            **settings.options(),
        )


class SqsSettings(AwsVariables, env_prefix="SINKWELL_SQS_"):
    """The variables of `SqsSink.from_env`, beside those of every AWS sink."""

    queue_url: str
    strict_order: bool = True
    fair_queues: bool = False
