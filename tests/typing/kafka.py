"""Type-checked as a user writes it; never run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

from sinkwell.core import DeliveryError, Policy, SinkwellError
from sinkwell.sinks.kafka import KafkaReceipt, KafkaRecord, KafkaSink, SaslPassword, SaslToken


@dataclass
class Event:
    """Any object becomes JSON."""

    id: int


async def token() -> str:
    """Ask whoever gives tokens."""
    return "token"


async def use_it() -> None:
    """Put every form of record."""
    sasl = SaslPassword("me", "password", "SCRAM-SHA-256")
    async with KafkaSink("kafka:9092", "t", topics=["u"], compression="zstd", sasl=sasl) as sink:
        assert_type(await sink.put(b"bytes"), KafkaReceipt)
        assert_type(await sink.put("text"), KafkaReceipt)
        receipt = await sink.put(KafkaRecord(Event(1), key="k", headers={"h": b"v"}, partition=0, timestamp_ms=1))
        assert_type(receipt.offset, int)
        assert_type(
            await sink.put_many([Event(1), KafkaRecord(None, key=b"k", topic="u")]), list[KafkaReceipt | SinkwellError]
        )
    try:
        async with KafkaSink(["a:1", "b:2"], "t", tls="off", sasl=SaslToken(token), policy=Policy(linger=0.1)) as other:
            await other.put({"a": 1})
    except DeliveryError as error:
        assert_type(error.attempts, int)
