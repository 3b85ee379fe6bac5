"""What is told in the end: a verdict in one sentence, the figures behind it, and the exit code. Before: the pipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

    from sinkwell.core import SinkStats

    from ._letters import Letters
    from ._pipe import Pipe

ALL_DELIVERED: Final = 0
SOME_DEAD: Final = 1
SETUP_WRONG: Final = 2
INTERRUPTED: Final = 130


@dataclass(slots=True, frozen=True, kw_only=True)
class Summary:
    """How a run ended.

    Attributes:
        pipe: what ran.
        stats: the sink's last counters.
        seconds: from the first record to the last outcome.
        signal: the number of the signal that ended it early; 0 if none did.
    """

    pipe: Pipe
    stats: SinkStats
    seconds: float
    signal: int = 0

    @property
    def exit_code(self) -> int:
        """All delivered / some dead / interrupted."""
        if self.signal:
            return 128 + self.signal
        return SOME_DEAD if self.pipe.letters.total or self.pipe.stopped else ALL_DELIVERED

    def verdict(self) -> str:
        """Say it in a sentence."""
        pipe, dead = self.pipe, self.pipe.letters.total
        words = [_delivered(pipe.read, pipe.delivered, dead)]
        if pipe.stopped is not None:
            words.append(f"{pipe.stopped}.".replace("..", "."))
            if pipe.source.is_replayable:
                words.append(f"The last line that was read is {pipe.last_line:,}.")
        if dead:
            words.append(_where(pipe.letters))
        return " ".join(words)

    def print(self, console: Console, errors: Console) -> None:
        """Print the figures and the verdict; dead letters that went to no file are shown, the first few of them."""
        letters = self.pipe.letters
        console.print(self._table())
        is_good = self.exit_code == ALL_DELIVERED
        console.print(
            Text(self.verdict(), style="bold green" if is_good else "bold red"), soft_wrap=not console.is_terminal
        )
        if letters.total and (letters.path is None or letters.problem):
            for letter in letters.first:
                told = f"line {letter.line}: {letter.reason}: {letter.error}"
                errors.print(Text(told), soft_wrap=not errors.is_terminal)
            if letters.total > len(letters.first):
                errors.print(Text(f"and {letters.total - len(letters.first):,} more"))

    def _table(self) -> Table:
        pipe, stats = self.pipe, self.stats
        average = stats.records_sent / stats.requests if stats.requests else 0.0
        rate = pipe.delivered / self.seconds if self.seconds else 0.0
        rows: list[tuple[str, str]] = [
            ("records read", f"{pipe.read:,}"),
            ("delivered", f"{pipe.delivered:,}"),
            ("dead", f"{pipe.letters.total:,}"),
            *((f"  {reason}", f"{count:,}") for reason, count in sorted(pipe.letters.by_reason.items())),
            ("requests", f"{stats.requests:,}"),
            ("average batch", f"{average:,.1f}"),
            ("retries", f"{stats.retries:,}"),
            ("throttles", f"{stats.throttles:,}"),
            ("seconds", f"{self.seconds:,.1f}"),
            ("records a second", f"{rate:,.0f}"),
        ]
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column(justify="right")
        for name, figure in rows:
            style = "bold red" if name == "dead" and pipe.letters.total else None
            table.add_row(name, figure, style=style)
        return table


def _delivered(read: int, delivered: int, dead: int) -> str:
    if not read:
        return "There was no record in the input."
    if not dead:
        return f"All {read:,} records were delivered." if read > 1 else "The one record was delivered."
    return f"{dead:,} of {read:,} records {'was' if dead == 1 else 'were'} not delivered, {delivered:,} were."


def _where(letters: Letters) -> str:
    if letters.problem is not None:
        return f"{letters.unwritten:,} dead letters are in no file: {letters.problem}."
    if letters.path is not None:
        return f"They are in {letters.path}, each with its line and its reason."
    return "They were not kept: use --dead-letters FILE to keep them."
