import asyncio
import contextlib
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import pytest
from aiobotocore.session import get_session
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import ConsumerRecord
from cassandra.cluster import Cluster

from localstack import init
from tests.faults import FaultProxy
from tests.servers import (
    CassandraServer,
    DynamoDBLocalServer,
    KafkaServer,
    LocalStackServer,
    PostgresServer,
    RabbitMQServer,
    RedisServer,
    Server,
    ServerFailed,
    guard,
)

_ROOT = Path(__file__).parents[2]


def aws(service: str, url: str) -> Any:
    return get_session().create_client(
        service, endpoint_url=url, region_name=init.REGION, aws_access_key_id="test", aws_secret_access_key="test"
    )


async def consume(bootstrap_servers: str, topic: str) -> ConsumerRecord[bytes, bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(30):
        return await consumer.getone()


async def produce(bootstrap_servers: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, enable_idempotence=True)
    async with producer, asyncio.timeout(30):
        await producer.send_and_wait(topic, value)


async def read_queue(sqs: Any, name: str) -> str:
    url = (await sqs.get_queue_url(QueueName=name))["QueueUrl"]
    received = (await sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10))["Messages"][0]
    await sqs.delete_message(QueueUrl=url, ReceiptHandle=received["ReceiptHandle"])
    return str(received["Body"])


def listening_addresses(server: Server) -> set[str]:
    """Where the server's processes listen, from the kernel's tables."""
    process = server._process
    assert process is not None
    sockets = set()
    for pid in guard.processes_below(process._guard.pid):
        for handle in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                sockets.add(str(handle.readlink()))
    found = set()
    for table, family, words in (("tcp", socket.AF_INET, "<I"), ("tcp6", socket.AF_INET6, "<4I")):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in sockets:
                address = struct.pack(words, *struct.unpack(words.replace("<", ">"), bytes.fromhex(local[:-5])))
                found.add(socket.inet_ntop(family, address))
    return found


async def test_postgres_keeps_a_copied_row_over_a_kill(postgres_server: PostgresServer) -> None:
    connection = await asyncpg.connect(postgres_server.dsn)
    await connection.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept (id int)")
    await connection.copy_records_to_table("kept", records=[(7,)])
    postgres_server.kill()
    await asyncio.to_thread(postgres_server.restart)
    connection.terminate()
    connection = await asyncpg.connect(postgres_server.dsn)
    assert await connection.fetchval("SELECT id FROM kept") == 7
    assert await connection.fetchval("SHOW max_prepared_transactions") == "20"
    await connection.close()


async def test_postgres_asks_for_the_password(postgres_server: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres_server.dsn.replace(":sinkwell@", ":wrong@"))


