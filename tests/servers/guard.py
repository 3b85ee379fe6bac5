"""Stands between a test run and one server, so that nothing of the server outlives the run.

Runs as a program of its own: `guard.py FOLDER USER COMMAND…`. Standard input is the lifeline, whose other end the
test run holds and never writes to: when it closes, because the run stopped the server or because the run died in
whatever way (SIGKILL too), the guard kills every process below it and removes the folder.
A process that turns itself into a daemon stays below the guard, which has made itself their subreaper.
Linux only; needs nothing but the standard library.
"""

import ctypes
import os
import pwd
import select
import shutil
import signal
import sys
import time
from pathlib import Path

# From linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def processes_below(ancestor: int) -> list[int]:
    """Every living process that descends from `ancestor`, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent_of(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found = [ancestor]
    for pid in found:
        found.extend(children.get(pid, []))
    return found[1:]


def _parent_of(entry: Path) -> int | None:
    try:
        # The name in brackets may hold anything, so count from its closing bracket: state, then parent.
        state, parent, *_ = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(parent)


def send_signal(pids: list[int], number: signal.Signals) -> None:
    """Signal each process; one that has gone meanwhile is no error."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _become(user: str, command: list[str]) -> None:
    """In the forked child: turn into the server; it dies with the guard even if the guard is killed."""
    try:
        os.setpgid(0, 0)
        if user:
            account = pwd.getpwnam(user)
            os.setgid(account.pw_gid)
            os.initgroups(user, account.pw_gid)
            os.setuid(account.pw_uid)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error}\n".encode())
        os._exit(127)


def _kill_everything_below() -> None:
    """Until no child is left: a killed process's own children become ours and are killed in the next round."""
    while True:
        send_signal(processes_below(os.getpid()), signal.SIGKILL)
        try:
            reaped, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not reaped:
            time.sleep(0.005)


def _await_server(server: int, wakeup: int) -> int | None:
    """The server's exit code, or None when the lifeline closed first."""
    while True:
        readable, _, _ = select.select([0, wakeup], [], [])
        if 0 in readable and not os.read(0, 1):
            return None
        if wakeup in readable:
            os.read(wakeup, 512)
        try:
            while (reaped := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                if reaped[0] == server:
                    return os.waitstatus_to_exitcode(reaped[1])
        except ChildProcessError:
            return 0


def main(folder: str, user: str, *command: str) -> int:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wakeup, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    server = os.fork()
    if server == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _become(user, list(command))
    os.write(1, f"{server}\n".encode())
    code = _await_server(server, wakeup)
    _kill_everything_below()
    if code is None:
        shutil.rmtree(folder, ignore_errors=True)
        return 0
    return abs(code)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
