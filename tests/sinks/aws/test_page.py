from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.sinks.aws.service import KEYS, SNS, SQS

if TYPE_CHECKING:
    from sinkwell.sinks.testing import AwsEndpoint
    from tests.sinks.aws.service import Messaging

PAGES = Path(__file__).parents[3] / "docs" / "sinks"
ON_THE_PAGE = "arn:aws:sns:eu-west-1:123456789012:events"


PROTOCOLS = '{"default": "long text", "sms": "short"}'


@pytest.mark.parametrize(
    ("service", "name", "texts"), [(SQS, "orders", ["later"]), (SNS, "events", ["shipped", PROTOCOLS])]
)
async def test_the_example_on_the_page_runs_as_it_stands(
    aws: AwsEndpoint, service: Messaging, monkeypatch: pytest.MonkeyPatch, name: str, texts: list[str]
) -> None:
    page = PAGES / f"{service.name}.md"
    place = service.create(aws, name)
    example = page.read_text("utf-8").partition("```python\n")[2].partition("```")[0].replace(ON_THE_PAGE, place)
    monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service.name.upper()}", aws.url)
    for variable, value in KEYS.items():
        monkeypatch.setenv(variable.upper(), value)
    names: dict[str, Any] = {}
    running = eval(compile(example, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    assert inspect.isawaitable(running)
    await running
    assert names["receipt"].attempts == 1
    assert service.texts(aws, place) == ["hello", '{"order":7}', *texts]
