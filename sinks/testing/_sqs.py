"""SQS: its actions over the queues they change. Pure; the clock is handed in, nothing here waits.

Before me: `_endpoint.py` read a request. After me: `_sqs_rules.py` judges, `_sqs_queue.py` stores.
"""

from __future__ import annotations

import re
from itertools import count
from typing import TYPE_CHECKING, Any

from ._fields import list_of, text_map_of, text_of, texts_of, whole_of
from ._sqs_errors import sqs_error_reply
from ._sqs_queue import Queue, StoredMessage, Throttling, check_queue_attributes
from ._sqs_received import to_received
from ._sqs_rules import (
    Sent,
    check_batch_size,
    check_fifo,
    check_ids,
    find_entry_error,
    md5_of_attributes,
    md5_of_body,
    read_sent,
)
from ._wire import AwsError, AwsRequest, Document, EntryError, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MINUTE = 60.0
_MAX_RECEIVE = 10
_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo", re.ASCII)
_READ_ONLY = {"All", "QueueArn", "CreatedTimestamp", "LastModifiedTimestamp", "FifoQueue"}


class Sqs:
    """The queues, and what tests and demos ask of them.

    Attributes:
        fails_fifo_batches_whole: On a FIFO queue AWS refuses the whole batch for an entry without a group or
            deduplication id. For a too large or otherwise invalid entry no recorded answer is at hand: False (as on a
            standard queue) fails that entry alone, True the whole batch.
    """

    name = "sqs"
    prefix = "AmazonSQS"

    def __init__(self, clock: Callable[[], float], base_url: str, *, remembers: bool = True) -> None:
        self.fails_fifo_batches_whole = False
        self._clock = clock
        self._base_url = base_url
        self._remembers = remembers
        self._queues: dict[str, Queue] = {}
        self._deleted_at: dict[str, float] = {}
        self._serials = count(1)
        self._actions: dict[str, Callable[[AwsRequest, Mapping[str, EntryError]], Document]] = {
            "CreateQueue": self._create,
            "GetQueueUrl": self._get_url,
            "GetQueueAttributes": self._get_attributes,
            "SetQueueAttributes": self._set_attributes,
            "SendMessage": self._send,
            "SendMessageBatch": self._send_batch,
            "ReceiveMessage": self._receive,
            "DeleteMessage": self._delete_message,
            "DeleteMessageBatch": self._delete_message_batch,
            "PurgeQueue": self._purge,
            "DeleteQueue": self._delete_queue,
        }

    # What tests ask.

    def create_queue(self, name: str, **attributes: str) -> str:
        """Create a queue without a request; returns its URL.

        Raises:
            AwsError: as CreateQueue would.
        """
        if name.endswith(".fifo"):
            attributes.setdefault("FifoQueue", "true")
        if not _QUEUE_NAME.fullmatch(name) or (attributes.get("FifoQueue") == "true") != name.endswith(".fifo"):
            sentence = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
            raise AwsError("InvalidParameterValue", sentence)
        check_queue_attributes(attributes)
        now = self._clock()
        known = self._queues.get(name)
        if known is not None and attributes.items() <= known.attributes(now).items():
            return self._url_of(name)
        if known is not None:
            differs = next(key for key, value in attributes.items() if known.attributes(now).get(key) != value)
            sentence = f"A queue already exists with the same name and a different value for attribute {differs}"
            raise AwsError("QueueNameExists", sentence)
        if now - self._deleted_at.get(name, -_MINUTE) < _MINUTE:
            raise AwsError("QueueDeletedRecently")
        self._queues[name] = Queue(name, dict(attributes), now)
        return self._url_of(name)

    def messages(self, queue_url: str) -> list[StoredMessage]:
        """Everything that ever arrived in a queue, in that order, also what was received and deleted since.

        Raises:
            AwsError: if there is no such queue.
        """
        return list(self._queue_at(queue_url).arrived)

    def count(self, queue_url: str) -> int:
        """How many messages ever arrived, also when the endpoint remembers nothing.

        Raises:
            AwsError: if there is no such queue.
        """
        return self._queue_at(queue_url).arrived_count

    def arn_of(self, queue_url: str) -> str:
        """A queue's ARN, by which a topic knows it.

        Raises:
            AwsError: if there is no such queue.
        """
        return self._queue_at(queue_url).attributes(self._clock())["QueueArn"]

    def deliver(self, queue_arn: str, sent: Sent, request_number: int) -> None:
        """Take a message of a topic that the queue is subscribed to; nothing happens if the queue is gone."""
        queue = self._queues.get(queue_arn.rpartition(":")[2])
        if queue is not None:
            queue.accept(sent, self._clock(), request_number, next(self._serials), remembers=self._remembers)

    def throttle(self, queue_url: str, requests_per_second: float | None) -> None:
        """Answer sends beyond a rate with RequestThrottled (403), as AWS does; None takes every request again.

        Raises:
            AwsError: if there is no such queue.
        """
        throttling = None if requests_per_second is None else Throttling(requests_per_second, self._clock())
        self._queue_at(queue_url).throttling = throttling

    # What the endpoint asks.

    def perform(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        """Carry out one request and note in it what was applied; entries in `refused` fail without being applied.

        Raises:
            AwsError: if AWS would refuse the whole request.
        """
        action = self._actions.get(request.action)
        if action is None:
            raise AwsError("UnknownOperation", f"The action {request.action} is not valid for this endpoint.")
        return action(request, refused)

    def error_reply(self, error: AwsError) -> Reply:
        """The answer that says the error in SQS's way."""
        return sqs_error_reply(error)

    def _url_of(self, name: str) -> str:
        return f"{self._base_url}/000000000000/{name}"

    def _queue_at(self, url: str | None) -> Queue:
        queue = self._queues.get((url or "").rsplit("/", 1)[-1])
        if queue is None:
            raise AwsError("QueueDoesNotExist")
        return queue

    def _queue_of(self, request: AwsRequest) -> Queue:
        return self._queue_at(text_of(request.document, "QueueUrl"))

    def _send_batch(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        queue = self._queue_of(request)
        self._admit(queue)
        entries = _entries_of(request)
        check_ids(entries, "SendMessageBatchRequestEntry")
        batch = [read_sent(entry) for entry in entries]
        if queue.is_fifo:
            for sent in batch:
                check_fifo(sent, is_content_based=queue.is_content_based, is_batch=True)
        check_batch_size(batch)
        errors = {sent.id: self._find_error(sent, queue) for sent in batch}
        first_error = next((error for error in errors.values() if error is not None), None)
        if first_error is not None and queue.is_fifo and self.fails_fifo_batches_whole:
            raise AwsError(first_error.code, first_error.message)
        successful: list[Document] = []
        failed: list[Document] = []
        for sent in batch:
            error = errors[sent.id] or refused.get(sent.id)
            if error is None:
                successful.append({"Id": sent.id, **self._accept(sent, queue, request, sent.id)})
            else:
                failed.append(_failed(sent.id, error))
        return _lists(successful, failed)

    def _send(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        queue = self._queue_of(request)
        self._admit(queue)
        sent = read_sent(request.document)
        if queue.is_fifo:
            check_fifo(sent, is_content_based=queue.is_content_based, is_batch=False)
        error = self._find_error(sent, queue)
        if error is not None:
            raise AwsError(error.code, error.message)
        return self._accept(sent, queue, request, "")

    def _admit(self, queue: Queue) -> None:
        if queue.throttling is not None and not queue.throttling.admits(self._clock()):
            raise AwsError("RequestThrottled")

    def _find_error(self, sent: Sent, queue: Queue) -> EntryError | None:
        return find_entry_error(sent, queue.max_message_bytes, is_fifo=queue.is_fifo)

    def _accept(self, sent: Sent, queue: Queue, request: AwsRequest, entry_id: str) -> Document:
        serial = next(self._serials)
        before = queue.arrived_count
        message = queue.accept(sent, self._clock(), request.number, serial, remembers=self._remembers)
        entry_id = entry_id or message.message_id
        request.applied[entry_id] = message.message_id
        if queue.arrived_count == before:
            request.deduplicated.append(entry_id)
        result: Document = {"MessageId": message.message_id, "MD5OfMessageBody": md5_of_body(sent.body)}
        if sent.attributes:
            result["MD5OfMessageAttributes"] = md5_of_attributes(sent.attributes)
        if sent.system_attributes:
            result["MD5OfMessageSystemAttributes"] = md5_of_attributes(sent.system_attributes)
        if message.sequence_number:
            result["SequenceNumber"] = message.sequence_number
        return result

    def _receive(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        queue = self._queue_of(request)
        wanted = whole_of(request.document, "MaxNumberOfMessages")
        wanted = 1 if wanted is None else wanted
        if not 1 <= wanted <= _MAX_RECEIVE:
            reason = f"Must be between 1 and {_MAX_RECEIVE}, if provided."
            sentence = f"Value {wanted} for parameter MaxNumberOfMessages is invalid. Reason: {reason}"
            raise AwsError("InvalidParameterValue", sentence)
        visibility = whole_of(request.document, "VisibilityTimeout")
        if visibility is None:
            visibility = int(queue.attributes(self._clock())["VisibilityTimeout"])
        messages = queue.receive(wanted, visibility, self._clock())
        return {"Messages": [to_received(message, request.document) for message in messages]} if messages else {}

    def _delete_message(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        handle = text_of(request.document, "ReceiptHandle") or ""
        if not self._queue_of(request).delete(handle):
            raise AwsError(
                "ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.'
            )
        message_id = handle.partition("#")[0]
        request.applied[message_id] = message_id
        return {}

    def _delete_message_batch(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        queue = self._queue_of(request)
        entries = _entries_of(request)
        check_ids(entries, "DeleteMessageBatchRequestEntry")
        successful: list[Document] = []
        failed: list[Document] = []
        for entry in entries:
            entry_id, handle = entry["Id"], text_of(entry, "ReceiptHandle") or ""
            error = refused.get(entry_id)
            if error is None and not queue.delete(handle):
                error = EntryError("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
            if error is None:
                request.applied[entry_id] = handle.partition("#")[0]
                successful.append({"Id": entry_id})
            else:
                failed.append(_failed(entry_id, error))
        return _lists(successful, failed)

    def _create(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        attributes = text_map_of(request.document, "Attributes")
        name = text_of(request.document, "QueueName") or ""
        if name.endswith(".fifo") and attributes.get("FifoQueue") != "true":
            sentence = "The name of a FIFO queue can only be used with the FifoQueue attribute."
            raise AwsError("InvalidParameterValue", sentence)
        return {"QueueUrl": self.create_queue(name, **attributes)}

    def _get_url(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        return {"QueueUrl": self._url_of(self._queue_at(text_of(request.document, "QueueName")).name)}

    def _get_attributes(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        wanted = texts_of(request.document, "AttributeNames")
        known = self._queue_of(request).attributes(self._clock())
        told = known if "All" in wanted else {name: known[name] for name in wanted if name in known}
        return {"Attributes": told} if told else {}

    def _set_attributes(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        queue = self._queue_of(request)
        attributes = text_map_of(request.document, "Attributes")
        for name in attributes:
            if name in _READ_ONLY:
                raise AwsError("InvalidAttributeName", f"Unknown Attribute {name}.")
        check_queue_attributes(attributes)
        queue.given.update(attributes)
        return {}

    def _purge(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        queue, now = self._queue_of(request), self._clock()
        if queue.purged_at is not None and now - queue.purged_at < _MINUTE:
            sentence = f"Only one PurgeQueue operation on {queue.name} is allowed every 60 seconds."
            raise AwsError("PurgeQueueInProgress", sentence)
        queue.purge(now)
        return {}

    def _delete_queue(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document:
        del refused
        queue = self._queue_of(request)
        self._deleted_at[queue.name] = self._clock()
        del self._queues[queue.name]
        return {}


def _entries_of(request: AwsRequest) -> list[Any]:
    entries = list_of(request.document, "Entries")
    if entries is None:
        raise AwsError("MissingParameter", "The request must contain the parameter Entries.")
    return entries


def _failed(entry_id: str, error: EntryError) -> Document:
    return {"Id": entry_id, "SenderFault": error.sender_fault, "Code": error.code, "Message": error.message}


def _lists(successful: list[Document], failed: list[Document]) -> Document:
    """Over JSON, AWS leaves an empty list out, though its model calls both required."""
    lists = {"Successful": successful, "Failed": failed}
    return {name: results for name, results in lists.items() if results}
