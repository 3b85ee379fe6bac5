"""SQS, DynamoDB and SNS: `put`, a record at a time, against aioboto3's own batch calls, given full batches.

One process pinned to one core; the server, which takes everything at once, is pinned to another. Same concurrency.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from contextlib import AsyncExitStack, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aioboto3
from _report import OURS, PEER, Report, bars, interleaved, is_quick, median, ratio
from aiobotocore.config import AioConfig

from sinkwell.core import Policy
from sinkwell.sinks.dynamodb import DynamoDBSink
from sinkwell.sinks.sns import SnsSink
from sinkwell.sinks.sqs import SqsSink

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

CONCURRENCY = 8
ROUNDS = 5
SESSION = aioboto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1")
TOPIC = "arn:aws:sns:us-east-1:123456789012:orders"
BODY = '{"order": 4711, "customer": "c-17", "status": "paid", "note": "' + "x" * 140 + '"}'


def item(number: int) -> dict[str, object]:
    return {
        "id": f"order-{number}",
        "customer": "c-17",
        "created": "2026-11-21T12:00:00Z",
        "status": "paid",
        "total": Decimal("9.99"),
        "count": number,
        "is_gift": False,
        "note": "x" * 120,
    }


def typed(number: int) -> dict[str, object]:
    values: dict[str, object] = {
        "id": {"S": f"order-{number}"},
        "customer": {"S": "c-17"},
        "created": {"S": "2026-11-21T12:00:00Z"},
        "status": {"S": "paid"},
        "total": {"N": "9.99"},
        "count": {"N": str(number)},
        "is_gift": {"BOOL": False},
        "note": {"S": "x" * 120},
    }
    return {"PutRequest": {"Item": values}}


class Runs:
    """Times contenders on one loop; keeps the CPU seconds of each beside what `interleaved` keeps."""

    def __init__(self, runner: asyncio.Runner, records: int) -> None:
        self._runner = runner
        self._records = records
        self.cpu: dict[str, list[float]] = {}

    def rate(self, name: str, work: Callable[[], Any]) -> float:
        cpu, wall = time.process_time(), time.perf_counter()
        self._runner.run(work())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.cpu.setdefault(name, []).append(cpu / self._records * 1e6)
        return self._records / wall


async def through_put(sink: Any, records: Sequence[object]) -> None:
    for start in range(0, len(records), 2_000):
        for receipt in [sink.put(record) for record in records[start : start + 2_000]]:
            await receipt


async def in_full_batches(call: Callable[[int], Awaitable[object]], count: int) -> None:
    """Make the calls, so many at once."""
    starts = iter(range(count))

    async def worker() -> None:
        for start in starts:
            await call(start)

    await asyncio.gather(*[worker() for _ in range(CONCURRENCY)])


async def open_all(stack: AsyncExitStack, url: str) -> Any:
    policy = Policy(concurrency=CONCURRENCY)
    options: Any = {"session": SESSION, "endpoint_url": url, "policy": policy, "transport": "direct"}
    config = AioConfig(max_pool_connections=CONCURRENCY)
    resource = await stack.enter_async_context(SESSION.resource("dynamodb", endpoint_url=url, config=config))
    return (
        await stack.enter_async_context(SqsSink(f"{url}/1/orders", **options)),
        await stack.enter_async_context(DynamoDBSink("orders", **options)),
        await stack.enter_async_context(SnsSink(TOPIC, **options)),
        await stack.enter_async_context(SESSION.client("sqs", endpoint_url=url, config=config)),
        await stack.enter_async_context(SESSION.client("dynamodb", endpoint_url=url, config=config)),
        await resource.Table("orders"),
        await stack.enter_async_context(SESSION.client("sns", endpoint_url=url, config=config)),
    )


async def batch_writer(table: Any, items: Sequence[dict[str, object]]) -> None:
    async with table.batch_writer() as writer:
        for one in items:
            await writer.put_item(Item=one)


def compare(report: Report, title: str, runs: Runs, works: dict[str, Any], *, target: float, rounds: int) -> None:
    contenders = {name: partial(runs.rate, name, work) for name, work in works.items()}
    rates = interleaved(rounds, contenders)
    ours, theirs, *_ = works
    rows = []
    for name, figures in rates.items():
        cpu = median(runs.cpu[name][1:])
        rows.append((name, f"{median(figures):,.0f}", f"{cpu:.1f}", f"{ratio(rates[ours], figures):.2f} x"))
    report.table(title, ("", "records/s", "CPU us/record", "ours is"), rows)
    report.at_least(f"{title}: ours against {theirs}", ratio(rates[ours], rates[theirs]), target)
    spent = {name: median(runs.cpu[name][1:]) for name in works}
    report.at_least(f"{title}: the same in CPU", spent[theirs] / spent[ours], target)
    colours = [OURS, *[PEER] * (len(works) - 1)]
    report.plot(
        bars(title, "records/s", {name: (median(rates[name]), c) for name, c in zip(works, colours, strict=True)})
    )


@contextmanager
def server(core: int) -> Iterator[str]:
    """Give the endpoint's URL; the process ends with the block."""
    digest = hashlib.md5(BODY.encode(), usedforsecurity=False).hexdigest()
    command = [sys.executable, str(Path(__file__).with_name("_fast_aws.py")), str(core), digest]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.terminate()


