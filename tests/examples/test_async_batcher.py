"""The uses of async-batcher, each as an example; and its load test, short: no failure, whatever the machine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from examples.async_batcher.load import load, service
from tests.examples.running import examples_in, run_by, run_example

if TYPE_CHECKING:
    from tests.servers import CassandraServer, DynamoDBLocalServer, PostgresServer

SERVED = {f"async_batcher.{name}" for name in ("load", "load_test", "predict_service")}


def test_dynamodb_writes_reach_a_table_that_throttles_and_leaves_some_unprocessed() -> None:
    assert run_example("async_batcher.dynamodb_writes").startswith("100 items are there")


def test_dynamodb_reads_are_merged_projected_and_asked_for_again(dynamodb_server: DynamoDBLocalServer) -> None:
    said = run_example("async_batcher.dynamodb_reads", SINKWELL_TEST_DYNAMODB_URL=dynamodb_server.url)
    found = re.fullmatch(r"1000 names, (\d+) requests; 60 large users, (\d+) requests\n", said)
    assert found is not None, said
    # 320 keys need four requests; more than 16 MB need two, of which the first left keys unprocessed.
    assert int(found[1]) <= 8
    assert int(found[2]) == 2


def test_sql_rows_come_back_to_their_callers_and_a_bad_one_fails_alone(postgres_server: PostgresServer) -> None:
    said = run_example("async_batcher.sql_writes", SINKWELL_TEST_POSTGRES_DSN=postgres_server.dsn)
    assert said.startswith("498 users inserted, 2 refused alone")


def test_cassandra_rows_go_in_one_batch_a_partition(cassandra_server: CassandraServer) -> None:
    said = run_example("async_batcher.cassandra_writes", SINKWELL_TEST_CASSANDRA=cassandra_server.address)
    assert said == "1000 readings are there, 10 requests\n"


def test_a_scikit_learn_model_is_called_with_matrices() -> None:
    assert run_example("async_batcher.sklearn_model").startswith("301 requests, 2 calls of the model")


def test_an_onnx_model_is_called_with_matrices() -> None:
    assert run_example("async_batcher.onnx_model").startswith("300 requests, 2 calls of the model")


def test_a_grpc_service_calls_its_model_with_lists() -> None:
    assert run_example("async_batcher.grpc_service").startswith("300 calls, far fewer of the model, 1 failed alone")


def test_the_service_answers_every_request_of_a_short_load_test() -> None:
    with service() as served:
        loads = [load(served, endpoint, 50, 4) for endpoint in ("/optimized_predict", "/async_batcher")]
    assert [seen.failed for seen in loads] == [0, 0]
    assert all(seen.succeeded >= 50 for seen in loads)


def test_every_example_of_the_folder_is_run_by_a_test_here() -> None:
    assert examples_in("async_batcher") - SERVED == run_by(__file__)
