"""Part two: a part of the flights through an SQS that throttles, fails single messages and hangs up, on purpose."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from examples.demo import flights
from examples.demo.screen import check, heading, say, sinkwell
from sinkwell.sinks.testing import AwsEndpoint, Drop, FailEntries, ServerError, Throttle

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 20_000
SEND = "SendMessageBatch"


async def through_failures(source: Path) -> bool:
    """Send them, read the queue, and compare with what the endpoint knows it has done."""
    path = source.with_name("part.ndjson")
    flights.write_ndjson(source, path, COUNT)
    heading(2, f"{COUNT:,} of them through an SQS that fails on purpose")
    say(
        "A local SQS in this process throttles 5 % of the requests, answers 1 % with a 500, hangs up on 0.5 % after it "
        "took the messages,\nand fails 2 % of the single messages."
    )
    async with AwsEndpoint() as aws:
        queue_url = aws.sqs.create_queue("flights")
        aws.plan.always(SEND, Throttle(), probability=0.05, seed=1)
        aws.plan.always(SEND, ServerError(applied=False), probability=0.01, seed=2)
        aws.plan.always(SEND, Drop(applied=True), probability=0.005, seed=3)
        aws.plan.always(SEND, FailEntries(0.02), seed=4)
        place = ("--queue-url", queue_url, "--endpoint-url", aws.url, "--region", "us-east-1")
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        ran = await sinkwell("pipe", path.name, "--sink", "sqs", *place, cwd=source.parent, env=keys)
        bodies = Counter(message.body for message in aws.sqs.messages(queue_url))
        requests = aws.requests(SEND)
    sent = set(flights.lines(path))
    whole = sum(1 for request in requests if not request.applied)
    hung_up = [request for request in requests if request.ending == "dropped" and request.applied]
    taken = sum(len(request.applied) for request in hung_up)
    failed = sum(len(request.entries) - len(request.applied) for request in requests if request.applied)
    say(
        f"\nOf {len(requests):,} requests, {whole:,} were refused whole, {failed:,} messages failed alone; "
        f"it hung up on {len(hung_up)} requests after it had taken their {taken:,} messages."
    )
    twice = bodies.total() - len(bodies)
    return all([
        check(f"{len(sent & bodies.keys()):,} of {len(sent):,} flights are in the queue", holds=sent == bodies.keys()),
        check(
            f"{twice:,} came twice, each because its request was never answered: at least once, as SQS itself",
            holds=_may_be_twice(bodies, hung_up),
        ),
        check(f"{len(requests):,} requests in place of {COUNT:,}, repeats included", holds=len(requests) < COUNT / 5),
        check(f"sinkwell says so: its exit code is {ran.code}", holds=ran.code == 0),
    ])  # fmt: skip


def _may_be_twice(bodies: Counter[str], hung_up: list) -> bool:
    """Tell whether every message that is there more than once was in a request that was taken and not answered."""
    unanswered = {entry["MessageBody"] for request in hung_up for entry in request.entries}
    return all(body in unanswered for body, count in bodies.items() if count > 1)
