"""What the benchmarks share: fair rounds, the report they print, and the files they leave in `benchmarks/results/`."""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from matplotlib.axes import Axes

# What was imported is not walked again while something is measured.
gc.collect()
gc.freeze()

RESULTS = Path(__file__).parent / "results"
# Ours, the peers we compare with, and what can't be beaten; the same in every plot.
OURS, PEER, FLOOR = "#1f6feb", "#d1741d", "#6e7781"


def is_quick(description: str | None) -> bool:
    """Read the command line: `--quick` or nothing."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the work, for a first look; prints, and leaves results/ alone"
    )
    return bool(parser.parse_args().quick)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def percentile(values: Iterable[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def interleaved(rounds: int, contenders: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Run the contenders in turn, A B C A B C, so that a noisy neighbour hits all of them; what each returns, by round.

    The first round warms up and does not count.
    """
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            gc.collect()
            figure = run()
            if number:
                figures[name].append(figure)
    return figures


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the rounds' own ratios: each round is compared with its neighbour only."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


@dataclass(slots=True)
class Report:
    """Collects tables, targets and plots; `finish` prints and writes them."""

    name: str
    title: str
    is_quick: bool
    _lines: list[str] = field(default_factory=list[str])
    _targets: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    _plots: list[Callable[[Axes], None]] = field(default_factory=list["Callable[[Axes], None]"])
    _pictures: dict[str, list[Callable[[Axes], None]]] = field(
        default_factory=dict[str, "list[Callable[[Axes], None]]"]
    )

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *notes: str) -> None:
        self._lines += ["", title, *_aligned([columns, *rows]), *notes]

    def at_least(self, what: str, figure: float, target: float, unit: str = "x") -> None:
        self._judge(what, f"{figure:,.3g} {unit}", f">= {target:g} {unit}", is_reached=figure >= target)

    def at_most(self, what: str, figure: float, target: float, unit: str) -> None:
        self._judge(what, f"{figure:,.3g} {unit}", f"<= {target:g} {unit}", is_reached=figure <= target)

    def plot(self, draw: Callable[[Axes], None]) -> None:
        self._plots.append(draw)

    def picture(self, name: str) -> None:
        """Have the plots since the last picture drawn by themselves too: a page shows what is of its own."""
        start = sum(len(plots) for plots in self._pictures.values())
        self._pictures[name] = self._plots[start:]

    def finish(self) -> None:
        """Print the report; unless it is a quick one, write it and its plots too."""
        heading = [self.title, _machine()]
        targets = ["", "Targets", *_aligned([("what", "measured", "target", ""), *self._targets])]
        text = "\n".join([*heading, *self._lines, *targets, ""])
        print(text)
        if self.is_quick:
            print("A quick look: benchmarks/results/ keeps what the last full run wrote.")
            return
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.txt").write_text(text)
        for name, plots in {self.name: self._plots, **self._pictures}.items():
            self._draw(RESULTS / f"{name}.png", plots)
        print(f"Written to benchmarks/results/{self.name}.txt and .png")

    def _judge(self, what: str, figure: str, target: str, *, is_reached: bool) -> None:
        self._targets.append((what, figure, target, "reached" if is_reached else "NOT REACHED"))

    def _draw(self, path: Path, plots: Sequence[Callable[[Axes], None]]) -> None:
        figure, axes = plt.subplots(1, len(plots), figsize=(5.2 * len(plots), 4), layout="constrained")
        for draw, ax in zip(plots, axes if len(plots) > 1 else [axes], strict=True):
            draw(ax)
            ax.spines[["top", "right"]].set_visible(False)
        if plots is self._plots:
            figure.suptitle(self.title)
        # Without its own metadata: the file changes only when the picture does.
        figure.savefig(path, dpi=110, metadata={"Software": None})
        plt.close(figure)


def bars(title: str, unit: str, figures: dict[str, tuple[float, str]]) -> Callable[[Axes], None]:
    """Draw one bar a contender, labelled with its figure; the first on top."""

    def draw(ax: Axes) -> None:
        names = list(figures)[::-1]
        drawn = ax.barh(names, [figures[name][0] for name in names], color=[figures[name][1] for name in names])
        ax.bar_label(drawn, fmt="{:,.0f}", padding=3)
        ax.margins(x=0.15)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel(unit)

    return draw


def _aligned(rows: Sequence[Sequence[object]]) -> list[str]:
    """The first column to the left, figures to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  "
        + "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _machine() -> str:
    """Say where it ran, without a date: a new run of the same speed makes no difference to the file."""
    cpu = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = models[0] if models else cpu
    return (
        f"{cpu}, {os.cpu_count()} cores; {platform.system()}, {platform.python_implementation()} "
        f"{platform.python_version()}.\nRatios are medians of interleaved rounds; absolute figures are this machine's."
    )
