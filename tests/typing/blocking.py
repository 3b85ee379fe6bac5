"""The blocking front as a user writes it: type-checked, never run."""

from __future__ import annotations

from concurrent.futures import Future, as_completed
from typing import assert_type

from sinkwell.core import CloseReport, Sink, SinkStats, SinkwellError, batched
from sinkwell.core.blocking import BlockingFunction, BlockingSink, Delivery
from sinkwell.sinks.postgres import PostgresReceipt, PostgresSink
from sinkwell.sinks.sqs import SqsReceipt, SqsSink

rows = BlockingSink(lambda: PostgresSink("dsn", "orders", ["id"]))
messages = BlockingSink(SqsSink.from_env, exit_timeout=10.0)


@BlockingFunction
@batched(max_records=200)
def predict(images: list[bytes]) -> list[str | Exception]:
    return ["cat" for _ in images]


def a_view() -> None:
    assert_type(rows.put((1, "a"), timeout=5), PostgresReceipt)
    delivery = rows.submit((1, "a"))
    assert_type(delivery, Delivery[PostgresReceipt])
    assert_type(delivery.result(timeout=1), PostgresReceipt)
    standard: Future[PostgresReceipt] = rows.put_nowait((1, "a"))
    for done in as_completed([standard]):
        assert_type(done.result(), PostgresReceipt)
    assert_type(rows.put_many([(1, "a")]), list[PostgresReceipt | SinkwellError])
    assert_type(messages.put("hello"), SqsReceipt)
    assert_type(rows.stats(), SinkStats)
    with rows as opened:
        opened.flush(timeout=1)
    assert_type(rows.close(timeout=0), CloseReport)


def a_function() -> None:
    assert_type(predict, BlockingFunction[bytes, str])
    assert_type(predict(b"image", timeout=2), str)
    assert_type(predict.submit(b"image"), Delivery[str])


def mistakes(sink: Sink[str, SqsReceipt]) -> None:
    BlockingSink(sink)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    predict("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    messages.put("hello", timeout="soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
