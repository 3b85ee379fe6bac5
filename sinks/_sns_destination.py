"""How a `Sink` speaks SNS. Before: the core's batch. After: `PublishBatch`, and one verdict for each message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypedDict, cast

from botocore.exceptions import ClientError

from sinkwell.core import (
    Batch,
    ConfigError,
    Encoded,
    Entry,
    InvalidRecord,
    Limits,
    Policy,
    Receipt,
    Rejected,
    Retry,
    Verdict,
)

from ._aws import AwsSettings, setup_problem
from ._aws_batch import converted, entry_verdict, read_first, retries_too_long
from ._aws_destination import AwsDestination
from ._aws_stats import Targets
from ._aws_transport import NotDirectError
from ._aws_verdicts import AWS_CODES, AwsError, Meaning, codes, entries_named, meaning_of
from ._sns_form import Payload, request_body
from ._sns_message import (
    DEFAULT_BYTES,
    MOST_BYTES,
    SnsMessage,
    Topic,
    encode_message,
    encode_text,
    is_topic_arn,
    too_large,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_RECORDS = 10
"""PublishBatch (SNS API reference, November 2026): ten entries, together no more bytes than one may have."""

_TOO_LONG = "BatchRequestTooLong"

# SNS's own codes, beside those of all AWS services. Sources: the service's model (botocore 1.44.5), the API reference,
# and answers recorded from AWS.
SNS_CODES = AWS_CODES | codes(
    {
        Meaning.THROTTLED: "KMSThrottling KMSThrottlingException",
        Meaning.SETUP: """
            NotFound NotFoundException AuthorizationError AuthorizationErrorException InvalidSecurity
            InvalidSecurityException EndpointDisabled PlatformApplicationDisabled KMSDisabled KMSInvalidState
            KMSNotFound KMSOptInRequired KMSAccessDenied""",
        Meaning.REFUSED: """
            InvalidParameter ParameterValueInvalid TooManyEntriesInBatchRequest EmptyBatchRequest
            BatchEntryIdsNotDistinct InvalidBatchEntryId BatchRequestTooLong""",
    }
)


@dataclass(slots=True, kw_only=True)
class SnsReceipt(Receipt):
    """SNS has the message, and delivers it to the topic's subscribers.

    Attributes:
        message_id: SNS's own id of it.
        sequence_number: its place in a FIFO topic, which grows within a group; `None` for standard topics.
    """

    message_id: str
    sequence_number: str | None = None


class SnsApi(Protocol):
    """The two calls the sink makes. A faster way to send replaces the client by offering the same."""

    async def publish_batch(
        self,
        *,
        TopicArn: str,  # noqa: N803 - AWS's names
        PublishBatchRequestEntries: Sequence[Mapping[str, object]],  # noqa: N803 - AWS's names
    ) -> object:
        """Send up to ten messages."""
        ...

    async def get_topic_attributes(self, *, TopicArn: str) -> object:  # noqa: N803 - AWS's names
        """Read what a topic demands."""
        ...


class SnsDestination(AwsDestination[SnsApi]):
    """Speaks SNS for a `Sink`: one request a `write`, one client for all of them."""

    def __init__(
        self,
        topic_arn: str,
        *,
        settings: AwsSettings,
        policy: Policy,
        encode: Callable[[object], object],
        strict_order: bool,
    ) -> None:
        # The target of a message that names none.
        self._topic = _named(topic_arn, ConfigError)
        super().__init__(f"sns:{self._topic.name}", settings, policy)
        self._encode = encode
        # Every topic whose attributes were read. Others are read by the first write to them.
        self._topics: dict[str, Topic] = {}
        self.targets = Targets()
        # What the most generous topic allows; `open` sets what the sink's own does.
        self.limits = Limits(records=MAX_RECORDS, bytes=MOST_BYTES, keys_repeat=not strict_order, retry_unknown=True)
        if problem := self._retries_too_long(self._topic):
            raise ConfigError(problem)

    async def open(self) -> None:
        """Make the client and read the topic's attributes.

        A topic that is only slow or busy is read by the first write instead; until then its messages, and for good its
        requests, are kept within what every topic takes.

        Raises:
            ConfigError: the topic is missing, out of reach, or not for these credentials.
        """
        await self._connect("PublishBatch", {"TopicArn": self._topic.arn, "PublishBatchRequestEntries": []})
        problem: ConfigError | None = None
        max_bytes = DEFAULT_BYTES
        try:
            max_bytes = (await self._learn(self._topic)).max_bytes
        except Exception as error:  # noqa: BLE001 - every one is judged, and none keeps its frames
            problem = setup_problem(error, SNS_CODES, str(self._topic))
        if problem is not None:
            raise problem
        self.limits = replace(self.limits, bytes=max_bytes)

    def encode(self, record: object, /) -> Encoded:
        """Check a record and count it: UTF-8 of message and subject, and of each attribute's name, type and value.

        Raises:
            InvalidRecord: SNS would refuse it.
        """
        topic = self._topic
        message = (
            record if isinstance(record, (str, SnsMessage)) else converted(record, self._encode, SnsMessage, topic)
        )
        if isinstance(message, str):
            if not topic.is_fifo:
                return encode_text(message, topic)
            message = SnsMessage(message)
        if message.topic_arn is not None and message.topic_arn != topic.arn:
            topic = self._topics.get(message.topic_arn) or _named(message.topic_arn, InvalidRecord)
            if problem := self._elsewhere(topic) or self._retries_too_long(topic):
                raise InvalidRecord(problem)
        return encode_message(message, topic)

    async def write(self, batch: Batch, /) -> list[Verdict[SnsReceipt]]:
        """Send one request, and count what becomes of it.

        Raises:
            BatchRefused: SNS refused all of it because of one message.
        """
        return await self.targets.counted(batch, self._write(batch))

    async def _write(self, batch: Batch) -> list[Verdict[SnsReceipt]]:
        """Send one request. What the topic takes only in another one, or not at all, stays behind.

        Raises:
            BatchRefused: SNS refused all of it because of one message.
        """
        arn = str(batch.target)
        topic = self._topics.get(arn)
        if topic is None:
            unread = Topic.unread(arn)
            read = await read_first(self._way.identity.judge, self._learn(unread), SNS_CODES, unread)
            if isinstance(read, (Retry, Rejected)):
                return [read] * len(batch)
            topic = read
        fate, going = _split(batch.entries, topic)
        if going:
            said = await self._publish(topic, going)
            for entry, verdict in zip(going, said, strict=True):
                fate[entry] = verdict
        return [fate[entry] for entry in batch.entries]

    async def _publish(self, topic: Topic, going: Sequence[Entry]) -> list[Verdict[SnsReceipt]]:
        for entry in going:
            if entry.payload.chosen_id:
                entry.payload = entry.payload.decided(topic_makes_ids=topic.makes_deduplication_ids)
        try:
            answer = await self._send(topic.arn, [entry.payload for entry in going])
        except Exception as error:  # noqa: BLE001 - whatever a client raises, it is about these entries
            if len(going) > 1 and isinstance(error, ClientError) and meaning_of(error, SNS_CODES)[1] == _TOO_LONG:
                return [self._too_much(topic, going)] * len(going)
            return [self._way.identity.judge(error, SNS_CODES, str(topic))] * len(going)
        return [
            entry_verdict(item, SNS_CODES, topic, SnsReceipt, entry.attempts)
            for item, entry in zip(entries_named(answer, len(going)), going, strict=True)
        ]

    async def _send(self, arn: str, payloads: Sequence[Payload]) -> object:
        direct = self._way.direct
        if direct is not None:
            try:
                return await direct.call(None, {"TopicArn": arn}, request_body(arn, payloads))
            except NotDirectError as error:
                self._way.leave(error)
        assert self._api is not None, "write comes after open"
        entries = [{"Id": str(index), **payload.fields} for index, payload in enumerate(payloads)]
        publish = partial(self._api.publish_batch, TopicArn=arn, PublishBatchRequestEntries=entries)
        return await self._way.identity.send(publish)

    def _too_much(self, topic: Topic, going: Sequence[Entry]) -> Retry:
        """Ask less of the topic from now on: its limit was lowered, or it counts what its documents don't tell.

        Not as a refusal for one record's sake: each may be sound, and isolation would find one guilty.
        """
        size = sum(entry.size for entry in going)
        self._keep(replace(topic, max_request_bytes=min(size // 2, topic.max_request_bytes)))
        said = f"{topic} takes less than {size:,} bytes in one request ({_TOO_LONG}): the next ones are smaller"
        return Retry(AwsError(said, code=_TOO_LONG))

    async def _learn(self, topic: Topic) -> Topic:
        assert self._api is not None, "open makes the client"
        answer = await self._way.identity.call(partial(self._api.get_topic_attributes, TopicArn=topic.arn))
        found = cast("_TopicAttributes", answer).get("Attributes")
        if not found:  # every topic has an ARN and an owner: this answer is not whole
            raise AwsError(f"{topic}: the answer does not tell its attributes", code="Unanswered")
        return self._keep(Topic.read(topic.arn, found))

    def _keep(self, topic: Topic) -> Topic:
        self._topics[topic.arn] = topic
        if topic.arn == self._topic.arn:
            self._topic = topic
        return topic

    def _elsewhere(self, topic: Topic) -> str | None:
        if topic.region == self._topic.region:
            return None
        return f"{topic} is in {topic.region}, and this sink in {self._topic.region}: use a sink for each region"

    def _retries_too_long(self, topic: Topic) -> str | None:
        return retries_too_long(self._policy, topic, "SNS") if topic.is_fifo else None


class _TopicAttributes(TypedDict, total=False):
    Attributes: Mapping[str, str]


def _named(topic_arn: object, error: type[ConfigError | InvalidRecord]) -> Topic:
    if not isinstance(topic_arn, str) or not is_topic_arn(topic_arn):
        raise error("topic_arn must be the topic's ARN, as arn:aws:sns:eu-west-1:123456789012:events")
    return Topic.unread(topic_arn)


def _split(entries: Sequence[Entry], topic: Topic) -> tuple[dict[Entry, Verdict[SnsReceipt]], list[Entry]]:
    """Say what may go in one request to this topic, and what becomes of the others.

    The core keeps a request within the limit of the sink's own topic. Another topic's may be lower, and that of one
    that was not read before the message was put.
    """
    fate: dict[Entry, Verdict[SnsReceipt]] = {}
    going: list[Entry] = []
    room = min(topic.max_bytes, topic.max_request_bytes)
    for entry in entries:
        if entry.size > topic.max_bytes:
            fate[entry] = Rejected(too_large(entry.size, topic))
        elif going and (entry.size > room or room < 0):
            room = -1  # what follows it must not overtake it
            said = AwsError(f"{topic} takes the message in another request only", code="BatchFull")
            fate[entry] = Retry(said, unsent=True)
        else:
            going.append(entry)
            room -= entry.size
    return fate, going
