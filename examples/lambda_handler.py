"""An AWS Lambda function that forwards what it gets to SQS, and flushes before it returns.

Why: between two invocations Lambda freezes the process. Timers stand still, connections time out, and the next
invocation may come in an hour or never; a record that still waits for company, for an answer or for its retry would
wait as long, and be lost if the process is not thawed. So nothing may be left when the handler returns: `flush` waits
until everything accepted has its outcome, and lets it leave without linger.

Set SINKWELL_SQS_DELIVERY_TIMEOUT below the function's own timeout: then every record has its outcome in time.
Run it: `python -m examples.lambda_handler`.
Three invocations on a loop that stands still between them, with a local SQS that loses entries.
"""

import asyncio
import functools
import os
from typing import Any

from sinkwell.core import SinkwellError
from sinkwell.sinks.sqs import SqsSink
from sinkwell.sinks.testing import AwsEndpoint, FailEntries

# One loop and one sink for the life of the process: a new client for each invocation would cost 30 ms and a handshake.
LOOP = asyncio.new_event_loop()


@functools.cache
def opened_sink() -> SqsSink:
    """Open the sink in the first invocation, and keep it for the others."""
    sink = SqsSink.from_env()
    LOOP.run_until_complete(sink.open())
    return sink


async def forward(sink: SqsSink, event: dict[str, Any]) -> dict[str, Any]:
    """Put every record, flush, and name those that are not delivered, so that the event source sends them again."""
    deliveries: dict[str, asyncio.Future[Any]] = {}
    failed: list[str] = []
    for record in event["Records"]:
        try:
            deliveries[record["messageId"]] = await sink.submit(record["body"])
        except SinkwellError:
            failed.append(record["messageId"])
    await sink.flush()  # before the freeze
    failed += [name for name, delivery in deliveries.items() if delivery.exception() is not None]
    return {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Handle one invocation. Its event source must have `ReportBatchItemFailures` on."""
    return LOOP.run_until_complete(forward(opened_sink(), event))


def main() -> None:
    """Invoke the handler three times; what it has answered for must be in the queue although the loop stands still."""
    aws = LOOP.run_until_complete(AwsEndpoint().__aenter__())
    queue_url = aws.sqs.create_queue("out")
    aws.plan.always("SendMessageBatch", FailEntries(probability=0.2), seed=1)
    os.environ |= {"SINKWELL_SQS_QUEUE_URL": queue_url, "SINKWELL_SQS_ENDPOINT_URL": aws.url}
    os.environ |= {"SINKWELL_SQS_DELIVERY_TIMEOUT": "20", "SINKWELL_SQS_ATTEMPT_TIMEOUT": "5"}
    os.environ |= {"SINKWELL_SQS_BACKOFF_BASE": "0.02", "SINKWELL_SQS_REGION_NAME": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    for invocation in range(3):
        records = [{"messageId": f"{invocation}-{n}", "body": f"{invocation}-{n}"} for n in range(25)]
        records.append({"messageId": f"{invocation}-bad", "body": "\x00"})
        answer = handler({"Records": records}, None)
        frozen = opened_sink().stats().pending_records
        there = len(aws.sqs.messages(queue_url))
        print(f"invocation {invocation}: {there} messages in the queue, {frozen} left to the freeze, failed: {answer}")
        assert (there, frozen) == (25 * (invocation + 1), 0)
        assert answer == {"batchItemFailures": [{"itemIdentifier": f"{invocation}-bad"}]}
    LOOP.run_until_complete(opened_sink().close())
    LOOP.run_until_complete(aws.aclose())
    LOOP.close()


if __name__ == "__main__":
    main()
