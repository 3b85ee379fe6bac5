"""`BlockingSink`, called from real threads."""

from __future__ import annotations

import asyncio
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import (
    ConfigError,
    DeliveryAbandoned,
    InvalidRecord,
    Observer,
    Policy,
    RecordOrphaned,
    Sink,
    SinkClosed,
    SinkFull,
    SinkStats,
)
from sinkwell.core.blocking import BlockingSink
from sinkwell.core.blocking._deadline import Deadline
from sinkwell.core.blocking._delivery import Delivery
from tests.core.gated import Block, Gated, all_ended
from tests.core.scripted import tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ONE = Policy(max_pending_records=1, max_records=1)


@contextmanager
def blocking(
    destination: Gated | None = None, policy: Policy | None = None, **options: Any
) -> Iterator[BlockingSink[Any, Any]]:
    """A front that is closed at the end without patience, and whose thread then has ended."""
    used = destination or Gated()
    sink: BlockingSink[Any, Any] = BlockingSink(lambda: Sink(used, policy, **options))
    try:
        yield sink
    finally:
        used.gate.set()
        sink.close(timeout=0)
    all_ended()


@contextmanager
def in_the_middle(happens: Callable[[Delivery[Any]], object], *, of: str = "exception") -> Iterator[None]:
    """Have something happen to the main thread when it next waits for an answer (`exception`), or takes it."""
    with pytest.MonkeyPatch.context() as patch:
        whole = getattr(Delivery, of)

        def changed(delivery: Delivery[Any], timeout: float | None = None) -> Any:
            if threading.current_thread() is threading.main_thread():
                patch.undo()
                happens(delivery)
            return whole(delivery, timeout)

        patch.setattr(Delivery, of, changed)
        yield


@contextmanager
def interrupted(when: Callable[[Delivery[Any]], object], *, of: str = "exception") -> Iterator[None]:
    """Ctrl-C, while the main thread waits, and as soon as something has come true."""

    def happens(delivery: Delivery[Any]) -> None:
        when(delivery)
        signal.raise_signal(signal.SIGINT)

    # Python's own handler, which it does not install when it is started in the background of a shell.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), in_the_middle(happens, of=of):
            yield
    finally:
        signal.signal(signal.SIGINT, before)


def is_answered(delivery: Delivery[Any]) -> None:
    assert wait_for([delivery], 10).done


def is_answered_too_late(delivery: Delivery[Any]) -> None:
    is_answered(delivery)
    raise TimeoutError


class Orphans(Observer):
    def __init__(self) -> None:
        self.records: list[Any] = []

    def on_record_orphaned(self, event: RecordOrphaned) -> None:
        self.records.append(event.record)


# --- in --------------------------------------------------------------------------------------------------------------


def test_put_returns_the_receipt() -> None:
    with blocking() as sink:
        assert sink.put("a").record == "a"


def test_puts_of_many_threads_share_batches() -> None:
    destination = Gated(is_open=False)
    with blocking(destination, Policy(concurrency=1)) as sink, ThreadPoolExecutor(21) as threads:
        first = threads.submit(sink.put, 0)
        destination.changes.until(lambda: len(destination.batches) == 1)
        others = [threads.submit(sink.put, number) for number in range(1, 21)]
        destination.changes.until(lambda: destination.asked == 21)
        destination.gate.set()

        assert {delivery.result().record for delivery in [first, *others]} == set(range(21))
        assert [len(batch) for batch in destination.batches] == [1, 20]


def test_a_record_that_cannot_be_encoded_is_refused_in_its_own_thread() -> None:
    with blocking() as sink:
        for act in (sink.put, sink.submit, sink.put_nowait):
            with pytest.raises(InvalidRecord):
                act(Gated.BAD)
        assert sink.put("a").record == "a"


