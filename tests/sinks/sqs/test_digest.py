"""SQS tells the MD5 of what it stored: a receipt is only given for what was sent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import DeliveryError, Outcome
from sinkwell.sinks._sqs_digest import first_difference
from sinkwell.sinks._sqs_message import Queue, encode_body, encode_message
from sinkwell.sinks.sqs import SqsAttribute, SqsMessage, SqsReceipt
from tests.sinks.sqs.conftest import bodies

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinkwell.sinks.testing import AwsEndpoint, Turn

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
FULL = SqsMessage(
    "größe 😀",
    attributes={"b": b"\x00\xff", "a": "é", "n": Decimal("1.50"), "t": SqsAttribute("Number.temperature", "7")},
    trace_header=TRACE,
)


@dataclass(frozen=True)
class SpoilDigest:
    """The answer tells another MD5 than that of what was stored."""

    name: str
    place: int = 0

    def __call__(self, turn: Turn) -> None:
        turn.edits.append(lambda reply: reply.document["Successful"][self.place].update({self.name: "0" * 32}))


@dataclass(frozen=True)
class LeaveOutDigests:
    """The answer tells none, as emulators do."""

    def __call__(self, turn: Turn) -> None:
        turn.edits.append(self._strip)

    @staticmethod
    def _strip(reply: Any) -> None:
        for item in reply.document["Successful"]:
            for name in [name for name in item if name.startswith("MD5")]:
                del item[name]


async def test_what_was_stored_as_it_was_sent_gets_its_receipt(aws: AwsEndpoint, sink_for: Callable[..., Any]) -> None:
    queue_url = aws.sqs.create_queue("orders")
    async with sink_for(queue_url) as sink:
        receipts = await sink.put_many([FULL, "plain", SqsMessage("a", attributes={"x": "y"})])
    assert [receipt.attempts for receipt in receipts] == [1, 1, 1]
    (answer,) = [request.answer for request in aws.requests("SendMessageBatch")]
    assert answer.count(b"MD5OfMessageBody") == 3
    assert answer.count(b"MD5OfMessageAttributes") == 2
    assert answer.count(b"MD5OfMessageSystemAttributes") == 1


@pytest.mark.parametrize("kind", ["Body", "Attributes", "SystemAttributes"])
@pytest.mark.parametrize("name", ["orders", "orders.fifo"])
async def test_another_digest_is_unknown_alone_and_is_not_sent_again(
    aws: AwsEndpoint, sink_for: Callable[..., Any], kind: str, name: str
) -> None:
    # on_unknown="retry" is the default: a second copy would be spoilt too, or a duplicate.
    queue_url = aws.sqs.create_queue(name)
    group = {"group_id": "g"} if name.endswith(".fifo") else {}
    async with sink_for(queue_url, strict_order=False) as sink:
        aws.plan.next("SendMessageBatch", SpoilDigest(f"MD5OfMessage{kind}", 1))
        message = SqsMessage(FULL.body, attributes=FULL.attributes, trace_header=TRACE, **group)
        outcomes = await sink.put_many([SqsMessage("before", **group), message, SqsMessage("after", **group)])
    assert [type(outcome) for outcome in outcomes] == [SqsReceipt, DeliveryError, SqsReceipt]
    assert outcomes[1].outcome is Outcome.UNKNOWN
    assert outcomes[1].attempts == 1
    assert outcomes[1].__cause__.code == "WrongDigest"
    assert aws.sqs.messages(queue_url)[1].message_id in str(outcomes[1].__cause__)
    assert bodies(aws, queue_url) == ["before", FULL.body, "after"]


async def test_a_digest_that_is_not_told_proves_nothing(aws: AwsEndpoint, sink_for: Callable[..., Any]) -> None:
    async with sink_for(aws.sqs.create_queue("orders")) as sink:
        aws.plan.next("SendMessageBatch", LeaveOutDigests())
        assert (await sink.put(FULL)).attempts == 1


def test_the_digest_of_attributes_is_the_one_that_aws_documents() -> None:
    # Computed by AWS's recipe with other tools: sorted names, lengths of four bytes, 1 for text and 2 for bytes.
    payload = encode_message(SqsMessage("hello", {"b": b"\x01", "a": "x"}), Queue("https://q", is_fifo=False)).payload
    plain = encode_body("hello", Queue("https://q", is_fifo=False)).payload
    said = {
        "MD5OfMessageBody": "5d41402abc4b2a76b9719d911017c592",
        "MD5OfMessageAttributes": "00b20ddba5ce5486e92e6154f9c21903",
    }
    assert first_difference(payload, said) is None
    assert first_difference(payload, said | {"MD5OfMessageSystemAttributes": "0" * 32}) is not None
    assert first_difference(plain, said) == "MD5OfMessageAttributes"
