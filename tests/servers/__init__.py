"""Real servers without Docker, for tests, demos and benchmarks; `tests/servers/setup` installs what they need."""

from tests.servers.cassandra import CassandraServer as CassandraServer
from tests.servers.dynamodb_local import DynamoDBLocalServer as DynamoDBLocalServer
from tests.servers.kafka import KafkaMember as KafkaMember
from tests.servers.kafka import KafkaServer as KafkaServer
from tests.servers.localstack import LocalStackServer as LocalStackServer
from tests.servers.pgbouncer import PgBouncerServer as PgBouncerServer
from tests.servers.postgres import PostgresServer as PostgresServer
from tests.servers.postgres import PostgresStandby as PostgresStandby
from tests.servers.postgres import PostgresTlsServer as PostgresTlsServer
from tests.servers.postgres import PostgresVectorServer as PostgresVectorServer
from tests.servers.process import ServerFailed as ServerFailed
from tests.servers.process import free_port as free_port
from tests.servers.rabbitmq import RabbitMQServer as RabbitMQServer
from tests.servers.redis import RedisServer as RedisServer
from tests.servers.server import Server as Server
