"""A FastAPI service with an audit log: no request is answered before its row is committed, and each knows its id.

Run it: `python -m examples.fastapi_audit_log`. It takes the server that SINKWELL_POSTGRES_DSN names; without,
it starts a PostgreSQL of its own from this repository's test servers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
from fastapi import FastAPI, HTTPException, Request

from examples._servers import address_of
from sinkwell.core import DeliveryError, Outcome
from sinkwell.sinks.postgres import Ledger, PostgresSink
from tests.servers import PostgresServer

TABLE = """
CREATE TABLE IF NOT EXISTS audit_log (id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL, who text NOT NULL CHECK (who <> ''), what jsonb NOT NULL)
"""


def service(dsn: str) -> FastAPI:
    """Make the service; the sink lives as long as it does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # The ledger makes sure of every row also when the database fails over in mid-commit.
        ledger = Ledger("audit_batches", create=True)
        columns = ["at", "who", "what"]
        async with PostgresSink(dsn, "audit_log", columns, returning=["id"], ledger=ledger) as app.state.audit:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/orders/{number}")
    async def place_order(number: int, who: str, request: Request) -> dict[str, Any]:
        """Place an order; it counts only once it is in the audit log."""
        row = (datetime.now(UTC), who, {"action": "order placed", "order": number})
        try:
            receipt = await request.app.state.audit.put(row)
        except DeliveryError as error:
            # Not written: the order did not happen, and may be sent again. Unknown: somebody has to look.
            raise HTTPException(422 if error.outcome is Outcome.NOT_WRITTEN else 500) from error
        return {"order": number, "audit_id": receipt.returned["id"]}

    return app


async def main(dsn: str) -> None:
    """Serve two hundred requests at once, one of them a bad one, and look at the log."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"DROP TABLE IF EXISTS audit_log; {TABLE}")
    app = service(dsn)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            posts = [client.post(f"/orders/{number}", params={"who": "ann"}) for number in range(199)]
            answers = await asyncio.gather(*posts, client.post("/orders/199", params={"who": ""}))
        stats = app.state.audit.stats()
    rows = await connection.fetch("SELECT id, (what ->> 'order')::int AS number FROM audit_log")
    await connection.close()
    assert {answer.json()["audit_id"]: answer.json()["order"] for answer in answers[:-1]} == dict(rows)
    print(f"{len(answers)} requests, {len(rows)} rows in the log, {stats.requests} batches; the bad one got a", end=" ")
    print(answers[-1].status_code)


if __name__ == "__main__":
    with address_of(PostgresServer, "SINKWELL_POSTGRES_DSN") as address:
        asyncio.run(main(address))
