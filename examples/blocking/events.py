"""What the services of this folder share: one blocking sink a process, and the table that it writes to."""

import os

from sinkwell.core.blocking import BlockingSink
from sinkwell.sinks.postgres import PostgresSink

TABLE = "CREATE TABLE event (kind text, number int, process int NOT NULL, PRIMARY KEY (kind, number))"


def open_sink() -> PostgresSink:
    """Make the sink of a process; each that is forked makes its own."""
    return PostgresSink(os.environ["SINKWELL_POSTGRES_DSN"], "event", ["kind", "number", "process"])


sink = BlockingSink(open_sink)  # nothing is opened yet


def event(kind: str, number: int) -> tuple[str, int, int]:
    """Make a row, which says which process put it."""
    return kind, number, os.getpid()
