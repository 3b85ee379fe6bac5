from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from sinkwell.sinks.testing import AwsEndpoint

PAGE = Path(__file__).parents[3] / "docs" / "sinks" / "sns.md"


async def test_the_example_on_the_page_runs_as_it_stands(aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    example = PAGE.read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    arn = aws.sns.create_topic("events")
    example = example.replace("arn:aws:sns:eu-west-1:123456789012:events", arn)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", aws.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    names: dict[str, Any] = {}
    running = eval(compile(example, str(PAGE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    assert inspect.isawaitable(running)
    await running
    assert names["receipt"].attempts == 1
    assert [message.message for message in aws.sns.messages(arn)][:2] == ["hello", '{"order":7}']
