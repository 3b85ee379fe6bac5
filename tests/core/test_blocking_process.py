"""Blocking fronts and the life of a process: it forks, and it ends. Each test runs a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from sinkwell.core import Sink, SinkClosed, batched
from sinkwell.core.blocking import BlockingFunction, BlockingSink, _process
from tests.core.gated import Block, Gated, all_ended

ROOT = Path(__file__).parents[2]
PRELUDE = '''
import atexit, multiprocessing, os, sys, threading, warnings
from concurrent.futures import ThreadPoolExecutor
warnings.filterwarnings("ignore", message=".*multi-threaded.*", category=DeprecationWarning)
from sinkwell.core import Policy, Sink, SinkClosed, batched
from sinkwell.core.blocking import BlockingFunction, BlockingSink
from tests.core.gated import Gated

class Telling(Gated):
    async def write(self, batch):
        answer = await super().write(batch)
        os.write(1, "".join(f"{os.getpid() == parent} wrote {record}\\n" for record in batch.payloads).encode())
        return answer

parent = os.getpid()
destination = Telling()

def open_at_the_end():
    """Write nothing before the interpreter ends. No public hook comes before that in which a front settles."""
    destination.gate.clear()
    threading._register_atexit(destination.gate.set)

def fork(child, go_on):
    """Run the child's part to its end, while what the parent has begun stays as it is; then go on in the parent."""
    process = os.fork()
    if process == 0:
        child()
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0
    go_on()
