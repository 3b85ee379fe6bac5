"""Sinkwell for code without an event loop: Django, Flask, Celery, scripts, threads. Standard library only.

Example:
    >>> sink = BlockingSink(SqsSink.from_env)
    >>> receipt = sink.put("hello", timeout=10)
"""

from ._blocking_function import BlockingFunction as BlockingFunction
from ._blocking_sink import BlockingSink as BlockingSink
from ._delivery import Delivery as Delivery

__all__ = ["BlockingFunction", "BlockingSink", "Delivery"]
