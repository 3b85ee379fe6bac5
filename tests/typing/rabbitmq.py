"""How a user writes `RabbitMQSink`; type-checked, never run."""

from __future__ import annotations

import ssl
from typing import assert_type

from sinkwell.core import Policy, SinkwellError
from sinkwell.sinks.rabbitmq import RabbitMQMessage, RabbitMQReceipt, RabbitMQSink


def to_message(order: object) -> RabbitMQMessage:
    return RabbitMQMessage(str(order), "order.placed", {"kind": "order", "size": 7}, priority=3)


async def main() -> None:
    url = "amqps://writer:secret@broker/shop"
    async with RabbitMQSink(url, "orders", "order.placed", policy=Policy(linger=0.01)) as sink:
        assert_type(sink, RabbitMQSink)
        receipt = await sink.put(b"hello")
        assert_type(receipt, RabbitMQReceipt)
        assert_type(receipt.message_id, str)
        assert_type(await sink.put_many([{"a": 1}, "b"]), list[RabbitMQReceipt | SinkwellError])
    RabbitMQSink(url, encode=to_message, ordered=True, tls=ssl.create_default_context(), dead_letter=sink)
    assert_type(RabbitMQSink.from_env(), RabbitMQSink)
