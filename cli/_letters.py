"""What was not delivered, a JSON line each. Before: the pipe. After: a file that can be mended and sent again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Self

from sinkwell.core import ConfigError, DeliveryError, SinkwellError

if TYPE_CHECKING:
    from pathlib import Path

SHOWN: Final = 5
"""How many letters are kept to be shown at the end."""


@dataclass(slots=True, frozen=True)
class Letter:
    """A line that was not delivered.

    Attributes:
        line: its number in the input, from 1.
        reason: `unreadable`, `invalid`, `rejected`, `expired`, `superseded`, `abandoned`, `unknown` or `interrupted`.
        outcome: `not_written`, or `unknown` if it may have arrived all the same.
        attempts: how many requests carried it.
        error: why, in words.
        record: as it was in the input; a line that is no record, as text.
    """

    line: int
    reason: str
    outcome: str
    attempts: int
    error: str
    record: Any

    @classmethod
    def unsent(cls, line: int, reason: str, error: str, record: Any) -> Self:
        """Make the letter of a line that was never accepted."""
        return cls(line, reason, "not_written", 0, error, record)

    @classmethod
    def of(cls, line: int, error: SinkwellError, record: Any) -> Self:
        """Make the letter of a record that was put."""
        if not isinstance(error, DeliveryError):
            return cls.unsent(line, "invalid", str(error), record)
        cause = error.__cause__
        words = str(error) if cause is None or str(cause) in str(error) else f"{error}: {cause}"
        return cls(line, error.reason, error.outcome.value, error.attempts, words, record)


class Letters:
    """Counts every letter, writes each down if there is a file, and keeps the first few to show.

    Attributes:
        by_reason: how many there were.
        first: the first few.
        unwritten: how many the file did not take.
        problem: why it did not.

    Raises:
        ConfigError: the file can't be written, or holds letters of another run.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.by_reason: Counter[str] = Counter()
        self.first: list[Letter] = []
        self.unwritten = 0
        self.problem: str | None = None
        self._file = None if path is None else _opened(path)

    @property
    def total(self) -> int:
        """How many records were not delivered."""
        return self.by_reason.total()

    def add(self, letter: Letter) -> None:
        """Take a letter; `problem` says if the file did not."""
        self.by_reason[letter.reason] += 1
        if len(self.first) < SHOWN:
            self.first.append(letter)
        if self._file is None:
            return
        try:
            if self.problem is None:
                self._file.write(json.dumps(asdict(letter), default=str) + "\n")
                self._file.flush()
                return
        except OSError as error:
            self.problem = f"can't write to {self.path}: {error.strerror or error}"
        self.unwritten += 1

    def close(self) -> None:
        """Let go of the file."""
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as error:
            self.problem = self.problem or f"can't write to {self.path}: {error.strerror or error}"


def _opened(path: Path) -> IO[str]:
    try:
        if path.is_file() and path.stat().st_size:
            raise ConfigError(f"{path} is not empty: dead letters go to a file of their own, so name another")
        return path.open("w", encoding="ascii")
    except OSError as error:
        raise ConfigError(f"can't write dead letters to {path}: {error.strerror or error}") from error
