"""Every test of the core runs in virtual time, and must leave no task, no timer and no unhandled error behind."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from sinkwell.core import Policy, Sink
from sinkwell.core.testing import VirtualLoop
from tests.core.scripted import Scripted, other_tasks, tick, timers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from typing import Protocol

    class OpenSink(Protocol):
        async def __call__(self, destination: Any, policy: Policy | None = None, **options: Any) -> Sink[Any, Any]: ...


def debugging_loop() -> asyncio.AbstractEventLoop:
    loop = VirtualLoop()
    loop.set_debug(True)
    return loop


def eager_loop() -> asyncio.AbstractEventLoop:
    loop = VirtualLoop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    return loop


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "virtual": VirtualLoop,
    "debug": debugging_loop,
    "uvloop": uvloop.new_event_loop,
}
if hasattr(asyncio, "eager_task_factory"):  # since Python 3.12
    LOOPS["eager"] = eager_loop


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "every_loop: run the test on every kind of event loop that there is")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Virtual time, unless a test asks for every loop there is."""
    return LOOPS if item.get_closest_marker("every_loop") else {"virtual": VirtualLoop}


@pytest.fixture
def provider() -> Scripted:
    return Scripted()


@pytest.fixture
async def open_sink() -> AsyncIterator[OpenSink]:
    """Open sinks that are closed at the end of the test, without patience, and see that nothing is left of them."""
    sinks: list[Sink[Any, Any]] = []
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))

    async def open_one(destination: Any, policy: Policy | None = None, **options: Any) -> Sink[Any, Any]:
        sink = Sink(destination, policy, rng=random.Random(1), **options)
        await sink.open()
        sinks.append(sink)
        return sink

    yield open_one
    for sink in sinks:
        await sink.close(timeout=0)
    await tick()
    assert [context for context in unhandled if "never retrieved" not in context["message"]] == []
    assert other_tasks() == set()
    assert timers() == []
