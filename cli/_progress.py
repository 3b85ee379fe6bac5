"""What a person sees meanwhile: a bar on a terminal, a line every few seconds elsewhere. Before: the pipe."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sinkwell.core import SinkStats

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ._pipe import Pipe

_BAR_EVERY: Final = 0.1
_LINE_EVERY: Final = 5.0
# The rate that is shown is that of the last so many seconds: a stall must show.
_RATE_OVER: Final = 5.0
_SMALL_BYTES: Final = 100_000


class Progress:
    """Shows a pipe's counters until it is cancelled.

    Args:
        pipe: whose.
        title: what goes where.
        console: a terminal gets a bar.
        line_every: seconds between two lines where there is no terminal.
    """

    def __init__(self, pipe: Pipe, title: str, console: Console, *, line_every: float = _LINE_EVERY) -> None:
        self._pipe = pipe
        self._title = title
        self._console = console
        self._line_every = line_every
        self._samples: deque[tuple[float, int]] = deque()

    async def run(self) -> None:
        """Show until cancelled; a bar is wiped away then."""
        self._rate(0)
        if not self._console.is_terminal:
            while True:
                await asyncio.sleep(self._line_every)
                self._console.print(Text(self.line()), soft_wrap=True)
        # Drawn by this task: rich's own thread would fight with the loop's for the interpreter.
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(self._bar(), refresh=True)
                await asyncio.sleep(_BAR_EVERY)

    def line(self) -> str:
        """Give all counters in one line."""
        return f"{self._title}: {', '.join(self._counters())}"

    def _counters(self) -> list[str]:
        stats = self._pipe.stats() or SinkStats()
        return [
            f"{stats.delivered:,} records",
            f"{self._rate(stats.delivered):,.0f}/s",
            f"{stats.requests:,} requests",
            f"{stats.retries:,} retries",
            f"{stats.requests_in_flight:,} in flight",
            f"{self._pipe.letters.total:,} dead",
        ]

    def _rate(self, delivered: int) -> float:
        now = asyncio.get_running_loop().time()
        samples = self._samples
        samples.append((now, delivered))
        while len(samples) > 1 and now - samples[1][0] > _RATE_OVER:
            samples.popleft()
        seconds = now - samples[0][0]
        return (delivered - samples[0][1]) / seconds if seconds else 0.0

    def _bar(self) -> RenderableType:
        source = self._pipe.source
        lines = Table.grid(expand=True)
        # Room for the ^C that the terminal echoes: it must not wrap, or the bar could not be wiped away.
        lines.width = max(20, self._console.width - 8)
        lines.add_column()
        lines.add_row(Text(self._title, style="bold", no_wrap=True, overflow="ellipsis"))
        if source.size:
            gauge = Table.grid(expand=True, padding=(0, 1))
            gauge.add_column(ratio=1)
            gauge.add_column(justify="right", no_wrap=True)
            share = min(1.0, source.bytes_read / source.size)
            gauge.add_row(
                ProgressBar(total=1.0, completed=share),
                f"{share:4.0%} of {_megabytes(source.size)} read",
            )
            lines.add_row(gauge)
        counters = Text("  ").join(_styled(counter) for counter in self._counters())
        lines.add_row(counters)
        if self._pipe.stopped is not None:
            lines.add_row(
                Text(f"{self._pipe.stopped}; delivering what was read (once more: give up now)", style="yellow")
            )
        return lines


def _styled(counter: str) -> Text:
    figure, _, word = counter.rpartition(" ")
    if not figure:
        return Text(counter, style="cyan")
    is_bad = word == "dead" and figure != "0"
    return Text.assemble((figure, "bold red" if is_bad else "bold"), " ", (word, "dim"))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= _SMALL_BYTES else f"{size:,} bytes"
