"""What the sink relies on in aiormq and pamqp. If an upgrade fails here, read DESIGN.md before mending the sink."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.commands import Connection as Method
from pamqp.frame import marshal, unmarshal
from pamqp.header import ContentHeader

from sinkwell.core import InvalidRecord
from sinkwell.sinks._rabbitmq_connect import BrokerUrl, Wire, connect
from sinkwell.sinks._rabbitmq_fields import properties, short, table
from sinkwell.sinks._rabbitmq_message import Encoder, RabbitMQMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiormq import Connection

    from tests.sinks.rabbitmq.fake_broker import FakeBroker


@pytest.fixture
async def wire() -> Wire:
    return Wire(None)


@pytest.fixture
async def connection(fake: FakeBroker, wire: Wire) -> AsyncIterator[Connection]:
    connection = await connect(BrokerUrl(fake.url), wire, "test")
    yield connection
    wire.cut()
    await connection.close()


class Inbox:
    """Stands in a channel's place."""

    def __init__(self) -> None:
        self.frames = self
        self.taken: list[Any] = []

    async def put(self, item: tuple[int, Any]) -> None:
        self.taken.append(item[1])


async def test_frames_of_a_channel_reach_what_stands_in_its_place_in_order(
    fake: FakeBroker, connection: Any, wire: Wire
) -> None:
    inbox = connection.channels[7] = Inbox()
    wire.write(marshal(Channel.Open(), 7))
    await asyncio.sleep(0.05)
    for tag in range(1, 100):
        fake.talks[0].send(Basic.Ack(tag), 7)
    fake.talks[0].send(Channel.Close(404, "NOT_FOUND", 60, 40), 7)
    await asyncio.sleep(0.1)
    assert [type(frame) for frame in inbox.taken] == [Channel.OpenOk, *[Basic.Ack] * 99, Channel.Close]
    assert [frame.delivery_tag for frame in inbox.taken[1:-1]] == list(range(1, 100))
    assert 7 not in connection.channels, "its number is free again"


async def test_ready_waits_exactly_while_the_broker_is_blocked(fake: FakeBroker, connection: Any) -> None:
    await asyncio.wait_for(connection.ready(), 1)
    fake.talks[0].send(Method.Blocked("low on memory"))
    await asyncio.sleep(0.05)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connection.ready(), 0.05)
    fake.talks[0].send(Method.Unblocked())
    await asyncio.wait_for(connection.ready(), 1)


async def test_closing_ends_with_the_connection(fake: FakeBroker, connection: Any) -> None:
    assert connection.is_opened
    assert connection.connection_tune.frame_max == 131_072
    closing = connection.closing
    fake.talks[0].writer.transport.abort()
    await asyncio.wait([closing], timeout=1)
    assert closing.done()
    assert not connection.is_opened


async def test_connecting_that_is_cancelled_leaves_nothing_behind(fake: FakeBroker) -> None:
    fake.greeting = b""
    before = asyncio.all_tasks()
    wire = Wire(None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await connect(BrokerUrl(fake.url), wire, "test")
    await asyncio.sleep(0.05)
    assert not wire.is_open
    assert not [task for task in asyncio.all_tasks() - before if "aiormq" in repr(task)]


def encoder(**options: Any) -> Encoder:
    given = {"encode": None, "persistent": True, "mandatory": True, "ordered": False, "max_message_bytes": 1_000}
    return Encoder("e", "k", **{**given, **options})


def frames(record: object, channel: int = 5, **options: Any) -> list[Any]:
    prepared = encoder(**options).encode(record).payload
    start = channel.to_bytes(2, "big")
    data = b"\x01" + start + prepared.publish + b"\x02" + start + prepared.header
    found: list[Any] = []
    while data:
        used, _, frame = unmarshal(data)
        found.append(frame)
        data = data[used:]
    assert prepared.message_id.decode() == found[1].properties.message_id
    return found


@pytest.mark.parametrize("record", ["x", b"x", {"a": 1}, RabbitMQMessage("x")])
def test_a_message_is_the_same_frames_that_pamqp_would_make(record: object) -> None:
    publish, header = frames(record)
    again = ContentHeader(body_size=header.body_size, properties=header.properties)
    assert (publish.exchange, publish.routing_key, publish.mandatory) == ("e", "k", True)
    assert header.properties.delivery_mode == 2
    assert len(header.properties.message_id) == 32
    prepared = encoder().encode(record).payload
    assert len(marshal(again, 5)) == len(prepared.header) + 3
    assert len(marshal(ContentBody(prepared.body), 5)) == len(prepared.body) + 8


def test_a_transient_or_optional_message_says_so() -> None:
    publish, header = frames("x", persistent=False, mandatory=False)
    assert not publish.mandatory
    assert header.properties.delivery_mode == 1


def test_ids_differ_from_one_run_to_the_next_and_within_one() -> None:
    made = [encoder().encode("x").payload.message_id for _ in range(2)]
    one = encoder()
    made += [one.encode("x").payload.message_id for _ in range(100)]
    one.renew_ids()  # as the sink does when it opens, perhaps in a fork
    made.append(one.encode("x").payload.message_id)
    assert len(set(made)) == 103


moments = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zone given
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | moments.map(lambda moment: moment.replace(microsecond=0))
    | st.decimals(0, 2**31 - 1, allow_nan=False, places=0),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1, max_size=3), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(headers=st.dictionaries(st.text("abcdé", min_size=1, max_size=10), values, min_size=1))
def test_headers_arrive_as_they_were(headers: dict[str, Any]) -> None:
    data = properties({"headers": table(headers, "headers"), "message_id": short("id", "id")})
    payload = b"\x00\x3c\x00\x00" + bytes(8) + data
    frame = b"\x02\x00\x01" + len(payload).to_bytes(4, "big") + payload + b"\xce"
    _, _, header = unmarshal(frame)
    assert header.properties.headers == headers
    assert header.properties.message_id == "id"


@pytest.mark.parametrize(
    "value", [Decimal(-1), Decimal("1e12"), Decimal("NaN"), datetime(1969, 1, 1, tzinfo=UTC), {1: 2}, {"": 1}, {1, 2}]
)
def test_what_would_arrive_as_another_value_is_refused_by_its_type(value: object) -> None:
    with pytest.raises(InvalidRecord, match=r"headers\['a'\]|a name in headers"):
        table({"a": value}, "headers")


def test_headers_that_hold_themselves_are_refused() -> None:
    headers: dict[str, Any] = {}
    headers["self"] = headers
    with pytest.raises(InvalidRecord, match="holds itself"):
        table(headers, "headers")
