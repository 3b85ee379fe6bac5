"""Events of Celery tasks, in PostgreSQL, from the processes of a prefork pool.

Serve it with `celery -A examples.blocking.celery_tasks worker`; SINKWELL_POSTGRES_DSN and REDIS_URL say where.
Run it: `python -m examples.blocking.celery_tasks`: a worker, two processes, and a database that hangs at the end.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_process_shutdown
from celery.utils.log import get_task_logger

from examples.blocking.events import event, sink

logger = get_task_logger(__name__)
app = Celery("events", broker=os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
app.conf.broker_connection_retry_on_startup = True


@worker_init.connect
def announce(**_: Any) -> None:
    """Put an event before the pool is forked: the sink is open then, with a thread and a connection."""
    sink.put(event("start", 0), timeout=10)


@worker_process_shutdown.connect
def drain(**_: Any) -> None:
    """Deliver what is pending. A process of the pool ends by `os._exit`: nothing else would."""
    logger.warning("this process ends, and delivers what it has")
    sink.close(timeout=20)


@app.task
def place_order(number: int) -> None:
    """Be done when the event is committed, and not before."""
    sink.put(event("order", number), timeout=10)


@app.task
def note_view(number: int) -> None:
    """Be done when the event is accepted; it is delivered soon, and at the process's end at the latest."""
    sink.submit(event("view", number), timeout=10)


if __name__ == "__main__":
    from examples.blocking.trial import try_tasks

    try_tasks("examples.blocking.celery_tasks")
