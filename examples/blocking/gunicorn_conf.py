"""gunicorn's settings: the application is imported once, and its processes are forked from there."""

from examples.blocking.events import event, sink

preload_app = True
workers = 2
threads = 8


def when_ready(_: object) -> None:
    """Put an event before the workers are forked: the sink is open then, with a thread and a connection."""
    sink.put(event("start", 0), timeout=10)