async def test_rabbitmq_confirms_a_message_and_gives_it_back(rabbitmq_server: RabbitMQServer) -> None:
    async with await aio_pika.connect(rabbitmq_server.url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue("confirmed", auto_delete=True)
        await channel.default_exchange.publish(aio_pika.Message(b"hello"), routing_key="confirmed")
        received = await queue.get(timeout=10)
        await received.ack()
    assert received.body == b"hello"


def test_cassandra_keeps_what_a_batch_wrote(cassandra_server: CassandraServer) -> None:
    with Cluster([cassandra_server.host], port=cassandra_server.port) as cluster, cluster.connect() as session:
        session.execute("CREATE KEYSPACE kept WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        session.execute("CREATE TABLE kept.rows (id int PRIMARY KEY)")
        session.execute("BEGIN BATCH INSERT INTO kept.rows (id) VALUES (1) APPLY BATCH")
        assert [row.id for row in session.execute("SELECT id FROM kept.rows")] == [1]


async def test_redis_answers_ping(redis_server: RedisServer) -> None:
    reader, writer = await asyncio.open_connection(redis_server.host, redis_server.port)
    writer.write(b"*1\r\n$4\r\nPING\r\n")
    assert await reader.readline() == b"+PONG\r\n"
    writer.close()
    await writer.wait_closed()


async def test_kafka_takes_a_record_from_an_idempotent_producer_and_gives_it_back(kafka_server: KafkaServer) -> None:
    await produce(kafka_server.bootstrap_servers, "straight", b"hello")
    assert (await consume(kafka_server.bootstrap_servers, "straight")).value == b"hello"


async def test_a_kafka_client_stays_behind_the_proxy(kafka_server: KafkaServer) -> None:
    async with FaultProxy.to(kafka_server.host, kafka_server.proxied_port, on_port=kafka_server.proxy_port) as proxy:
        await produce(f"{proxy.host}:{proxy.port}", "proxied", b"x" * 10_000)
        assert proxy.up.bytes_passed > 10_000


async def test_dynamodb_local_has_the_tables_and_gives_an_item_back(dynamodb_server: DynamoDBLocalServer) -> None:
    key = {"device_id": {"S": "d"}, "event_id": {"S": "e"}}
    async with aws("dynamodb", dynamodb_server.url) as dynamodb:
        reply = await dynamodb.batch_write_item(RequestItems={"sinkwell-events": [{"PutRequest": {"Item": key}}]})
        found = await dynamodb.get_item(TableName="sinkwell-events", Key=key, ConsistentRead=True)
    assert reply["UnprocessedItems"] == {}
    assert found["Item"] == key


async def test_localstack_has_the_queues_as_the_init_script_says(localstack_server: LocalStackServer) -> None:
    async with aws("sqs", localstack_server.url) as sqs:
        attributes = {}
        for name in (init.QUEUE, init.FIFO_QUEUE, init.SMALL_QUEUE):
            url = (await sqs.get_queue_url(QueueName=name))["QueueUrl"]
            attributes[name] = (await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]))["Attributes"]
        entries = [{"Id": "0", "MessageBody": "a"}, {"Id": "1", "MessageBody": "a" * 2000}]
        reply = await sqs.send_message_batch(QueueUrl=url, Entries=entries)
    assert attributes[init.SMALL_QUEUE]["MaximumMessageSize"] == "1024"
    assert attributes[init.FIFO_QUEUE]["ContentBasedDeduplication"] == "false"
    assert [entry["Id"] for entry in reply["Successful"]] == ["0"]
    assert reply["Failed"][0]["SenderFault"]


