"""The server that an example uses: the one that the environment names, or one of this repository's test servers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tests.servers import Server


@contextmanager
def address_of(kind: type[Server], variable: str) -> Iterator[str]:
    """Give the address in this environment variable, or that of a server of our own, which ends with the block."""
    if address := os.environ.get(variable):
        yield address
        return
    with kind.start() as server:
        yield server.address
