"""What a sink says when its client library is not installed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def needs_extra(extra: str, what: str | None = None) -> Generator[None]:
    """Import a sink's dependencies inside this block; a missing one is told in one sentence that names the cure.

    Args:
        extra: its name in `pip install "sinkwell[...]"`.
        what: is missing it; default: the sink of that name.

    Raises:
        ImportError: a module was not found; its own error is the cause.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        sentence = f'{what or f"sinkwell.sinks.{extra}"} needs {error.name}: run  pip install "sinkwell[{extra}]"'
        raise ImportError(sentence, name=error.name) from error
