import json
import re
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.examples.running import ROOT, examples_in, run_by, run_example

if TYPE_CHECKING:
    from tests.servers.kafka import KafkaServer
    from tests.servers.postgres import PostgresServer
    from tests.servers.rabbitmq import RabbitMQServer


def test_the_orders_service_delivers_every_order_through_a_failing_sqs() -> None:
    assert run_example("orders_service").startswith("100 orders, 100 messages in the queue")


def test_the_rows_example_names_the_bad_rows_and_delivers_their_neighbours(postgres_server: "PostgresServer") -> None:
    assert "9,999 rows are there" in run_example("rows_stream", SINKWELL_POSTGRES_DSN=postgres_server.dsn)


def test_the_audit_log_answers_each_request_with_the_id_of_its_own_row(postgres_server: "PostgresServer") -> None:
    told = run_example("fastapi_audit_log", SINKWELL_POSTGRES_DSN=postgres_server.dsn)
    assert told.startswith("200 requests, 199 rows in the log")
    assert told.endswith("422\n")


def test_a_csvs_good_lines_are_in_the_table_and_its_bad_ones_in_a_file(postgres_server: "PostgresServer") -> None:
    told = run_example("csv_dead_letters", SINKWELL_POSTGRES_DSN=postgres_server.dsn)
    assert told.count("4,997 products are there, 3 lines are not") == 2
    assert [json.loads(line)["record"]["number"] for line in told.splitlines()[2:]] == ["?", 400, 4_000]


def test_the_fastapi_service_answers_with_the_place_of_each_event(kafka_server: "KafkaServer") -> None:
    admin = AdminClient({"bootstrap.servers": kafka_server.bootstrap_servers})
    admin.create_topics([NewTopic("orders", 3)])["orders"].result(10)
    environment = {
        "SINKWELL_KAFKA_BOOTSTRAP_SERVERS": kafka_server.bootstrap_servers,
        "SINKWELL_KAFKA_TOPIC": "orders",
    }
    told = run_example("fastapi_kafka", **environment)
    assert told.startswith("200 orders placed, 200 events in the topic where the answers say")


def test_the_predict_example_calls_the_model_with_full_lists_and_fails_the_bad_image_alone() -> None:
    assert run_example("predict").startswith("300 requests, 2 calls of the model")


def test_the_bulk_load_stays_under_its_tables_capacity() -> None:
    assert run_example("dynamodb_bulk_load").startswith("2,000 items are there, 0 are not; 2,400 write units in ")


def test_the_fastapi_service_answers_for_what_is_in_the_queue() -> None:
    assert run_example("fastapi_sqs").startswith("300 orders accepted and in the queue, 2 refused")


def test_the_lambda_function_leaves_nothing_to_the_freeze() -> None:
    assert run_example("lambda_handler").count(" 0 left to the freeze") == 3


def test_the_worker_moves_a_rabbitmq_queue_into_postgres_and_acknowledges_what_has_a_receipt(
    rabbitmq_server: "RabbitMQServer", postgres_server: "PostgresServer"
) -> None:
    servers = {"SINKWELL_RABBITMQ_URL": rabbitmq_server.url, "SINKWELL_POSTGRES_DSN": postgres_server.dsn}
    assert "5000 published, 4998 rows, 0 left in the queue" in run_example("rabbitmq_to_postgres", **servers)


def test_every_example_is_run_by_a_test_here() -> None:
    assert examples_in("") == run_by(__file__)


@pytest.mark.parametrize("page", ["README.md", "DESIGN.md", "docs/batched.md"])
def test_what_a_page_quotes_from_an_example_is_what_the_example_says(page: str) -> None:
    quotes = re.findall(r"<!-- from (\S+) -->\n```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)

    assert quotes or page != "README.md"
    for file, quote in quotes:
        assert quote in (ROOT / file).read_text()