async def test_localstack_delivers_from_a_topic_to_its_queue(localstack_server: LocalStackServer) -> None:
    async with aws("sqs", localstack_server.url) as sqs, aws("sns", localstack_server.url) as sns:
        topics = {arn["TopicArn"].rpartition(":")[2]: arn["TopicArn"] for arn in (await sns.list_topics())["Topics"]}
        await sns.publish_batch(
            TopicArn=topics[init.TOPIC], PublishBatchRequestEntries=[{"Id": "0", "Message": "hello"}]
        )
        entry = {"Id": "0", "Message": "in order", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
        await sns.publish_batch(TopicArn=topics[init.FIFO_TOPIC], PublishBatchRequestEntries=[entry])
        assert await read_queue(sqs, init.TOPIC_QUEUES[init.TOPIC]) == "hello"
        assert await read_queue(sqs, init.TOPIC_QUEUES[init.FIFO_TOPIC]) == "in order"


def test_the_init_script_runs_as_localstacks_ready_hook(
    localstack_server: LocalStackServer, dynamodb_server: DynamoDBLocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SINKWELL_MESSAGING_URL", localstack_server.url)
    monkeypatch.setenv("SINKWELL_DYNAMODB_URL", dynamodb_server.url)
    # Word for word what LocalStack's runner of Python hooks does.
    namespace: dict[str, Any] = {}
    exec((_ROOT / "localstack" / "init.py").read_bytes(), namespace)
    assert "main" in namespace


@pytest.mark.parametrize("server", ["postgres", "rabbitmq", "redis", "kafka", "dynamodb", "localstack"])
def test_a_server_listens_on_loopback_only(server: str, request: pytest.FixtureRequest) -> None:
    addresses = listening_addresses(request.getfixturevalue(f"{server}_server"))
    assert addresses
    assert addresses <= {"127.0.0.1", "::1"}


def test_a_paused_server_takes_connections_and_answers_none(redis_server: RedisServer) -> None:
    with socket.create_connection((redis_server.host, redis_server.port), timeout=0.2) as client:
        redis_server.pause()
        client.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            client.recv(7)
        redis_server.resume()
        client.settimeout(5)
        assert client.recv(7) == b"+PONG\r\n"


@pytest.mark.parametrize("damage", [Server.kill, Server.pause])
def test_a_broken_server_is_mended_for_the_next_test(
    redis_server: RedisServer, damage: Callable[[Server], None]
) -> None:
    damage(redis_server)
    redis_server.mend()
    assert redis_server.answers()


def test_a_server_that_cannot_start_fails_with_its_own_last_words() -> None:
    class BadlyConfigured(RedisServer):
        def command(self) -> list[str]:
            return [*super().command(), "--maxmemory-policy", "by-mood"]

    with pytest.raises(ServerFailed, match=r"(?s)Redis stopped before it answered.*maxmemory-policy.*by-mood"):
        BadlyConfigured.start()


def test_a_server_whose_program_is_missing_fails_with_its_name() -> None:
    class Missing(RedisServer):
        def command(self) -> list[str]:
            return ["/nowhere/redis-server"]

    with pytest.raises(ServerFailed, match=r"/nowhere/redis-server: .*No such file"):
        Missing.start()


def test_a_server_that_never_answers_fails_within_its_time_limit() -> None:
    class Mute(RedisServer):
        time_limit = 0.3

        def answers(self) -> bool:
            return False

    with pytest.raises(ServerFailed, match=r"(?s)gave no answer in 0.3 s.*Ready to accept connections"):
        Mute.start()


def test_a_test_whose_server_cannot_start_fails_and_is_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(redis_server): pass")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, cwd=_ROOT, env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False)
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "ServerFailed: redis-server is not on this machine: run tests/servers/setup" in run.stdout


def test_an_environment_variable_points_at_a_running_server(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RedisServer.variable, redis_server.url)
    with RedisServer.start() as outside:
        assert outside.port == redis_server.port
        with pytest.raises(ServerFailed, match=f"{RedisServer.variable}: it is not ours to break"):
            outside.kill()
    assert redis_server.answers()


@pytest.mark.parametrize(
    ("kind", "address", "moved"),
    [
        (PostgresServer, "postgresql://u:p@db:5432/name?x=1", "postgresql://u:p@127.0.0.1:9/name?x=1"),
        (KafkaServer, "k:9092", "127.0.0.1:9"),
    ],
)
def test_an_address_leads_through_a_proxy(kind: type[Server], address: str, moved: str) -> None:
    assert kind(address).through("127.0.0.1", 9) == moved


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_no_server_and_no_folder_behind(number: signal.Signals) -> None:
    # Its Erlang port mapper turns into a daemon: the hardest of them to catch.
    program = (
        "from tests.servers import RabbitMQServer, RedisServer\n"
        "rabbit, redis = RabbitMQServer.start(), RedisServer.start()\n"
        "print(rabbit.folder, rabbit.port, rabbit._mapper_port, redis.folder, redis.port, flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=_ROOT)
    assert run.stdout is not None
    with run, run.stdout as words:
        first, *ports, last, port = words.readline().split()
        run.send_signal(number)
    deadline = time.monotonic() + 10
    while Path(first).exists() or Path(last).exists():
        assert time.monotonic() < deadline, "a data folder is still there"
        time.sleep(0.02)
    for each in (*ports, port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(each)), timeout=1)
