"""How a user writes `SqsSink`; type-checked, never run."""

from __future__ import annotations

from typing import assert_type

import aioboto3
from aiobotocore.session import get_session

from sinkwell.core import DeliveryError, Policy, SinkwellError
from sinkwell.sinks.sqs import AwsError, SqsAttribute, SqsMessage, SqsReceipt, SqsSink

QUEUE_URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


def to_message(order: object) -> SqsMessage:
    return SqsMessage(str(order), attributes={"kind": "order", "size": 7, "raw": SqsAttribute("Binary.gz", b"x")})


async def main() -> None:
    async with SqsSink(QUEUE_URL, session=aioboto3.Session(), policy=Policy(linger=0.01)) as sink:
        assert_type(sink, SqsSink)
        receipt = await sink.put("hello")
        assert_type(receipt, SqsReceipt)
        assert_type(receipt.sequence_number, str | None)
        assert_type(await sink.put_many([{"a": 1}, SqsMessage("b")]), list[SqsReceipt | SinkwellError])
    fair = SqsSink(QUEUE_URL, fair_queues=True)
    await fair.put(SqsMessage("b", group_id="tenant", trace_header="Root=1-5759e988-bd862e3fe1be46a994272793"))
    other = SqsSink(QUEUE_URL, session=get_session(), encode=to_message, strict_order=False, dead_letter=sink)
    try:
        await other.put(7)
    except DeliveryError as error:
        if isinstance(error.__cause__, AwsError):
            assert_type(error.__cause__.code, str)
    assert_type(SqsSink.from_env(), SqsSink)
