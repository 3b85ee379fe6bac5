"""The whole sink against an endpoint that keeps SQS's rules: what callers are told is compared with what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sinkwell.core import Policy

if TYPE_CHECKING:
    from sinkwell.sinks.testing import AwsEndpoint


async def test_a_batch_never_exceeds_what_sqs_takes_in_bytes(aws: AwsEndpoint, sink_for: Any) -> None:
    queue_url = aws.sqs.create_queue("orders")
    async with sink_for(queue_url, policy=Policy(max_attempts=2)) as sink:
        receipts = await sink.put_many(["é" * 262_144] * 6 + ["a" * 1_048_576])
    assert [getattr(receipt, "__cause__", None) for receipt in receipts] == [None] * 7
    for request in aws.requests("SendMessageBatch"):
        assert request.status == 200
        assert sum(len(entry["MessageBody"].encode()) for entry in request.entries) <= 1_048_576
