"""Entries for the tests of the pure rules, which know no loop and no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinkwell.core._entry import Entry, Place

if TYPE_CHECKING:
    from collections.abc import Iterable


def entry(name: str, *, size: int = 1, at: float = 0.0) -> Entry:
    """An accepted entry; the letters before its digits are its key, unless it begins with `-`."""
    key = None if name.startswith("-") else name.rstrip("0123456789")
    entry = Entry(name, size, key)
    entry.record = name
    entry.future = None
    entry.accepted_at = entry.ready_at = at
    entry.epoch = 0
    entry.place = Place.READY
    entry.ambiguous = False
    entry.outcome = entry.lane = None
    return entry


def names(entries: Iterable[Entry]) -> str:
    return " ".join(entry.record for entry in entries)


def fly(entries: list[Entry]) -> list[Entry]:
    """Put what was cut on the wire."""
    for each in entries:
        each.place = Place.FLYING
        each.attempts += 1
    return entries


def end(*entries: Entry) -> None:
    for each in entries:
        each.place = Place.DONE
