"""What each word of a broker means, and each silence: the words that a real one can't be made to say on demand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pamqp.commands import Connection

from sinkwell.core import Backoff, ConfigError, DeliveryError, DeliveryRejected, Outcome, Policy
from sinkwell.sinks.rabbitmq import RabbitMQMessage, RabbitMQReceipt
from tests.sinks.rabbitmq.fake_broker import FakeBroker, Received

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FIVE = [b"0", b"1", b"2", b"3", b"4"]
QUICK = Backoff(base=0.01, cap=0.02)
# Long, so that a busy machine changes no verdict; where silence is the answer, short.
ONCE = Policy(attempt_timeout=10.0, delivery_timeout=30.0, on_unknown="fail", backoff=QUICK)
AGAIN = Policy(attempt_timeout=10.0, delivery_timeout=30.0, backoff=QUICK)
SOON = Policy(attempt_timeout=0.3, delivery_timeout=5.0, on_unknown="fail", backoff=QUICK)


@pytest.fixture
async def sink(fake: FakeBroker, make_sink: Any) -> AsyncIterator[Any]:
    """A sink whose exchange is known already: its next batch goes in one window, with tags from 2."""
    async with make_sink(fake.url, "", "q", policy=ONCE) as sink:
        await sink.put(b"first")
        fake.received.clear()
        fake.chunks.clear()
        yield sink


@pytest.fixture
async def hasty(fake: FakeBroker, make_sink: Any) -> AsyncIterator[Any]:
    async with make_sink(fake.url, "", "q", policy=SOON) as sink:
        await sink.put(b"first")
        fake.received.clear()
        yield sink


@pytest.fixture
async def patient(fake: FakeBroker, make_sink: Any) -> AsyncIterator[Any]:
    async with make_sink(fake.url, "", "q", policy=AGAIN) as sink:
        await sink.put(b"first")
        fake.received.clear()
        yield sink


def told(outcomes: list[Any]) -> list[Any]:
    return [outcome.outcome if isinstance(outcome, DeliveryError) else outcome.attempts for outcome in outcomes]


async def until_blocked(sink: Any) -> None:
    while not sink._destination.link.is_blocked:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.005)


NO, MAYBE = Outcome.NOT_WRITTEN, Outcome.UNKNOWN


async def test_a_batch_is_written_to_the_socket_in_one_go(fake: FakeBroker, sink: Any) -> None:
    await sink.put_many(FIVE)
    assert fake.chunks == [5]


@pytest.mark.parametrize("size", [131_064, 131_065])
async def test_no_frame_is_larger_than_agreed(fake: FakeBroker, sink: Any, size: int) -> None:
    await sink.put(b"x" * size)
    assert [len(body) for body in fake.bodies()] == [size]


async def test_no_two_messages_in_flight_have_one_id(fake: FakeBroker, sink: Any) -> None:
    await sink.put_many([b"x"] * 1_000)
    assert len({message.message_id for message in fake.received}) == 1_000


async def test_confirms_may_come_singly_and_in_any_order(fake: FakeBroker, sink: Any) -> None:
    fake.answer = lambda message: message.tag == 6 and [message.ack(tag) for tag in (4, 6, 2, 5, 3)]
    assert told(await sink.put_many(FIVE)) == [1, 1, 1, 1, 1]


async def test_one_confirm_may_speak_for_all_before_it(fake: FakeBroker, sink: Any) -> None:
    fake.answer = lambda message: message.tag in {4, 6} and message.ack(multiple=True)
    assert told(await sink.put_many(FIVE)) == [1, 1, 1, 1, 1]


async def test_what_is_nacked_goes_again_alone(fake: FakeBroker, patient: Any) -> None:
    fake.answer = lambda message: message.nack() if message.tag in {3, 5} else message.ack()
    assert told(await patient.put_many(FIVE)) == [1, 2, 1, 2, 1]
    assert fake.bodies() == [*FIVE, b"1", b"3"]


async def test_a_nack_may_speak_for_all_before_it_that_have_no_answer(fake: FakeBroker, patient: Any) -> None:
    def answer(message: Received) -> None:
        if message.tag == 3:
            message.ack()
        elif message.tag == 5:
            message.nack(multiple=True)
        elif message.tag > 5:
            message.ack()

    fake.answer = answer
    assert told(await patient.put_many(FIVE)) == [2, 1, 2, 2, 1]


async def test_a_returned_message_is_rejected_and_its_ack_says_nothing_more(fake: FakeBroker, sink: Any) -> None:
    def answer(message: Received) -> None:
        if message.tag == 3:
            message.give_back()
        if message.tag == 6:
            message.ack(multiple=True)

    fake.answer = answer
    assert told(await sink.put_many(FIVE)) == [1, NO, 1, 1, 1]
    assert sink._destination.link.strays == 0


async def test_a_returned_message_is_rejected_though_its_ack_never_comes(fake: FakeBroker, sink: Any) -> None:
    fake.answer = lambda message: message.give_back() if message.tag == 6 else message.ack()
    assert told(await sink.put_many(FIVE)) == [1, 1, 1, 1, NO]


async def test_a_message_that_is_returned_twice_counts_once(fake: FakeBroker, sink: Any) -> None:
    def answer(message: Received) -> None:
        if message.tag == 3:
            message.give_back()
            message.give_back()
        if message.tag == 6:
            asyncio.get_running_loop().call_later(0.05, message.ack)
        else:
            message.ack()

    fake.answer = answer
    assert told(await sink.put_many(FIVE)) == [1, NO, 1, 1, 1]


async def test_a_confirm_of_nothing_we_sent_is_ignored_and_counted(fake: FakeBroker, hasty: Any) -> None:
    def answer(message: Received) -> None:
        if message.tag == 6:
            for tag, multiple in ((99, True), (0, True), (99, False), (1, False)):
                message.ack(tag, multiple=multiple)
        else:
            message.ack()

    fake.answer = answer
    assert told(await hasty.put_many(FIVE)) == [1, 1, 1, 1, MAYBE]
    assert hasty._destination.link.strays == 4


async def test_silence_leaves_the_unanswered_unknown_and_the_connection_is_replaced(
    fake: FakeBroker, hasty: Any
) -> None:
    fake.answer = id
    assert told(await hasty.put_many(FIVE)) == [MAYBE] * 5
    fake.answer = Received.ack
    assert told(await hasty.put_many(FIVE)) == [1] * 5
    assert len(fake.talks) == 2


async def test_a_connection_that_answers_others_is_not_given_up_for_one_slow_message(
    fake: FakeBroker, hasty: Any
) -> None:
    fake.answer = lambda message: message.body == b"slow" or message.ack()
    slow = asyncio.create_task(hasty.put_many([b"slow"]))
    for _ in range(5):
        await asyncio.sleep(0.02)
        assert told(await hasty.put_many([b"quick"])) == [1]
    assert told(await slow) == [MAYBE]
    assert told(await hasty.put_many([b"quick"])) == [1]
    assert len(fake.talks) == 1


async def test_a_late_confirm_of_an_earlier_attempt_is_no_second_outcome(fake: FakeBroker, make_sink: Any) -> None:
    def answer(message: Received) -> None:
        if len(fake.received) > 1:
            fake.received[0].ack()  # on the channel that was given up
            message.ack()

    fake.answer = answer
    policy = Policy(attempt_timeout=0.3, delivery_timeout=30.0, backoff=QUICK)
    async with make_sink(fake.url, "", "q", policy=policy) as sink:
        delivery = await sink.submit(b"x")
        asyncio.get_running_loop().call_later(0.2, lambda: fake.received[0].ack(77))  # the connection lives
        receipt = await delivery
    assert fake.bodies() == [b"x"] * receipt.attempts
    assert receipt.attempts > 1


async def test_a_channel_closed_for_the_brokers_own_trouble_leaves_its_window_unknown(
    fake: FakeBroker, sink: Any
) -> None:
    fake.answer = lambda message: message.ack() if message.tag < 4 else message.close_channel(541, "INTERNAL_ERROR")
    assert told(await sink.put_many(FIVE)) == [1, 1, MAYBE, MAYBE, MAYBE]


async def test_what_may_be_there_does_not_go_again_after_a_closed_channel_if_the_policy_says_so(
    fake: FakeBroker, sink: Any
) -> None:
    fake.answer = lambda message: message.body == b"2" and message.close_channel(406, "PRECONDITION_FAILED - invalid")
    assert told(await sink.put_many(FIVE)) == [MAYBE] * 5
    assert fake.bodies() == [b"0", b"1", b"2"]


async def test_a_body_above_the_brokers_own_limit_is_found_among_a_hundred(
    fake: FakeBroker, patient: Any, at_once: Any
) -> None:
    def answer(message: Received) -> None:
        if len(message.body) > 3:
            message.close_channel(406, "PRECONDITION_FAILED - message size 4 is larger than configured max size 3")
        elif fake.channels > 1:
            message.ack()

    await patient.put(b"333")
    fake.received.clear()
    fake.answer = answer
    records = [b"%d" % number for number in range(100)]
    records[50] = b"too large"
    assert told(await at_once(patient, records)) == [NO if number == 50 else 2 for number in range(100)]
    assert fake.bodies() == [*records[:51], *records[:51], *records[51:]]
    assert not fake.talks[0].closing, "each closed channel is acknowledged, so that its number is free again"
    assert len(fake.chunks) < 20, "those that can't be to blame go together"


async def test_a_topic_that_is_not_for_us_rejects_its_message_and_no_other_of_its_exchange(
    fake: FakeBroker, make_sink: Any
) -> None:
    refusal = "ACCESS_REFUSED - write access to topic 'no' in exchange 'e' in vhost '/' refused for user 'user'"
    fake.answer = lambda message: message.close_channel(403, refusal) if message.routing_key == "no" else message.ack()
    async with make_sink(fake.url, "e", policy=AGAIN) as sink:
        await sink.put(RabbitMQMessage(b"x", "yes"))
        keys = ["yes", "yes", "no", "yes", "yes"]
        outcomes = await sink.put_many([RabbitMQMessage(b"x", key) for key in keys])
    assert [isinstance(outcome, RabbitMQReceipt) for outcome in outcomes] == [True, True, False, True, True]


async def test_an_exchange_that_closes_the_channel_takes_only_its_own_messages_along(
    fake: FakeBroker, sink: Any
) -> None:
    refusal = "ACCESS_REFUSED - access to exchange 'e' in vhost '/' refused for user 'user'"
    fake.answer = lambda message: message.close_channel(403, refusal) if message.body == b"e" else message.ack()
    exchanges = ["", "e", "", "e", ""]
    records = [RabbitMQMessage(exchange, "q", exchange=exchange) for exchange in exchanges]
    assert told(await sink.put_many(records)) == [1, NO, 1, NO, 1]
    assert fake.bodies().count(b"e") == 1


async def test_a_message_that_comes_back_after_an_unanswered_copy_may_be_there_already(
    fake: FakeBroker, make_sink: Any, at_once: Any
) -> None:
    def answer(message: Received) -> None:
        if message.body == b"bad":
            message.close_channel(406, "PRECONDITION_FAILED - invalid")
        elif fake.bodies().count(message.body) > 1:
            message.give_back()  # its queue was deleted meanwhile, perhaps with the first copy in it

    policy = Policy(attempt_timeout=10.0, max_attempts=1, backoff=QUICK)
    async with make_sink(fake.url, "", "q", policy=policy) as sink:
        await sink.put(b"first")
        fake.answer = answer
        outcomes = await at_once(sink, [b"copied", RabbitMQMessage(b"bad", headers={"CC": "no list"})])
    assert told(outcomes) == [MAYBE, NO]


async def test_an_exchange_that_is_gone_tells_what_it_may_have_taken_from_what_it_never_got(
    fake: FakeBroker, make_sink: Any, at_once: Any
) -> None:
    missing = "NOT_FOUND - no exchange 'e' in vhost '/'"

    def answer(message: Received) -> None:
        if message.body != b"0" or fake.bodies().count(b"0") > 1:
            message.close_channel(404, missing)

    async with make_sink(fake.url, "e", "q", policy=AGAIN) as sink:
        await sink.put(b"first")
        fake.answer = answer
        outcomes = await at_once(sink, [b"0", b"1"])
        assert [(type(outcome), outcome.outcome) for outcome in outcomes] == [(DeliveryRejected, MAYBE)] * 2
        assert told(await at_once(sink, [b"2", b"3"])) == [NO] * 2


@pytest.mark.parametrize("end", ["close", "reset", "fin in a frame", "garbage", "huge frame"])
async def test_a_connection_that_ends_leaves_what_was_sent_unknown_and_is_made_again(
    fake: FakeBroker, hasty: Any, end: str
) -> None:
    def answer(message: Received) -> None:
        writer = message.talk.writer
        if message.tag == 3:
            message.ack(multiple=True)
        if message.tag != 6:
            return
        if end == "close":
            message.talk.send(Connection.Close(320, "CONNECTION_FORCED", 0, 0))
        elif end == "reset":
            writer.transport.abort()
        elif end == "fin in a frame":
            writer.write(b"\x01\x00\x01\x00")
            writer.close()
        elif end == "garbage":
            writer.write(b"<html>502 Bad Gateway</html>" * 10)
        else:
            writer.write(b"\x01\x00\x01\xff\xff\xff\xff")

    fake.answer = answer
    assert told(await hasty.put_many(FIVE)) == [1, 1, MAYBE, MAYBE, MAYBE]
    fake.answer = Received.ack
    assert told(await hasty.put_many(FIVE)) == [1] * 5


async def test_a_blocked_connection_gets_nothing_until_it_is_unblocked_and_that_costs_no_attempt(
    fake: FakeBroker, make_sink: Any
) -> None:
    policy = Policy(attempt_timeout=10.0, delivery_timeout=30.0, max_attempts=1, backoff=QUICK)
    async with make_sink(fake.url, "", "q", policy=policy) as sink:
        fake.talks[0].send(Connection.Blocked("low on memory"))
        await until_blocked(sink)
        outcomes = asyncio.create_task(sink.put_many(FIVE))
        await asyncio.sleep(0.3)
        assert sink.stats().retries > len(FIVE)
        assert not fake.received
        fake.talks[0].send(Connection.Unblocked())
        assert told(await outcomes) == [1] * 5
    assert fake.bodies() == FIVE


async def test_a_blocked_broker_is_looked_at_ever_less_often(fake: FakeBroker, make_sink: Any) -> None:
    policy = Policy(attempt_timeout=10.0, delivery_timeout=30.0, backoff=Backoff(base=0.01, cap=30.0))
    async with make_sink(fake.url, "", "q", policy=policy) as sink:
        fake.talks[0].send(Connection.Blocked("low on memory"))
        await until_blocked(sink)
        waiting = sink.put_nowait(b"x")
        await asyncio.sleep(0.7)
        # Each wait is as long as all before it, from 0.01 s: eight fit into 1.28 s.
        assert 2 <= sink.stats().retries <= 8
        fake.talks[0].send(Connection.Unblocked())
        assert (await waiting).attempts == 1


async def test_what_a_blocked_broker_was_never_sent_is_not_written(fake: FakeBroker, make_sink: Any) -> None:
    policy = Policy(attempt_timeout=0.3, delivery_timeout=0.3, backoff=QUICK)
    async with make_sink(fake.url, "", "q", policy=policy) as sink:
        fake.talks[0].send(Connection.Blocked("low on disk"))
        await until_blocked(sink)
        assert told(await sink.put_many(FIVE)) == [NO] * 5


async def test_a_log_in_refused_in_mid_run_rejects_and_a_virtual_host_that_is_down_does_not(
    fake: FakeBroker, patient: Any
) -> None:
    fake.login = lambda: Connection.Close(403, "ACCESS_REFUSED - Login was refused", 10, 40)
    fake.talks[0].writer.transport.abort()
    await asyncio.sleep(0.05)
    outcomes = await patient.put_many(FIVE)
    assert [(type(outcome), outcome.outcome) for outcome in outcomes] == [(DeliveryRejected, NO)] * 5
    refusals = iter([Connection.Close(530, "NOT_ALLOWED - vhost '/' is down", 10, 40), Connection.OpenOk()])
    fake.login = lambda: next(refusals)
    assert told(await patient.put_many(FIVE)) == [2] * 5


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"AMQP\x00\x01\x00\x00", b"\x01\x00"])
async def test_what_is_no_broker_is_told_at_the_start_and_in_time(
    fake: FakeBroker, make_sink: Any, greeting: bytes
) -> None:
    fake.greeting = greeting
    with pytest.raises(ConfigError, match="rabbitmq:"):
        async with asyncio.timeout(3), make_sink(fake.url, policy=SOON):
            pass


async def test_a_strict_order_holds_though_a_message_is_refused(fake: FakeBroker, make_sink: Any) -> None:
    refused: set[bytes] = set()

    def answer(message: Received) -> None:
        if message.body in {b"1", b"3"} - refused:
            refused.add(message.body)
            message.nack()
        else:
            message.ack()

    fake.answer = answer
    async with make_sink(fake.url, "", "q", policy=AGAIN, ordered=True) as sink:
        await sink.put_many(FIVE)
    assert fake.bodies() == [b"0", b"1", b"1", b"2", b"3", b"3", b"4"]


async def test_a_failure_to_connect_again_shows_no_password(fake: FakeBroker, make_sink: Any, shown: Any) -> None:
    quick = Policy(attempt_timeout=0.3, delivery_timeout=0.3, backoff=QUICK)
    async with make_sink(fake.url, "", "q", policy=quick) as sink:
        await fake.stop()
        with pytest.raises(DeliveryError) as caught:
            await sink.put(b"x")
    assert isinstance(caught.value.__cause__, OSError)
    assert "secret" not in shown(caught.value)
