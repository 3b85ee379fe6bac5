"""How long a thread still waits. Its callers have no event loop, so this is the one clock of the core's own."""

from __future__ import annotations

import math
import time
from typing import final

from sinkwell.core._errors import ConfigError


@final
class Deadline:
    """A moment up to which a thread waits, however many waits it takes.

    Args:
        timeout: seconds from now; `None` for as long as it takes.
    """

    def __init__(self, timeout: float | None) -> None:
        if timeout is not None and not (timeout >= 0 and math.isfinite(timeout)):
            raise ConfigError(f"timeout ({timeout!r}) must be a number of seconds, not negative, or None")
        self.timeout = timeout
        self._at = None if timeout is None else time.monotonic() + timeout

    def left(self) -> float | None:
        """Seconds that are left, not below 0; `None` for no end."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())
