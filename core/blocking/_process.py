"""What the process does to the threads of blocking fronts: it is forked, and it ends.

Before: the first use of a front. After: `Front.forget_parent`; or `settle_at_exit`, and then `close_at_exit`.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    class Running(Protocol):
        """A front whose thread runs."""

        def forget_parent(self) -> object:
            """Let go of a thread that exists in the parent only; give what must not be finalized here."""
            ...

        def settle_at_exit(self) -> Callable[[], None]:
            """Begin to deliver what is pending; give what waits for it."""
            ...

        def close_at_exit(self) -> Callable[[], None]:
            """Begin to close; give what waits for it and tells what was not delivered."""
            ...


class _Process:
    """This process: a forked one is another, and has none of its parent's threads."""

    def __init__(self) -> None:
        self.identity = object()
        # Strong: a front that its owner dropped is drained all the same.
        self.fronts: dict[Running, None] = {}
        # The parent's loops and connections. Finalized here, they would close what the parent still uses.
        self.inherited: list[object] = []


_this = _Process()


def current() -> object:
    """Give what is another object in each process."""
    return _this.identity


def enter(front: Running) -> None:
    """Note that the front has a thread."""
    _this.fronts[front] = None


def leave(front: Running) -> None:
    """Note that it has none any more."""
    _this.fronts.pop(front, None)


def in_child() -> None:
    """Make a forked process start anew: the parent's threads, and what they were doing, stay the parent's."""
    _this.identity = object()
    _this.inherited += [front.forget_parent() for front in list(_this.fronts)]
    _this.fronts.clear()


def settle_all() -> None:
    """Deliver what is pending while threads can still be used, before the other threads are waited for."""
    for wait in [front.settle_at_exit() for front in list(_this.fronts)]:
        wait()
    if _ends_without_atexit():
        # But it waits for its threads: the last one of them closes.
        threading.Thread(target=_close_last, name="sinkwell at exit").start()


def _ends_without_atexit() -> bool:
    """Tell whether multiprocessing made this process, and ends it by `os._exit`; the spawned ones end as any other."""
    made_by = sys.modules.get("multiprocessing")
    if made_by is None or made_by.parent_process() is None:
        return False
    return bool(made_by.get_start_method(allow_none=True) != "spawn")


def _close_last() -> None:
    spared = (threading.main_thread(), threading.current_thread())
    # Those may have started others meanwhile.
    while others := [thread for thread in threading.enumerate() if not thread.daemon and thread not in spared]:
        for thread in others:
            thread.join()
    close_all()


def close_all() -> None:
    """Close every front, all at the same time, after every thread but daemons has ended."""
    for wait in [front.close_at_exit() for front in list(_this.fronts)]:
        wait()


def _nothing(*_: Any, **__: Any) -> None:
    """Stand in for what a platform lacks."""


getattr(os, "register_at_fork", _nothing)(after_in_child=in_child)
atexit.register(close_all)
# Before `atexit`, Python ends all executors, and with them what clients resolve host names with. No public hook comes
# earlier; without this one, only a connection that is open already can still deliver.
getattr(threading, "_register_atexit", _nothing)(settle_all)