def test_submit_waits_for_room_only() -> None:
    destination = Gated(is_open=False)
    with blocking(destination, ONE) as sink:
        first = sink.submit("a")
        assert not first.done()
        waiting = ThreadPoolExecutor(1).submit(sink.submit, "b")
        destination.changes.until(lambda: destination.asked == 2)
        destination.gate.set()

        assert first.result(5).record == "a"
        assert waiting.result(5).result(5).record == "b"
        assert first.exception(5) is None


def test_deliveries_can_be_waited_for_with_the_standard_library() -> None:
    with blocking() as sink:
        deliveries = [sink.put_nowait(number) for number in range(10)]
        assert {delivery.result().record for delivery in as_completed(deliveries, 5)} == set(range(10))


def test_put_nowait_is_refused_when_there_is_no_room() -> None:
    with blocking(Gated(is_open=False), ONE) as sink:
        sink.put_nowait("a")
        with pytest.raises(SinkFull):
            sink.put_nowait("b")


def test_put_many_reads_the_iterable_in_its_own_thread_and_gives_an_outcome_for_each_record() -> None:
    readers = set()

    def records() -> Iterator[object]:
        for record in ("a", Gated.BAD, "b"):
            readers.add(threading.current_thread())
            yield record

    with blocking() as sink:
        first, second, third = sink.put_many(records())
    assert (first.record, type(second), third.record) == ("a", InvalidRecord, "b")
    assert readers == {threading.current_thread()}


# --- time is up ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["put", "submit"])
def test_a_record_without_room_in_time_was_not_accepted_and_leaves_no_trace(act: str) -> None:
    destination = Gated(is_open=False)
    with blocking(destination, ONE) as sink:
        accepted = sink.submit("a")
        with pytest.raises(SinkFull, match="no room within 0 s; the record was not accepted"):
            getattr(sink, act)("b", timeout=0)
        destination.gate.set()
        accepted.result(5)
        sink.flush()
        assert destination.written == ["a"]


def test_a_record_without_outcome_in_time_is_still_delivered_and_its_outcome_is_the_observers() -> None:
    destination, orphans = Gated(is_open=False), Orphans()
    with blocking(destination, observer=orphans) as sink:
        sink.open()
        with pytest.raises(TimeoutError, match="it was accepted and is still being delivered"):
            sink.put("a", timeout=0)
        destination.gate.set()
        sink.flush()
        assert destination.written == orphans.records == ["a"]


def test_flush_and_put_many_say_so_when_their_time_is_up() -> None:
    destination = Gated(is_open=False)

    def too_late(_: object) -> None:
        destination.changes.until(lambda: destination.asked == 2)
        raise TimeoutError

    with blocking(destination) as sink:
        sink.open()
        with pytest.raises(TimeoutError, match="put_many has not every outcome within 0 s"), in_the_middle(too_late):
            sink.put_many(["a", "b"], timeout=0)
        with pytest.raises(TimeoutError, match="flush: some records have no outcome within 0 s"):
            sink.flush(timeout=0)
        destination.gate.set()
        sink.flush(timeout=5)
        assert destination.written == ["a", "b"]


def test_an_answer_that_comes_at_the_last_moment_is_given() -> None:
    with blocking() as sink, in_the_middle(is_answered_too_late):
        assert sink.put("a", timeout=5).record == "a"


def test_a_thread_that_does_not_answer_is_told_from_a_record_that_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinkwell.core.blocking._blocking_sink.CANCEL_GRACE", 0)
    block = Block()
    with blocking() as sink:
        sink.open()
        assert sink._thread is not None
        sink._thread.post(block)
        block.begun()
        with pytest.raises(TimeoutError, match="whether the record was accepted is not known"):
            sink.put("a", timeout=0)
        block.end()


