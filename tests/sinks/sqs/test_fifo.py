"""FIFO queues: order within a group, and every message once, through whatever goes wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import ConfigError, InvalidRecord, Policy
from sinkwell.sinks.sqs import SqsMessage

if TYPE_CHECKING:
    from sinkwell.sinks.testing import AwsEndpoint


async def test_retries_on_a_fifo_queue_must_end_while_sqs_still_knows_the_message(
    aws: AwsEndpoint, sink_for: Any
) -> None:
    long = Policy(delivery_timeout=291.0)
    fifo = aws.sqs.create_queue("orders.fifo")
    with pytest.raises(ConfigError, match="five minutes"):
        sink_for(fifo, policy=long)
    async with sink_for(aws.sqs.create_queue("orders"), policy=long) as sink:
        with pytest.raises(InvalidRecord, match="five minutes"):
            sink.put(SqsMessage("a", group_id="g", queue_url=fifo))
