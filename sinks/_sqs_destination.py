"""How a `Sink` speaks SQS. Before: the core's batch. After: `SendMessageBatch`, and one verdict for each message."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Protocol, TypedDict, cast

from sinkwell.core import (
    Batch,
    ConfigError,
    Delivered,
    Encoded,
    Entry,
    InvalidRecord,
    Limits,
    Policy,
    Receipt,
    Rejected,
    Retry,
    Unknown,
    Verdict,
)

from ._aws import AwsSettings, setup_problem
from ._aws_batch import converted, entry_verdict, read_first, retries_too_long
from ._aws_destination import AwsDestination
from ._aws_stats import Targets
from ._aws_transport import NotDirectError
from ._aws_verdicts import AWS_CODES, AwsError, Meaning, codes, entries_named, short
from ._sqs_digest import first_difference
from ._sqs_message import MAX_BATCH_BYTES, Queue, SqsMessage, encode_body, encode_message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ._sqs_message import Payload

MAX_RECORDS = 10
"""SendMessageBatch (SQS API reference, November 2026): ten entries, and 1,048,576 bytes of all together."""

# SQS's own codes, by both of their names, beside those of all AWS services. Sources: the service's model (botocore
# 1.44.5) and the API reference; for throttled FIFO queues, "Troubleshooting FIFO throttling" (developer guide).
SQS_CODES = AWS_CODES | codes(
    {
        Meaning.THROTTLED: "OverLimit KmsThrottled KMS.ThrottlingException",
        Meaning.SETUP: """
            NonExistentQueue QueueDoesNotExist QueueDeletedRecently InvalidAddress InvalidSecurity UnsupportedOperation
            KmsAccessDenied KmsDisabled KmsInvalidKeyUsage KmsInvalidState KmsNotFound KmsOptInRequired
            KMS.AccessDeniedException KMS.DisabledException KMS.InvalidKeyUsageException KMS.InvalidStateException
            KMS.NotFoundException KMS.OptInRequired""",
        Meaning.REFUSED: """
            TooManyEntriesInBatchRequest EmptyBatchRequest BatchEntryIdsNotDistinct InvalidBatchEntryId
            BatchRequestTooLong InvalidMessageContents InvalidAttributeValue InvalidAttributeName""",
    }
)


@dataclass(slots=True, kw_only=True)
class SqsReceipt(Receipt):
    """SQS has the message.

    Attributes:
        message_id: SQS's own id of it.
        sequence_number: its place in a FIFO queue, which grows within a group; `None` for standard queues.
    """

    message_id: str
    sequence_number: str | None = None


class SqsApi(Protocol):
    """The two calls the sink makes. A faster way to send replaces the client by offering the same."""

    async def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Mapping[str, object]]) -> object:  # noqa: N803 - AWS's names
        """Send up to ten messages."""
        ...

    async def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: Sequence[str]) -> object:  # noqa: N803 - AWS's names
        """Read what a queue demands."""
        ...


class SqsDestination(AwsDestination[SqsApi]):
    """Speaks SQS for a `Sink`: one request a `write`, one client for all of them."""

    def __init__(
        self,
        queue_url: str,
        *,
        settings: AwsSettings,
        policy: Policy,
        encode: Callable[[object], object],
        strict_order: bool,
        fair_queues: bool = False,
    ) -> None:
        # The target of a message that names none.
        self._queue = _named(queue_url, ConfigError)
        super().__init__(f"sqs:{self._queue.name}", settings, policy)
        self._encode = encode
        self._fair_queues = fair_queues
        # Every queue whose attributes were read. Others are read by the first write to them.
        self._queues: dict[str, Queue] = {}
        self.targets = Targets()
        self.limits = Limits(
            records=MAX_RECORDS, bytes=MAX_BATCH_BYTES, keys_repeat=not strict_order, retry_unknown=True
        )
        if problem := self._retries_too_long(self._queue):
            raise ConfigError(problem)

    async def open(self) -> None:
        """Make the client and read the queue's attributes.

        A queue that is only slow or busy is read by the first write instead.

        Raises:
            ConfigError: the queue is missing, out of reach, or not for these credentials.
        """
        await self._connect("SendMessageBatch", {"QueueUrl": self._queue.url, "Entries": []})
        problem: ConfigError | None = None
        try:
            await self._learn(self._queue)
        except Exception as error:  # noqa: BLE001 - every one is judged, and none keeps its frames
            problem = setup_problem(error, SQS_CODES, str(self._queue))
        if problem is not None:
            raise problem

    def encode(self, record: object, /) -> Encoded:
        """Check a record and count it as SQS does: UTF-8 of the body, and of each attribute's name, type and value.

        Raises:
            InvalidRecord: SQS would refuse it.
        """
        queue = self._queue
        message = (
            record if isinstance(record, (str, SqsMessage)) else converted(record, self._encode, SqsMessage, queue)
        )
        if isinstance(message, str):
            if not queue.is_fifo:
                return encode_body(message, queue)
            message = SqsMessage(message)
        if message.queue_url is not None and message.queue_url != queue.url:
            queue = self._queues.get(message.queue_url) or _named(message.queue_url, InvalidRecord)
            if problem := self._retries_too_long(queue):
                raise InvalidRecord(problem)
        return encode_message(message, queue, fair_queues=self._fair_queues)

    async def write(self, batch: Batch, /) -> list[Verdict[SqsReceipt]]:
        """Send one request, and count what becomes of it.

        Raises:
            BatchRefused: SQS refused all of it because of one message.
        """
        return await self.targets.counted(batch, self._write(batch))

    async def _write(self, batch: Batch) -> list[Verdict[SqsReceipt]]:
        """Send one request.

        Raises:
            BatchRefused: SQS refused all of it because of one message.
        """
        url = str(batch.target)
        queue = self._queues.get(url)
        if queue is None:
            unread = Queue.unread(url)
            read = await read_first(self._way.identity.judge, self._learn(unread), SQS_CODES, unread)
            if isinstance(read, (Retry, Rejected)):
                return [read] * len(batch)
            queue = read
        for entry in batch.entries:
            if entry.payload.chosen_id:
                entry.payload = entry.payload.decided(queue)
        try:
            answer = await self._send(url, batch.payloads)
        except Exception as error:  # noqa: BLE001 - whatever a client raises, it is about these entries
            return [self._way.identity.judge(error, SQS_CODES, str(queue))] * len(batch)
        said = entries_named(answer, len(batch))
        return [_verdict(item, entry, queue) for item, entry in zip(said, batch.entries, strict=True)]

    async def _send(self, url: str, payloads: Sequence[Payload]) -> object:
        direct = self._way.direct
        if direct is not None:
            try:
                return await direct.call(None, {"QueueUrl": url}, _body(url, payloads))
            except NotDirectError as error:
                self._way.leave(error)
        assert self._api is not None, "write comes after open"
        entries = [{"Id": str(index), **payload.fields} for index, payload in enumerate(payloads)]
        return await self._way.identity.send(partial(self._api.send_message_batch, QueueUrl=url, Entries=entries))

    async def _learn(self, queue: Queue) -> Queue:
        assert self._api is not None, "open makes the client"
        names = ["QueueArn", "MaximumMessageSize"]
        if queue.is_fifo:  # of a standard queue, SQS calls the attribute unknown and refuses to answer
            names.append("ContentBasedDeduplication")
        read = partial(self._api.get_queue_attributes, QueueUrl=queue.url, AttributeNames=names)
        answer = await self._way.identity.call(read)
        found = cast("_QueueAttributes", answer).get("Attributes")
        if not found:  # every queue has an ARN: this is the empty dict that botocore makes of a garbled answer
            raise AwsError(f"{queue}: the answer does not tell its attributes", code="Unanswered")
        known = Queue.read(queue.url, found)
        self._queues[queue.url] = known
        if queue.url == self._queue.url:
            self._queue = known
        return known

    def _retries_too_long(self, queue: Queue) -> str | None:
        return retries_too_long(self._policy, queue, "SQS") if queue.is_fifo else None


class _QueueAttributes(TypedDict, total=False):
    Attributes: Mapping[str, str]


def _named(queue_url: object, error: type[ConfigError | InvalidRecord]) -> Queue:
    if not isinstance(queue_url, str) or not queue_url.startswith(("https://", "http://")):
        raise error("queue_url must be the queue's URL, as https://sqs.eu-west-1.amazonaws.com/123456789012/orders")
    return Queue.unread(queue_url)


def _body(url: str, payloads: Sequence[Payload]) -> bytes:
    entries = b",".join([b'{"Id":"%d",%b}' % (place, payload.text) for place, payload in enumerate(payloads)])
    return b'{"QueueUrl":%b,"Entries":[%b]}' % (encode_basestring(url).encode(), entries)


def _verdict(item: Mapping[str, object] | None, entry: Entry, queue: Queue) -> Verdict[SqsReceipt]:
    """Judge one entry by what the answer says of it, and by whether what SQS has stored is what was sent."""
    verdict = entry_verdict(item, SQS_CODES, queue, SqsReceipt, entry.attempts)
    digest = first_difference(entry.payload, item) if item is not None and isinstance(verdict, Delivered) else None
    if digest is None:
        return verdict
    # No receipt, for what was sent may not be there; and not again, for either the message or the answer was spoilt on
    # the way: in the one case there would be another spoilt copy, in the other a duplicate, and a FIFO queue would take
    # the second for the first and acknowledge it.
    message_id = short(item.get("MessageId")) if item is not None else ""
    said = AwsError(
        f"{queue} has stored message {message_id}, and its {digest} is not of what was sent", code="WrongDigest"
    )
    return Unknown(said, is_final=True)
