"""Batch answers that lie: entries left out, told twice, made up, shuffled, or both successful and failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._wire import Document, EntryError, Reply

if TYPE_CHECKING:
    from collections.abc import Collection

    from ._turn import Turn

_LISTS = ("Successful", "Failed")


@dataclass(slots=True, frozen=True)
class Omit:
    """Some entries are in neither list of the answer.

    Attributes:
        positions: which, by their place in the batch, from 0.
        applied: whether AWS has them all the same.
    """

    positions: Collection[int] = (0,)
    applied: bool = True

    def __call__(self, turn: Turn) -> None:
        ids = _ids_at(turn, self.positions)
        if not self.applied:
            turn.refused |= dict.fromkeys(ids, EntryError("Omitted"))

        def omit(reply: Reply) -> None:
            for name in _LISTS:
                kept = [result for result in reply.document.pop(name, []) if result["Id"] not in ids]
                if kept:
                    reply.document[name] = kept

        turn.edits.append(omit)


@dataclass(slots=True, frozen=True)
class Repeat:
    """Some entries are told twice, word for word.

    Attributes:
        positions: which, by their place in the batch, from 0.
    """

    positions: Collection[int] = (0,)

    def __call__(self, turn: Turn) -> None:
        ids = _ids_at(turn, self.positions)

        def repeat(reply: Reply) -> None:
            for name in _LISTS:
                results: list[Document] = reply.document.get(name, [])
                results += [dict(result) for result in results if result["Id"] in ids]

        turn.edits.append(repeat)


@dataclass(slots=True, frozen=True)
class AddUnknown:
    """The answer tells of an entry that was never sent.

    Attributes:
        entry_id: its Id.
    """

    entry_id: str = "never-sent"

    def __call__(self, turn: Turn) -> None:
        def add(reply: Reply) -> None:
            stranger = {"Id": self.entry_id, "MessageId": "00000000-0000-4000-8000-ffffffffffff"}
            stranger["MD5OfMessageBody"] = "d41d8cd98f00b204e9800998ecf8427e"
            reply.document.setdefault("Successful", []).append(stranger)

        turn.edits.append(add)


@dataclass(slots=True, frozen=True)
class Reorder:
    """The answer's entries stand in another order than the batch's."""

    def __call__(self, turn: Turn) -> None:
        def reorder(reply: Reply) -> None:
            for name in _LISTS:
                if name in reply.document:
                    reply.document[name] = _deranged(reply.document[name])

        turn.edits.append(reorder)


def _deranged(results: list[Document]) -> list[Document]:
    """Backwards, then turned by one: with three or more, hardly any result stands where it stood."""
    backwards = results[::-1]
    return backwards[1:] + backwards[:1] if len(results) > 2 else backwards  # noqa: PLR2004 - two can only swap


@dataclass(slots=True, frozen=True)
class Contradict:
    """Some entries are applied and stand in both lists, as successful and as failed.

    Attributes:
        positions: which, by their place in the batch, from 0.
        code: the `Code` under `Failed`.
        sender_fault: the `SenderFault` under `Failed`.
    """

    positions: Collection[int] = (0,)
    code: str = "InternalError"
    sender_fault: bool = False

    def __call__(self, turn: Turn) -> None:
        ids = _ids_at(turn, self.positions)

        def contradict(reply: Reply) -> None:
            told = [result["Id"] for result in reply.document.get("Successful", []) if result["Id"] in ids]
            failed = [{"Id": entry_id, "SenderFault": self.sender_fault, "Code": self.code} for entry_id in told]
            if failed:
                reply.document.setdefault("Failed", []).extend(failed)

        turn.edits.append(contradict)


def _ids_at(turn: Turn, positions: Collection[int]) -> set[str]:
    return {entry.get("Id", "") for position, entry in enumerate(turn.request.entries) if position in positions}
