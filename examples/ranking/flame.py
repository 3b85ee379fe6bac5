"""Draws where the service's processor time goes, before and after: `benchmarks/results/ranking_flames.png`.

    .venv/bin/python -m examples.ranking.flame

py-spy looks at the worker two hundred times a second while customers come. The shares that it sees are drawn as parts
of the processor time that the kernel counts for each request.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from examples.async_batcher.load import Service
from examples.ranking.customers import rush
from examples.ranking.shop import open_shop
from tests.servers import RedisServer

PY_SPY = str(Path(sys.executable).with_name("py-spy"))
FLAMES = Path(__file__).parents[2] / "benchmarks" / "results" / "ranking_flames.png"
RATE, SAMPLES, SECONDS = 150, 200, 20
TITLES = {"/question": "the question's code", "/rank": "batched"}
WEB = "FastAPI, uvicorn"
# A package is one frame, whatever happens in it; asyncio is not drawn, it is under everything.
PACKAGES = {
    **dict.fromkeys(("uvicorn", "fastapi", "starlette", "pydantic"), WEB),
    "redis": "redis-py",
    "numpy": "numpy",
    "json": "json",
    "onnxruntime": "model",
    "core": "@batched",
}
COLOURS = {
    "redis-py": "#cf5b56",
    "numpy": "#c2539c",
    "json": "#d1741d",
    "model": "#8250df",
    "@batched": "#1f6feb",
    WEB: "#afb8c1",
}
OURS = {"service.py", "question.py", "ranker.py"}
OUR_COLOUR = "#57ab5a"

Stack = tuple[str, ...]


def sample(served: Service, endpoint: str) -> dict[Stack, float]:
    """Milliseconds of the processor for each request, by what took them."""
    rush(served, endpoint, RATE, 2)  # warms up
    with tempfile.NamedTemporaryFile(suffix=".txt") as raw:
        words = [PY_SPY, "record", "--pid", str(served.pid), "--rate", str(SAMPLES), "--duration", str(SECONDS)]
        words += ["--function", "--format", "raw", "--output", raw.name]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as spy:
            seen = rush(served, endpoint, RATE, SECONDS + 1)
            assert spy.wait(30) == 0, "py-spy could not look at the service: in most places it has to be root"
        counts = folded(Path(raw.name).read_text())
    return {stack: seen.cpu_ms * count / counts.total() for stack, count in sorted(counts.items())}


def folded(text: str) -> Counter[Stack]:
    """Read py-spy's stacks: a line each, frames from the outside in, and how often it was seen."""
    stacks: Counter[Stack] = Counter()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if "_worker (" not in frames.rpartition(";")[2]:  # a thread that waits for work
            stacks[_short(frames.split(";"))] += int(count)
    return stacks


def _short(frames: list[str]) -> Stack:
    short: list[str] = []
    for frame in frames:
        function, _, place = frame.rstrip(")").partition(" (")
        file = Path(place.partition(":")[0])
        name = PACKAGES.get(file.parts[0] if file.parts else "")
        if name is None and file.name in OURS:
            name = next(part for part in reversed(function.split(".")) if not part.startswith("<"))
        if name is not None and short[-1:] != [name]:
            short.append(name)
    return tuple(short)


def draw(ax: Axes, stacks: dict[Stack, float], widest: float) -> None:
    """Draw one flame graph, as wide as what it costs."""
    _draw_above(ax, list(stacks.items()), 0, 0.0, widest)
    ax.set(xlim=(0, widest), ylim=(0, max(map(len, stacks))), yticks=[], xlabel="ms of the processor for each request")
    ax.spines[["top", "right", "left"]].set_visible(False)


def _draw_above(ax: Axes, stacks: list[tuple[Stack, float]], depth: int, left: float, widest: float) -> None:
    by_frame: dict[str, list[tuple[Stack, float]]] = {}
    for stack, width in stacks:
        if len(stack) > depth:
            by_frame.setdefault(stack[depth], []).append((stack, width))
    for frame, above in by_frame.items():
        width = sum(width for _, width in above)
        colour = COLOURS.get(frame, OUR_COLOUR)
        ax.barh(depth, width, 0.94, left, align="edge", color=colour, edgecolor="white", linewidth=0.4)
        if width > 0.008 * widest * len(frame):
            ax.text(left + width / 2, depth + 0.45, frame, ha="center", va="center", fontsize=7)
        _draw_above(ax, above, depth + 1, left, widest)
        left += width


def main() -> None:
    """Look at both, and draw them on one scale."""
    with RedisServer.start() as server, open_shop(server) as served:
        flames = {endpoint: sample(served, endpoint) for endpoint in TITLES}
    costs = {endpoint: sum(stacks.values()) for endpoint, stacks in flames.items()}
    figure, axes = plt.subplots(len(flames), 1, figsize=(11, 6), layout="constrained")
    for ax, (endpoint, stacks) in zip(axes, flames.items(), strict=True):
        draw(ax, stacks, max(costs.values()))
        ax.set_title(f"{TITLES[endpoint]}: {costs[endpoint]:.2f} ms a request", fontsize=10)
    figure.savefig(FLAMES, dpi=110, metadata={"Software": None})
    print(*(f"{TITLES[endpoint]}: {cost:.2f} ms a request" for endpoint, cost in costs.items()), sep="\n")


if __name__ == "__main__":
    main()
