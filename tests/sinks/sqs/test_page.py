from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from sinkwell.sinks.testing import AwsEndpoint

PAGE = Path(__file__).parents[3] / "docs" / "sinks" / "sqs.md"


async def test_the_example_on_the_page_runs_as_it_stands(aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    example = PAGE.read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", aws.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    queue_url = aws.sqs.create_queue("orders")
    names: dict[str, Any] = {}
    running = eval(compile(example, str(PAGE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    assert inspect.isawaitable(running)
    await running
    assert names["receipt"].attempts == 1
    assert [message.body for message in aws.sqs.messages(queue_url)] == ["hello", '{"order":7}', "later"]
