"""An SQS queue 20 ms away, in a process of its own: prints its URLs, and ends when its input does."""

from __future__ import annotations

import asyncio
import sys

from sinkwell.sinks.testing import AwsEndpoint, Late


async def serve(seconds: float) -> None:
    async with AwsEndpoint(remembers=False) as aws:
        aws.plan.always("SendMessageBatch", Late(seconds))
        print(aws.url, aws.sqs.create_queue("orders"), flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(serve(float(sys.argv[1])))
