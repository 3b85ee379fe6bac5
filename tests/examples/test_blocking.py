"""The blocking front in the frameworks it is for, in processes that they fork and end, while the database hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.examples.running import examples_in, run_by, run_example

if TYPE_CHECKING:
    from tests.servers import PostgresServer, RedisServer

SHARED = {f"blocking.{name}" for name in ("events", "gunicorn_conf", "trial")}
ALL_THERE = "200 orders and 100 views are there, each once\n"


def test_flask_under_gunicorn_delivers_each_event_once_and_the_last_ones_at_exit(
    postgres_server: PostgresServer,
) -> None:
    assert run_example("blocking.flask_service", SINKWELL_POSTGRES_DSN=postgres_server.dsn) == ALL_THERE


def test_django_under_gunicorn_delivers_each_event_once_and_the_last_ones_at_exit(
    postgres_server: PostgresServer,
) -> None:
    assert run_example("blocking.django_service", SINKWELL_POSTGRES_DSN=postgres_server.dsn) == ALL_THERE


def test_celerys_prefork_pool_delivers_each_event_once_and_the_last_ones_at_exit(
    postgres_server: PostgresServer, redis_server: RedisServer
) -> None:
    servers = {"SINKWELL_POSTGRES_DSN": postgres_server.dsn, "REDIS_URL": redis_server.url}
    assert run_example("blocking.celery_tasks", **servers).endswith(ALL_THERE)


def test_every_example_of_the_folder_is_run_by_a_test_here() -> None:
    assert examples_in("blocking") - SHARED == run_by(__file__)