def measure(report: Report, url: str, records: int, rounds: int) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        sqs_sink, dynamodb_sink, sns_sink, sqs, dynamodb, table, sns = runner.run(open_all(stack, url))
        entries = [{"Id": str(index), "MessageBody": BODY} for index in range(10)]
        messages = [{"Id": str(index), "Message": BODY} for index in range(10)]
        items = [item(number) for number in range(records)]
        batches = [[typed(number) for number in range(start, start + 25)] for start in range(0, records, 25)]

        def send(_: int) -> Any:
            return sqs.send_message_batch(QueueUrl=f"{url}/1/orders", Entries=entries)

        def publish(_: int) -> Any:
            return sns.publish_batch(TopicArn=TOPIC, PublishBatchRequestEntries=messages)

        def write(place: int) -> Any:
            return dynamodb.batch_write_item(RequestItems={"orders": batches[place]})

        works = {
            "SqsSink.put": lambda: through_put(sqs_sink, [BODY] * records),
            "aioboto3 send_message_batch": lambda: in_full_batches(send, records // 10),
        }
        compare(report, "SQS, 200 bytes", Runs(runner, records), works, target=5.0, rounds=rounds)
        works = {
            "DynamoDBSink.put": lambda: through_put(dynamodb_sink, items),
            "aioboto3 batch_write_item": lambda: in_full_batches(write, records // 25),
            "aioboto3 Table.batch_writer": lambda: batch_writer(table, items),
        }
        compare(report, "DynamoDB, 8 attributes", Runs(runner, records), works, target=5.0, rounds=rounds)
        works = {
            "SnsSink.put": lambda: through_put(sns_sink, [BODY] * records),
            "aioboto3 publish_batch": lambda: in_full_batches(publish, records // 10),
        }
        compare(report, "SNS, 200 bytes", Runs(runner, records), works, target=4.0, rounds=rounds)
        for sink in (sqs_sink, dynamodb_sink, sns_sink):
            assert sink.stats().delivered == records * (rounds + 1), "every record has its receipt"
        runner.run(stack.aclose())


def main() -> None:
    quick = is_quick(__doc__)
    report = Report("aws", f"SQS, DynamoDB and SNS, one core, concurrency {CONCURRENCY}", is_quick=quick)
    ours, theirs = sorted(os.sched_getaffinity(0))[:2]
    with server(theirs) as url:
        os.sched_setaffinity(0, {ours})
        measure(report, url, 2_000 if quick else 20_000, 2 if quick else ROUNDS)
    report.finish()


if __name__ == "__main__":
    main()