'''


def python(script: str, *, fails: bool = False) -> tuple[list[str], str]:
    """Run a script; what it says on stdout, line by line, and on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout.splitlines(), done.stderr


def checked(items: list[int]) -> list[int | Exception]:
    return [item if item >= 0 else ValueError(item) for item in items]


# --- fork ------------------------------------------------------------------------------------------------------------


def test_a_forked_process_makes_its_own_sink_and_the_parents_records_stay_the_parents() -> None:
    said, errors = python(
        """
        sink = BlockingSink(lambda: Sink(destination))
        destination.gate.clear()
        mine = sink.submit("the parent's")

        def child():
            destination.gate.set()
            sink.put("the child's")
            assert sink.stats().delivered == 1

        fork(child, destination.gate.set)
        mine.result(5)
        assert sink.close().delivered == 1
        """
    )
    assert sorted(said) == ["False wrote the child's", "True wrote the parent's"]
    assert errors == ""


def test_what_was_open_at_the_fork_does_not_hang_the_child_and_what_was_answered_is_answered() -> None:
    said, errors = python(
        """
        sink = BlockingSink(lambda: Sink(destination))
        answered = sink.submit("a")
        answered.result(5)
        refused = sink.submit("b")
        destination.gate.clear()
        pending = sink.submit("c")

        def child():
            assert answered.result().record == "a"
            assert answered.exception() is None
            for ask in (pending.result, pending.exception):
                try:
                    print(ask())
                except SinkClosed as error:
                    print(error)
            print(pending.cancel())

        fork(child, destination.gate.set)
        pending.result(5)
        """
    )
    told = "this process was forked while the delivery was open; its record stayed with the parent"
    assert [line for line in said if "wrote" not in line] == [told, told, "False"]
    assert sorted(line for line in said if "wrote" in line) == [f"True wrote {record}" for record in "abc"]
    assert errors == ""


def test_a_process_of_multiprocessing_delivers_what_it_accepted_before_it_ends() -> None:
    said, errors = python(
        """
        sink = BlockingSink(lambda: Sink(destination))
        sink.put("the parent's")

        def work():
            open_at_the_end()
            sink.submit("the child's")

        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
        """
    )
    assert said == ["True wrote the parent's", "False wrote the child's"]
    assert errors == ""


def test_what_a_process_of_multiprocessing_could_not_deliver_in_time_is_counted_though_it_ends_without_atexit() -> None:
    said, errors = python(
        """
        sink = BlockingSink(lambda: Sink(destination), exit_timeout=0)

        def work():
            destination.gate.clear()
            sink.submit("the child's")
            destination.changes.until(lambda: destination.batches == [["the child's"]])

        child = multiprocessing.get_context("fork").Process(target=work)
        child.start()
        child.join()
        assert child.exitcode == 0
        """
    )
    assert said == []
    assert "at exit, 1 accepted records were not delivered: 0 NOT_WRITTEN, 1 UNKNOWN" in errors


def test_a_function_is_called_in_a_forked_process() -> None:
    said, errors = python(
        """
        pids = BlockingFunction(batched()(lambda items: [os.getpid() for _ in items]))
        assert pids(1) == parent
        if os.fork() == 0:
            assert pids(1) == os.getpid() != parent
            print("called")
        else:
            os.wait()
        """
    )
    assert said == ["called"]
    assert errors == ""


@pytest.mark.parametrize(
    "begin",
    [
        pytest.param("sink.open()", id="opens_the_sink"),
        # Its lock stayed held in the child, for ever: only fronts that had begun to open got a new one.
        pytest.param("with sink._locked(Deadline(None)): hold()", id="holds_the_lock_of_a_sink_without_a_thread"),
    ],
)
def test_a_fork_while_another_thread_does_not_hang_the_child(begin: str) -> None:
    said, _ = python(
        f"""
        from sinkwell.core.blocking._deadline import Deadline
        from tests.core.gated import Block
        sink = BlockingSink(lambda: Sink(destination))
        destination.door.clear()
        hold = Block()

        def begin():
            {begin}

        def child():
            destination.door.set()
            sink.put("the child's", timeout=5)

        def go_on():
            hold.end()
            destination.door.set()
            sink.put("the parent's")

        threading.Thread(target=begin).start()
        {"hold.begun()" if "hold" in begin else "destination.changes.until(lambda: destination.is_opening)"}
        fork(child, go_on)
        """
    )
    assert sorted(said) == ["False wrote the child's", "True wrote the parent's"]


def test_what_a_fork_does_is_done_to_every_front_that_has_a_thread() -> None:
    block = Block()
    function: BlockingFunction[int, int] = BlockingFunction(
        batched()(lambda items: checked(items) if any(items) else block())
    )
    good, bad = function.submit(1), function.submit(-1)
    assert (good.result(5), type(bad.exception(5))) == (1, ValueError)
    pending = function.submit(0)
    thread = function._thread
    assert thread is not None
    _process.in_child()
    try:
        assert function._thread is None
        assert (good.result(), good.exception(), type(bad.exception())) == (1, None, ValueError)
        with pytest.raises(SinkClosed, match="stayed with the parent"):
            pending.result(5)
        assert (type(pending.exception(5)), pending.cancel()) == (SinkClosed, False)
    finally:
        block.end()
        thread.stop()
        thread.join(5)
        _process._this.inherited.clear()


# --- exit ------------------------------------------------------------------------------------------------------------


def test_what_was_accepted_is_delivered_when_the_interpreter_ends() -> None:
    said, errors = python(
        """
        sink = BlockingSink(lambda: Sink(destination))
        open_at_the_end()
        sink.submit("a")
        """
    )
    assert said == ["True wrote a"]
    assert errors == ""


def test_a_sink_that_still_has_to_look_up_its_host_is_drained_when_the_interpreter_ends() -> None:
    said, errors = python(
        """
        import asyncio

        class LooksUp(Telling):
            async def write(self, batch):
                await self.gate.passed()
                await asyncio.get_running_loop().getaddrinfo("localhost", 80)
                return await super().write(batch)

        destination = LooksUp()
        open_at_the_end()
        BlockingSink(lambda: Sink(destination)).submit("a")
        """
    )
    assert said == ["True wrote a"]
    assert errors == ""


def test_threads_that_outlive_the_main_thread_can_still_put() -> None:
    said, errors = python(
        """
        sink = BlockingSink(lambda: Sink(destination))
        sink.put("a")
        threading.Thread(target=lambda: (threading.main_thread().join(), sink.submit("b"))).start()
        """
    )
    assert said == ["True wrote a", "True wrote b"]
    assert errors == ""


def test_what_could_not_be_delivered_in_time_is_told_at_exit() -> None:
    said, errors = python(
        """
        sink = BlockingSink(lambda: Sink(destination, Policy(max_records=1, concurrency=1)), exit_timeout=0)
        destination.gate.clear()
        sink.submit("a")
        sink.submit("b")
        destination.changes.until(lambda: destination.batches == [["a"]])
        """
    )
    assert said == []
    assert "at exit, not all that was accepted has its outcome after 0.0 s" in errors
    assert "at exit, 2 accepted records were not delivered: 1 NOT_WRITTEN, 1 UNKNOWN" in errors


def test_a_call_that_waits_in_a_daemon_thread_is_answered_at_exit() -> None:
    said, errors = python(
        """
        has_begun, has_told = threading.Event(), threading.Event()

        async def slow(items):
            has_begun.set()
            await destination.gate.passed()
            return items

        def ask():
            print(call("answered"), flush=True)
            has_told.set()

        open_at_the_end()
        # After the fronts have settled: Python waits for no daemon.
        atexit.register(has_told.wait, 10)
        call = BlockingFunction(batched()(slow))
        threading.Thread(target=ask, daemon=True).start()
        has_begun.wait(10)
        """
    )
    assert said == ["answered"]
    assert errors == ""


def test_a_script_that_fails_is_drained_too() -> None:
    said, errors = python(
        """
        sink = BlockingSink(lambda: Sink(destination))
        open_at_the_end()
        sink.submit("a")
        raise LookupError("the script's own")
        """,
        fails=True,
    )
    assert said == ["True wrote a"]
    assert errors.endswith("LookupError: the script's own\n")


def test_at_exit_every_front_is_settled_and_then_closed_and_a_closed_one_is_left_alone() -> None:
    destination = Gated()
    sink: BlockingSink[Any, Any] = BlockingSink(lambda: Sink(destination))
    function: BlockingFunction[int, int] = BlockingFunction(batched()(list[int]))
    assert (sink.submit("a").result(5).record, function(1)) == ("a", 1)
    calls = [function.submit(number) for number in range(3)]

    _process.settle_all()
    assert [call.done() for call in calls] == [True, True, True]
    _process.settle_all()
    function.close()
    _process.close_all()
    _process.settle_all()
    for front in (sink, function):
        front.settle_at_exit()()
        front.close_at_exit()()

    assert destination.was_closed
    with pytest.raises(SinkClosed):
        sink.put("too late")
    all_ended()
    assert threading.active_count() == 1


def test_in_a_process_of_multiprocessing_the_last_thread_closes_and_the_others_can_put_until_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    destination = Gated()
    sink: BlockingSink[Any, Any] = BlockingSink(lambda: Sink(destination))
    sink.put("a")
    block = Block()
    threading.Thread(target=block).start()
    block.begun()
    _process.settle_all()
    assert sink.put("b").record == "b"
    block.end()
    all_ended()
    assert destination.was_closed


def test_a_process_that_was_spawned_closes_at_exit_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda **_: "spawn")
    with BlockingSink(lambda: Sink(Gated())) as sink:
        _process.settle_all()
        assert threading.active_count() == 2
        assert sink.put("a").record == "a"


def test_a_loop_that_is_blocked_at_exit_is_told_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sinkwell.core.blocking._front._PATIENCE", 0)
    destination = Gated()
    destination.blocks = block = Block()
    sink: BlockingSink[Any, Any] = BlockingSink(lambda: Sink(destination), exit_timeout=0)
    sink.submit("a")
    block.begun()

    _process.settle_all()
    _process.close_all()

    assert "at exit, its loop's thread is blocked; 1 calls have no outcome" in caplog.text
    monkeypatch.undo()
    block.end()
    sink.close()


def test_a_thread_that_has_ended_meanwhile_is_nothing_to_wait_for_at_exit() -> None:
    sink: BlockingSink[Any, Any] = BlockingSink(lambda: Sink(Gated(is_open=False)))
    sink.submit("a")
    settle, close = sink.settle_at_exit(), sink.close_at_exit()
    thread = sink._thread
    assert thread is not None
    thread.stop()
    thread.join(5)

    settle()
    close()
    sink.settle_at_exit()()
    sink.close_at_exit()()
    _process.leave(sink)


def test_a_platform_without_fork_can_import_it() -> None:
    said, _ = python(
        """
        import importlib
        del os.register_at_fork
        from sinkwell.core.blocking import _process
        importlib.reload(_process)
        print("fine")
        """
    )
    assert said == ["fine"]
    assert hasattr(os, "register_at_fork")
