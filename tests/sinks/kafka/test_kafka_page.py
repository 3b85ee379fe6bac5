from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sinks.kafka.conftest import Broker

PAGE = Path(__file__).parents[3] / "docs" / "sinks" / "kafka.md"


async def test_the_example_on_the_page_runs_as_it_stands(kafka: Broker) -> None:
    topic = await kafka.topic(3)
    example = PAGE.read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    example = example.replace("localhost:9092", kafka.place).replace('"orders"', repr(topic))
    names: dict[str, Any] = {}
    running = eval(compile(example, str(PAGE), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    assert inspect.isawaitable(running)
    await running
    assert names["receipt"].offset == 0
    held = await kafka.holds(topic)
    assert sorted(record.value for record in held) == [b"hello", b"paid", b'{"order":7}']