@pytest.mark.parametrize("is_late", [False, True])
def test_whose_time_is_up_when_the_loop_ends_gets_the_answer_that_there_is(
    is_late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It waited for a loop that had ended, and was told that something on it blocks.
    monkeypatch.setattr("sinkwell.core.blocking._blocking_sink.CANCEL_GRACE", 0)
    with blocking() as sink:
        sink.open()
        thread = sink._thread
        assert thread is not None
        delivery = thread.begin(lambda _: asyncio.get_running_loop().create_future())
        thread.stop()
        thread.join(5)
        if is_late:  # posted, and never run
            monkeypatch.setattr(thread, "post", lambda _: True)
        with pytest.raises(SinkClosed, match="it was closed meanwhile"):
            sink._late(thread, delivery, Deadline(0))
        monkeypatch.undo()


def test_a_timeout_that_is_no_number_of_seconds_is_refused() -> None:
    with blocking() as sink, pytest.raises(ConfigError, match="timeout"):
        sink.put("a", timeout=-1)


# --- interrupted -----------------------------------------------------------------------------------------------------


def test_an_interrupted_put_loses_only_the_answer() -> None:
    destination, orphans = Gated(is_open=False), Orphans()
    with blocking(destination, observer=orphans) as sink:
        with interrupted(lambda _: destination.changes.until(lambda: destination.batches == [["a"]])):
            sink.put("a")
        destination.gate.set()
        sink.flush()
        assert destination.written == orphans.records == ["a"]


def test_an_interrupted_put_without_room_leaves_no_trace() -> None:
    destination = Gated(is_open=False)
    with blocking(destination, ONE) as sink:
        sink.submit("a")
        with interrupted(lambda _: destination.changes.until(lambda: destination.asked == 2)):
            sink.put("b")
        destination.gate.set()
        sink.flush()
        assert destination.written == ["a"]


@pytest.mark.parametrize("act", ["submit", "put_nowait"])
@pytest.mark.parametrize("of", ["exception", "result"])
def test_a_record_whose_delivery_reaches_nobody_is_delivered_and_its_outcome_is_the_observers(
    act: str, of: str
) -> None:
    # Between the wait and the return, the delivery of the record was lost, and nobody at all heard of its outcome.
    destination, orphans = Gated(is_open=False), Orphans()
    with blocking(destination, observer=orphans) as sink:
        with interrupted(is_answered, of=of):
            getattr(sink, act)("a")
        destination.gate.set()
        sink.flush()
        assert destination.written == orphans.records == ["a"]


def test_who_is_interrupted_while_a_late_answer_is_sought_leaves_the_outcome_to_the_observer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupted(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            super().result(timeout)
            raise KeyboardInterrupt

    destination, orphans = Gated(is_open=False), Orphans()
    with blocking(destination, observer=orphans) as sink:
        monkeypatch.setattr("sinkwell.core.blocking._blocking_sink.Future", Interrupted)
        with pytest.raises(KeyboardInterrupt), in_the_middle(is_answered_too_late):
            sink.submit("a", timeout=5)
        destination.gate.set()
        sink.flush()
        assert destination.written == orphans.records == ["a"]


def test_who_is_interrupted_while_it_hands_its_record_over_leaves_the_outcome_to_the_observer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    destination, orphans = Gated(is_open=False), Orphans()
    with blocking(destination, observer=orphans) as sink:
        sink.open()
        thread = sink._thread
        assert thread is not None
        post = thread.post

        def interrupted_post(act: Callable[[], object]) -> bool:
            monkeypatch.undo()
            post(act)
            thread.run(tick).result(5)
            raise KeyboardInterrupt

        monkeypatch.setattr(thread, "post", interrupted_post)
        with pytest.raises(KeyboardInterrupt):
            sink.submit("a")
        destination.gate.set()
        sink.flush()
        assert destination.written == orphans.records == ["a"]


def test_an_interrupted_close_ends_at_once_and_the_rest_has_its_outcome() -> None:
    destination = Gated(is_open=False)
    with blocking(destination) as sink:
        delivery = sink.submit("a")
        thread = sink._thread
        assert thread is not None
        with interrupted(lambda _: thread.run(tick).result(5)):
            sink.close()
        with pytest.raises(DeliveryAbandoned):
            delivery.result(5)
        assert sink.close().unknown == 1


def test_a_cancelled_delivery_is_delivered_and_its_outcome_is_the_observers() -> None:
    destination, orphans = Gated(is_open=False), Orphans()
    with blocking(destination, observer=orphans) as sink:
        delivery = sink.submit("a")
        assert delivery.cancel()
        destination.gate.set()
        sink.flush()
        assert orphans.records == ["a"]


def test_a_submit_given_up_in_the_tick_of_its_acceptance_is_delivered_and_its_outcome_is_the_observers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # InvalidStateError on the loop, and neither the caller nor the observer heard of the record.
    destination, orphans = Gated(is_open=False), Orphans()
    with blocking(destination, ONE, observer=orphans) as sink:
        first = sink.submit("a")
        thread = sink._thread
        assert thread is not None

        def start(own: Delivery[Any]) -> asyncio.Future[Any]:
            handed = sink._submit(thread, "b", own)
            accepted = own._accepted
            assert accepted is not None
            callbacks = [callback for callback, _ in accepted._callbacks]  # type: ignore[attr-defined]
            for callback in callbacks:
                accepted.remove_done_callback(callback)
            accepted.add_done_callback(lambda _: own.withdraw())
            for callback in callbacks:
                accepted.add_done_callback(callback)
            return handed

        second = thread.begin(start)
        destination.changes.until(lambda: destination.asked == 2)
        destination.gate.set()
        first.result(5)
        is_answered(second)
        assert second.cancelled()
        sink.flush()
        assert destination.written == ["a", "b"]
        assert orphans.records == ["b"]
    assert "InvalidStateError" not in caplog.text


def test_a_delivery_that_has_its_outcome_cannot_be_cancelled() -> None:
    with blocking() as sink:
        delivery = sink.submit("a")
        delivery.result(5)
        assert not delivery.cancel()


# --- opening and closing ---------------------------------------------------------------------------------------------


def test_nothing_runs_before_the_first_use() -> None:
    with blocking() as sink:
        assert sink.stats() == SinkStats()
        sink.flush()
        assert "not opened yet" in repr(sink)
        assert threading.active_count() == 1


def test_what_is_wrong_with_the_setup_is_told_to_who_opens_it_and_the_next_use_tries_again() -> None:
    destination = Gated()
    destination.open_error = ConfigError("no such queue")
    with blocking(destination) as sink:
        for _ in range(2):
            with pytest.raises(ConfigError, match="no such queue"):
                sink.open()
        destination.open_error = None
        assert sink.put("a").record == "a"


def test_what_does_not_make_a_sink_is_refused() -> None:
    with pytest.raises(ConfigError, match="it must make a Sink, and made a int"):
        BlockingSink(lambda: 1).open()  # type: ignore[arg-type, return-value]


def test_a_sink_that_does_not_open_in_time_says_so_and_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    destination = Gated()
    destination.door.clear()

    asked = 0

    def left(_: Deadline) -> float:
        """No time is left, neither for its turn, which it has at once, nor once it has begun to open."""
        nonlocal asked
        asked += 1
        if asked > 1:
            destination.changes.until(lambda: destination.is_opening)
        return 0.0

    with blocking(destination) as sink:
        with monkeypatch.context() as patch:
            patch.setattr(Deadline, "left", left)
            with pytest.raises(TimeoutError, match=r"was not open within 0\.05 s; nothing was accepted"):
                sink.put("a", timeout=0.05)
        all_ended()
        assert destination.was_closed


def test_a_timeout_of_the_provider_while_opening_is_its_own() -> None:
    destination = Gated()
    destination.open_error = TimeoutError("the provider's")
    with blocking(destination) as sink, pytest.raises(TimeoutError, match="the provider's"):
        sink.open(timeout=5)


def test_who_waits_for_another_to_open_it_waits_no_longer_than_its_timeout() -> None:
    destination = Gated()
    destination.door.clear()
    with blocking(destination) as sink, ThreadPoolExecutor(1) as threads:
        opening = threads.submit(sink.open)
        destination.changes.until(lambda: destination.is_opening)
        with pytest.raises(TimeoutError, match="was not open within 0 s"):
            sink.put("a", timeout=0)
        destination.door.set()
        opening.result(5)


def test_threads_that_use_it_first_at_the_same_moment_share_one_sink() -> None:
    made: list[object] = []
    destination = Gated()
    destination.door.clear()
    at_once = threading.Barrier(8)

    def make() -> Sink[Any, Any]:
        made.append(None)
        return Sink(destination)

    sink: BlockingSink[Any, Any] = BlockingSink(make)

    def put(number: int) -> None:
        at_once.wait(10)
        sink.put(number)

    with ThreadPoolExecutor(8) as threads:
        puts = threads.map(put, range(8))
        destination.changes.until(lambda: destination.is_opening)
        destination.door.set()
        assert list(puts) == [None] * 8
    assert (len(made), sink.close().delivered) == (1, 8)


def test_close_delivers_reports_and_refuses_what_comes_after() -> None:
    with blocking() as sink:
        delivery = sink.submit("a")
        report = sink.close()
        assert (report.delivered, report.not_written, report.unknown) == (1, 0, 0)
        assert delivery.result(0).record == "a"
        with pytest.raises(SinkClosed):
            sink.put("b")
        with pytest.raises(SinkClosed):
            sink.flush()
        assert sink.close() == report
        assert sink.stats().delivered == 1
        assert "closed" in repr(sink)


def test_close_answers_who_waits_for_room() -> None:
    destination = Gated(is_open=False)
    with blocking(destination, ONE) as sink, ThreadPoolExecutor(2) as threads:
        sink.submit("a")
        late = [threads.submit(act, "b") for act in (sink.put, sink.submit)]
        destination.changes.until(lambda: destination.asked == 3)
        sink.close(timeout=0)
        assert {type(future.exception(5)) for future in late} == {SinkClosed}


def test_two_threads_may_close_at_once() -> None:
    destination = Gated(is_open=False)
    with blocking(destination) as sink, ThreadPoolExecutor(4) as threads:
        sink.submit("a")
        at_once = threading.Barrier(5)
        reports = [threads.submit(lambda: (at_once.wait(10), sink.close())[1]) for _ in range(4)]
        at_once.wait(10)
        destination.gate.set()
        assert {report.result(5).delivered for report in reports} == {1}


def test_a_blocked_loop_does_not_hang_who_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinkwell.core.blocking._front._PATIENCE", 0)
    destination = Gated()
    destination.blocks = block = Block()
    with blocking(destination) as sink:
        sink.submit("a")
        block.begun()
        with pytest.raises(TimeoutError, match="blocked and does not answer; 1 calls have no outcome"):
            sink.close(timeout=0)
        block.end()
        monkeypatch.undo()


def test_its_own_thread_may_not_wait_for_itself() -> None:
    class Waits(Observer):
        error: BaseException | None = None

        def on_batch_sent(self, event: object) -> None:
            try:
                sink.put("b")
            except RuntimeError as error:
                self.error = error

    observer = Waits()
    with blocking(observer=observer) as sink:
        sink.put("a")
    assert "which would wait for itself" in str(observer.error)


def test_a_loop_that_something_ends_by_force_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    def end_the_loop(_: object) -> None:
        raise SystemExit

    with blocking(Gated(is_open=False)) as sink:
        delivery = sink.submit("a")
        sink.submit("b").add_done_callback(lambda _: None)
        thread = sink._thread
        assert thread is not None
        thread.post(lambda: end_the_loop(None))
        with pytest.raises(DeliveryAbandoned):
            delivery.result(5)
        thread.join(5)
        with pytest.raises(SinkClosed):
            sink.put("c")
        assert sink.stats() == SinkStats()
        sink.settle_at_exit()()
        sink.close_at_exit()()
    assert "the loop's thread has ended" in caplog.text
