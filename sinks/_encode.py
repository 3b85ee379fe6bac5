"""The caller's `encode=`: what it makes of an object, or why that is no record. Before: `put`. After: a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sinkwell.core import InvalidRecord

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def encoded(record: object, encode: Callable[[object], object], kinds: tuple[type[T], ...], names: str) -> T:
    """Give what `encode` makes of a record.

    Args:
        record: the caller's object.
        encode: the caller's function.
        kinds: what it may make.
        names: of these, for the message: "bytes, str or RabbitMQMessage".

    Raises:
        InvalidRecord: it failed, or made something else. The sentence names types, and nothing of the record.
    """
    try:
        made = encode(record)
    except InvalidRecord:
        raise
    except Exception as error:
        raise InvalidRecord(f"encode= failed ({type(error).__name__}) for a {type(record).__name__}") from error
    if not isinstance(made, kinds):
        raise InvalidRecord(f"encode= must return {names}, not {type(made).__name__}")
    return made
