"""The uses of async-batcher, each as an example; and its load test, short: no failure, whatever the machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from examples.async_batcher.load import load, service

if TYPE_CHECKING:
    from tests.servers import CassandraServer, DynamoDBLocalServer, PostgresServer

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "async_batcher"
SERVED = {"load", "load_test", "predict_service"}


def run_example(name: str, **environment: str) -> str:
    words = [sys.executable, "-m", f"examples.async_batcher.{name}"]
    done = subprocess.run(
        words,
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_dynamodb_writes_reach_a_table_that_throttles_and_leaves_some_unprocessed() -> None:
    assert run_example("dynamodb_writes").startswith("100 items are there")


def test_dynamodb_reads_are_merged_projected_and_asked_for_again(dynamodb_server: DynamoDBLocalServer) -> None:
    said = run_example("dynamodb_reads", SINKWELL_TEST_DYNAMODB_URL=dynamodb_server.url)
    found = re.fullmatch(r"1000 names, (\d+) requests; 60 large users, (\d+) requests\n", said)
    assert found is not None, said
    # 320 keys need four requests; more than 16 MB need two, of which the first left keys unprocessed.
    assert int(found[1]) <= 8
    assert int(found[2]) == 2


def test_sql_rows_come_back_to_their_callers_and_a_bad_one_fails_alone(postgres_server: PostgresServer) -> None:
    said = run_example("sql_writes", SINKWELL_TEST_POSTGRES_DSN=postgres_server.dsn)
    assert said.startswith("498 users inserted, 2 refused alone")


def test_cassandra_rows_go_in_one_batch_a_partition(cassandra_server: CassandraServer) -> None:
    said = run_example("cassandra_writes", SINKWELL_TEST_CASSANDRA=cassandra_server.address)
    assert said == "1000 readings are there, 10 requests\n"


def test_a_scikit_learn_model_is_called_with_matrices() -> None:
    assert run_example("sklearn_model").startswith("301 requests, 2 calls of the model")


def test_an_onnx_model_is_called_with_matrices() -> None:
    assert run_example("onnx_model").startswith("300 requests, 2 calls of the model")


def test_a_grpc_service_calls_its_model_with_lists() -> None:
    assert run_example("grpc_service").startswith("300 calls, far fewer of the model, 1 failed alone")


@pytest.mark.parametrize("endpoint", ["/optimized_predict", "/async_batcher"])
def test_the_service_answers_every_request_of_a_short_load_test(endpoint: str) -> None:
    with service() as served:
        seen = load(served, endpoint, 50, 2)
    assert seen.failed == 0
    assert seen.succeeded >= 50


def test_every_example_of_the_folder_is_run_by_a_test_here() -> None:
    tested = set(re.findall(r'run_example\("(\w+)"', Path(__file__).read_text()))
    assert {file.stem for file in FOLDER.glob("*.py")} - SERVED == tested
