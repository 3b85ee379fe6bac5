"""What the demo shows, and the command that it runs: the one that users have."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

CONSOLE = Console(highlight=False, emoji=False)


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended."""

    code: int
    seconds: float


def heading(number: int, text: str) -> None:
    """Begin a part."""
    CONSOLE.print()
    CONSOLE.rule(f"[bold]{number}. {text}", align="left")


def say(text: str) -> None:
    """Say something."""
    CONSOLE.print(text, soft_wrap=not CONSOLE.is_terminal)


def check(claim: str, *, holds: bool) -> bool:
    """Say whether a claim holds; every one of them counts for the verdict."""
    CONSOLE.print(Text.assemble(("  ✓ " if holds else "  ✗ ", "bold green" if holds else "bold red"), claim))
    return holds


async def sinkwell(*arguments: str, cwd: Path, env: Mapping[str, str]) -> Ran:
    """Run `sinkwell` as a user would, on this terminal; settings of the user's own don't count."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SINKWELL_", "AWS_"))}
    CONSOLE.print(Text(f"\n$ sinkwell {shlex.join(arguments)}", style="bold cyan"))
    sys.stdout.flush()
    began = time.monotonic()
    program = Path(sys.executable).with_name("sinkwell")
    process = await asyncio.create_subprocess_exec(program, *arguments, cwd=cwd, env={**kept, **env})
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
    return Ran(code, time.monotonic() - began)
