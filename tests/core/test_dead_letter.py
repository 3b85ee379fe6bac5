"""A record without a receipt is handed on, once, with its reason; how it is handed on never harms delivery."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import DeadLetter, Observer, Policy, Sink
from sinkwell.core.testing import VirtualLoop
from tests.core.scripted import REJECTED, UNKNOWN, Scripted, other_tasks, tick

if TYPE_CHECKING:
    from sinkwell.core import DeadLetterFailed
    from tests.core.conftest import OpenSink


class Failures(Observer):
    def __init__(self) -> None:
        self.seen: list[DeadLetterFailed] = []

    def on_dead_letter_failed(self, event: DeadLetterFailed) -> None:
        self.seen.append(event)


async def reject(sink: Sink[Any, Any], provider: Scripted, records: str) -> None:
    """Put records and have all of them rejected."""
    for record in records:
        sink.put(record)
    (await provider.request()).answer(*[REJECTED] * len(records))
    await tick()


async def test_a_callable_gets_the_record_its_reason_and_the_error(open_sink: OpenSink, provider: Scripted) -> None:
    letters: list[DeadLetter] = []
    sink = await open_sink(provider, dead_letter=letters.append)
    await reject(sink, provider, "a")
    [letter] = letters
    assert (letter.record, letter.reason, letter.outcome, letter.attempts) == ("a", "rejected", "not_written", 1)
    assert letter.error.__cause__ is REJECTED.error
    assert sink.stats().dead_letters == 1


async def test_an_async_callable_is_awaited_one_letter_at_a_time_in_order(
    open_sink: OpenSink, provider: Scripted
) -> None:
    events: list[str] = []

    async def hand_on(letter: DeadLetter) -> None:
        events.append(f"begin {letter.record}")
        await asyncio.sleep(1)
        events.append(f"end {letter.record}")

    sink = await open_sink(provider, dead_letter=hand_on)
    await reject(sink, provider, "ab")
    await asyncio.sleep(3)
    assert events == ["begin a", "end a", "begin b", "end b"]


async def test_a_letter_as_plain_data_holds_the_errors_as_text(open_sink: OpenSink, provider: Scripted) -> None:
    letters: list[DeadLetter] = []
    sink = await open_sink(provider, dead_letter=letters.append)
    await reject(sink, provider, "a")
    assert letters[0].as_dict() == {
        "record": "a",
        "reason": "rejected",
        "outcome": "not_written",
        "attempts": 1,
        "error": "scripted: a record of 1 bytes was rejected (ScriptedError); 1 attempt, it is not written",
        "provider_error": "ScriptedError: never",
    }


async def test_a_letter_about_a_record_that_was_never_sent_has_no_provider_error(
    open_sink: OpenSink, provider: Scripted
) -> None:
    letters: list[DeadLetter] = []
    sink = await open_sink(provider, Policy(concurrency=1, max_records=1), dead_letter=letters.append)
    sink.put("a")
    sink.put("b")
    await tick()
    await sink.close(timeout=0)
    facts = {letter.record: (letter.reason, letter.outcome, letter.as_dict()["provider_error"]) for letter in letters}
    assert facts["b"] == ("abandoned", "not_written", None)
    assert facts["a"][:2] == ("abandoned", "unknown")


async def test_a_dead_letter_sink_is_put_the_letter_as_plain_data(open_sink: OpenSink, provider: Scripted) -> None:
    graveyard = Scripted(answers_at_once=True)
    graveyard.encode = lambda record: Scripted.encode(graveyard, record["record"])  # type: ignore[method-assign]
    second = await open_sink(graveyard)
    sink = await open_sink(provider, dead_letter=second)
    await reject(sink, provider, "ab")
    assert graveyard.sent == [["a", "b"]]
    assert (sink.stats().dead_letters, sink.stats().dead_letters_failed) == (2, 0)


async def test_a_raising_callable_is_reported_and_the_next_letter_is_handed_on(
    open_sink: OpenSink, provider: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[str] = []

    def hand_on(letter: DeadLetter) -> None:
        if letter.record == "a":
            raise OSError("disk full")
        taken.append(letter.record)

    observer = Failures()
    sink = await open_sink(provider, dead_letter=hand_on, observer=observer)
    await reject(sink, provider, "ab")
    assert taken == ["b"]
    assert [(event.sink, event.letter.record, type(event.error)) for event in observer.seen] == [
        ("scripted", "a", OSError)
    ]
    assert "a dead letter (rejected after 1 attempts) could not be handed on: OSError" in caplog.text
    assert (sink.stats().dead_letters, sink.stats().dead_letters_failed) == (1, 1)


async def test_a_callable_that_was_cancelled_elsewhere_fails_its_own_letter_only(
    open_sink: OpenSink, provider: Scripted
) -> None:
    # Its cancellation was taken for our own, and every letter behind it was given up.
    taken: list[str] = []

    async def hand_on(letter: DeadLetter) -> None:
        if letter.record == "a":
            raise asyncio.CancelledError
        taken.append(letter.record)

    observer = Failures()
    sink = await open_sink(provider, dead_letter=hand_on, observer=observer)
    await reject(sink, provider, "abc")
    assert taken == ["b", "c"]
    assert [event.letter.record for event in observer.seen] == ["a"]


async def test_a_slow_dead_letter_holds_its_record_s_room(open_sink: OpenSink, provider: Scripted) -> None:
    async def hand_on(letter: DeadLetter) -> None:
        await asyncio.sleep(10)

    sink = await open_sink(provider, Policy(max_records=1, max_pending_records=1), dead_letter=hand_on)
    await reject(sink, provider, "a")
    await sink.submit("b")
    assert asyncio.get_running_loop().time() == 10


async def test_a_failed_letter_gives_its_room_back(open_sink: OpenSink, provider: Scripted) -> None:
    def hand_on(letter: DeadLetter) -> None:
        raise OSError

    sink = await open_sink(provider, Policy(max_records=1, max_pending_records=1), dead_letter=hand_on)
    await reject(sink, provider, "a")
    sink.put_nowait("b")


async def test_a_failure_that_is_handed_on_need_not_be_looked_at_by_its_caller(
    open_sink: OpenSink, provider: Scripted
) -> None:
    unhandled: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    sink = await open_sink(provider, dead_letter=lambda _: None)
    await reject(sink, provider, "a")
    provider.requests.clear()
    gc.collect()
    assert unhandled == []


async def test_letters_that_come_while_one_is_handed_on_wait_their_turn(
    open_sink: OpenSink, provider: Scripted
) -> None:
    taken: list[str] = []

    async def hand_on(letter: DeadLetter) -> None:
        await asyncio.sleep(1)
        taken.append(letter.record)

    sink = await open_sink(provider, dead_letter=hand_on)
    await reject(sink, provider, "a")
    await reject(sink, provider, "b")
    await asyncio.sleep(5)
    assert taken == ["a", "b"]
    assert not [task for task in other_tasks() if "dead letters" in task.get_name()]


@pytest.mark.parametrize("ticks", range(6))
async def test_a_letter_that_comes_as_the_last_one_is_done_is_handed_on_too(
    open_sink: OpenSink, provider: Scripted, ticks: int
) -> None:
    taken: list[str] = []
    sink = await open_sink(provider, Policy(max_records=1), dead_letter=lambda letter: taken.append(letter.record))
    sink.put("a")
    sink.put("b")
    first, second = await provider.request(), await provider.request()
    first.answer(REJECTED)
    for _ in range(ticks):
        await asyncio.sleep(0)
    second.answer(REJECTED)
    await tick()
    assert sorted(taken) == ["a", "b"]


async def test_close_hands_on_within_its_time(open_sink: OpenSink, provider: Scripted) -> None:
    taken: list[str] = []

    async def hand_on(letter: DeadLetter) -> None:
        await asyncio.sleep(2)
        taken.append(letter.record)

    sink = await open_sink(provider, dead_letter=hand_on)
    await reject(sink, provider, "ab")
    report = await sink.close(timeout=10)
    assert (taken, report.seconds, report.dead_letters_failed) == (["a", "b"], 4, 0)


async def test_close_gives_up_letters_when_its_time_is_up_and_says_so(open_sink: OpenSink, provider: Scripted) -> None:
    async def hand_on(letter: DeadLetter) -> None:
        await asyncio.sleep(3600)

    observer = Failures()
    sink = await open_sink(provider, dead_letter=hand_on, observer=observer)
    await reject(sink, provider, "abc")
    report = await sink.close(timeout=1)
    assert (report.dead_letters_failed, report.seconds) == (3, 1)
    assert [event.letter.record for event in observer.seen] == ["a", "b", "c"]
    assert isinstance(observer.seen[0].error, asyncio.CancelledError)


@pytest.mark.parametrize("ends_well", [True, False])
async def test_letters_behind_a_callable_that_does_not_stop_are_reported_once(
    open_sink: OpenSink, provider: Scripted, ends_well: bool
) -> None:
    released = asyncio.Event()

    async def hand_on(letter: DeadLetter) -> None:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()
        if not ends_well:
            raise OSError

    observer = Failures()
    sink = await open_sink(provider, dead_letter=hand_on, observer=observer)
    await reject(sink, provider, "abc")
    report = await sink.close(timeout=1)
    assert (report.dead_letters_failed, report.seconds) == (3, 6)
    released.set()
    await tick()
    assert [event.letter.record for event in observer.seen] == ["a", "b", "c"]


async def test_what_a_dead_letter_sink_has_accepted_is_its_own_when_we_close(
    open_sink: OpenSink, provider: Scripted
) -> None:
    graveyard = Scripted()
    graveyard.encode = lambda record: Scripted.encode(graveyard, record["record"])  # type: ignore[method-assign]
    second = await open_sink(graveyard)
    sink = await open_sink(provider, dead_letter=second)
    await reject(sink, provider, "a")
    report = await sink.close(timeout=1)
    assert (report.dead_letters_failed, report.seconds) == (0, 1)
    (await graveyard.request()).deliver()
    await second.flush()
    await tick()
    assert second.stats().delivered == 1


@pytest.mark.parametrize("ends", ["rejected", "cancelled"])
async def test_a_letter_that_a_dead_letter_sink_fails_to_deliver_is_reported(
    open_sink: OpenSink, provider: Scripted, ends: str
) -> None:
    class Elsewhere:
        def __init__(self) -> None:
            self.delivery: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def submit(self, record: Any) -> asyncio.Future[Any]:
            return self.delivery

    observer, elsewhere = Failures(), Elsewhere()
    sink = await open_sink(provider, dead_letter=elsewhere, observer=observer)
    await reject(sink, provider, "a")
    elsewhere.delivery.cancel() if ends == "cancelled" else elsewhere.delivery.set_exception(OSError())
    await tick()
    assert [event.letter.record for event in observer.seen] == ["a"]
    assert sink.stats().pending_bytes == 0


async def test_a_closed_dead_letter_sink_is_reported(open_sink: OpenSink, provider: Scripted) -> None:
    second = await open_sink(Scripted())
    await second.close()
    observer = Failures()
    sink = await open_sink(provider, dead_letter=second, observer=observer)
    await reject(sink, provider, "a")
    assert [type(event.error).__name__ for event in observer.seen] == ["SinkClosed"]


async def test_letters_whose_task_is_cancelled_from_outside_are_all_reported(
    open_sink: OpenSink, provider: Scripted
) -> None:
    async def hand_on(letter: DeadLetter) -> None:
        await asyncio.sleep(3600)

    observer = Failures()
    sink = await open_sink(provider, dead_letter=hand_on, observer=observer)
    await reject(sink, provider, "ab")
    [task] = [task for task in other_tasks() if task.get_name() == "scripted dead letters"]
    task.cancel()
    await tick()
    assert [event.letter.record for event in observer.seen] == ["a", "b"]


def test_letters_are_all_reported_when_the_program_is_interrupted_in_the_callable() -> None:
    def hand_on(letter: DeadLetter) -> None:
        raise KeyboardInterrupt

    observer = Failures()

    async def interrupted() -> None:
        provider = Scripted()
        async with Sink(provider, dead_letter=hand_on, observer=observer) as sink:
            await reject(sink, provider, "ab")

    with pytest.raises(KeyboardInterrupt):
        VirtualLoop().run(interrupted())
    assert [event.letter.record for event in observer.seen] == ["a", "b"]


async def test_no_content_is_logged(open_sink: OpenSink, provider: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    def hand_on(letter: DeadLetter) -> None:
        raise OSError(letter.record)

    caplog.set_level(logging.DEBUG)
    sink = await open_sink(provider, Policy(on_unknown="fail"), dead_letter=hand_on)
    sink.put("secret")
    (await provider.request()).answer(UNKNOWN)
    await tick()
    assert "could not be handed on" in caplog.text
    assert "secret" not in caplog.text
