"""What the sink relies on below aiokafka's producer: fails when an upgrade takes it away or changes it."""

from __future__ import annotations

import asyncio
import inspect
import random
import struct

import pytest
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.partitioner import murmur2 as their_murmur2
from aiokafka.record import MemoryRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchBuilderPy
from hypothesis import given
from hypothesis import strategies as st

from sinkwell.core import RecordTooLarge
from sinkwell.sinks._kafka_client import BATCH_OVERHEAD, Produce, abort, connect, new_builder
from sinkwell.sinks._kafka_cluster import Topic
from sinkwell.sinks._kafka_partitioner import STICKY_BYTES, Partitioner, murmur2
from sinkwell.sinks._kafka_record import GROWTH, headers_of, size_alone, size_of_large
from tests.sinks.kafka.fake_broker import FakeBroker

# From the Java client's own tests (UtilsTest.testMurmur2), as signed numbers.
KNOWN = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "hashed"), KNOWN.items())
def test_keys_hash_as_in_the_java_clients_own_tests(key: bytes, hashed: int) -> None:
    assert murmur2(key) == hashed & 0xFFFFFFFF


@given(st.binary(max_size=70))
def test_keys_hash_as_in_aiokafka(key: bytes) -> None:
    assert murmur2(key) == their_murmur2(key)


bytes_or_none = st.none() | st.binary(max_size=300)
headers = st.lists(
    st.tuples(st.text(max_size=20).filter(lambda t: t.isascii() or t.encode("utf-8", "replace")), bytes_or_none),
    max_size=4,
)
records = st.tuples(bytes_or_none, bytes_or_none, headers)


def encodable(record: tuple[object, object, list[tuple[str, object]]]) -> bool:
    return all(letter < "\ud800" or letter > "\udfff" for name, _ in record[2] for letter in name)


def build(batch: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]], gap_ms: int = 0) -> bytearray:
    builder = new_builder(codec_number=0, producer=(7, 1), sequence=5, size=1 << 20, is_transactional=False)
    for number, (key, value, some) in enumerate(batch):
        assert builder.append(number, 1_700_000_000_000 + number * gap_ms, key, value, some) is not None
    return builder.build()


@given(records.filter(encodable))
def test_a_record_alone_takes_exactly_the_bytes_that_are_counted(record: tuple[bytes, bytes, list]) -> None:
    assert len(build([record])) == BATCH_OVERHEAD + size_alone(*record)


@given(st.lists(records.filter(encodable), min_size=1, max_size=200), st.integers(-60_000, 60_000))
def test_a_batch_never_takes_more_than_was_counted(batch: list, gap_ms: int) -> None:
    counted = sum(size_alone(*record) + GROWTH for record in batch)
    assert len(build(batch, gap_ms)) <= BATCH_OVERHEAD + counted


def test_a_record_that_only_fits_alone_is_counted_as_all_there_is() -> None:
    topic = Topic("t", max_batch_bytes=1_000)
    assert size_of_large(topic.room, topic) == topic.room
    with pytest.raises(RecordTooLarge):
        size_of_large(topic.room + 1, topic)


def test_the_builder_writes_producer_and_sequence_and_both_of_its_forms_agree() -> None:
    data = build([(b"k", b"v", [("h", None)])])
    assert struct.unpack_from(">qhii", data, 43) == (7, 1, 5, 1)
    batch = MemoryRecords(bytes(data)).next_batch()
    assert batch is not None
    assert batch.validate_crc()
    slow = _DefaultRecordBatchBuilderPy(2, 0, 0, 7, 1, 5, 1 << 20)
    slow.append(0, 1_700_000_000_000, b"k", b"v", [("h", None)])
    assert slow.build() == data


def test_the_builder_takes_no_record_that_would_go_beyond_its_size() -> None:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 200)
    assert builder.append(0, 1, None, b"x" * 100, []) is not None
    assert builder.append(1, 1, None, b"x" * 100, []) is None
    assert len(builder.build()) < 200


def test_connections_take_what_we_give_them() -> None:
    wanted = {"client_id", "request_timeout_ms", "ssl_context", "security_protocol", "sasl_mechanism"}
    wanted |= {"sasl_plain_username", "sasl_plain_password", "sasl_oauth_token_provider"}
    assert wanted <= set(inspect.signature(create_conn).parameters)


@pytest.mark.parametrize(("most", "chosen"), [(3, 3), (7, 7), (8, 8), (13, 8)])
def test_a_produce_request_has_the_newest_form_that_both_sides_know(most: int, chosen: int) -> None:
    request = Produce(None, -1, 1_000, "t", [(0, b"canary")]).prepare({0: (0, most)})
    assert chosen == request.API_VERSION
    assert "canary" not in repr(request)
    assert request.encode().endswith(b"canary")


async def test_a_connection_writes_when_it_is_told_to_and_is_cut_at_once() -> None:
    async with FakeBroker() as broker:
        options = {"security_protocol": "PLAINTEXT"}
        connection = await connect("127.0.0.1", broker.port, timeout=1.0, options=options)
        assert isinstance(connection, AIOKafkaConnection)
        assert isinstance(connection._writer.transport, asyncio.Transport)
        pending = connection.send(Produce(None, -1, 1_000, "events", [(0, bytes(build([(None, b"v", [])])))]))
        assert inspect.isawaitable(pending)
        assert (await pending).topics[0][1][0][:3] == (0, 45, -1)
        closed = abort(connection)
        assert not connection.connected()
        assert closed is not None
        async with asyncio.timeout(1):
            await closed


def turns(partitioner: Partitioner, sizes: list[int]) -> list[int]:
    return [partitioner.next_for(size) for size in sizes]


def test_records_without_a_key_stay_until_a_batch_is_full_then_go_on() -> None:
    random.seed(1)
    topic = Topic("t", partitions=3, leaders={0: 1, 1: 1, 2: 1})
    partitioner = Partitioner(topic, full_bytes=1_000)
    first = partitioner.current
    assert turns(partitioner, [400, 400, 400]) == [first, first, (first + 1) % 3]


def test_a_batch_that_left_ends_the_stay_only_once_it_was_as_long_as_javas() -> None:
    topic = Topic("t", partitions=2, leaders={0: 1, 1: 1})
    partitioner = Partitioner(topic, full_bytes=1_000_000)
    first = partitioner.next_for(STICKY_BYTES - 1)
    partitioner.batch_left(first)
    assert partitioner.next_for(1) == first
    partitioner.batch_left(first)
    assert partitioner.next_for(1) != first


def test_a_partition_without_a_leader_is_left_out_while_others_have_one() -> None:
    topic = Topic("t", partitions=3, leaders={0: 1})
    partitioner = Partitioner(topic, full_bytes=10)
    assert set(turns(partitioner, [10] * 9)[1:]) == {0}
    topic.leaders = {}
    assert set(turns(partitioner, [10] * 9)) == {0, 1, 2}


def test_keys_are_hashed_anew_when_partitions_are_added() -> None:
    topic = Topic("t", partitions=2, leaders={})
    partitioner = Partitioner(topic, full_bytes=10)
    keys = [b"%d" % number for number in range(50)]
    assert [partitioner.of_key(key) for key in keys] == [(murmur2(key) & 0x7FFFFFFF) % 2 for key in keys]
    topic.partitions = 5
    assert [partitioner.of_key(key) for key in keys] == [(murmur2(key) & 0x7FFFFFFF) % 5 for key in keys]


def test_headers_come_as_a_mapping_or_as_pairs() -> None:
    assert headers_of({"a": "b", "c": None}) == headers_of([("a", b"b"), ("c", None)])
    assert headers_of(()) == []
