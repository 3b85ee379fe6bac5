"""SQLAlchemy: handlers insert and update one row each; the rows go in one statement, and each gets its own back.

Run it: five hundred handlers at once, into PostgreSQL.
"""

import asyncio
from dataclasses import dataclass

from sqlalchemy import Integer, column, insert, update, values
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sinkwell.core import BatchRefused, batched


class Base(DeclarativeBase):
    """The tables."""


class User(Base):
    """A row."""

    __tablename__ = "examples_users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    visits: Mapped[int] = mapped_column(default=0)


@dataclass(frozen=True)
class Visits:
    """How often a user was here."""

    id: int
    visits: int


class Users:
    """The table, for handlers that know one row."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @batched(max_records=500, concurrency=4)
    async def add(self, emails: list[str]) -> list[int]:
        """Insert a user and return its id. An address that is taken fails alone, by IntegrityError."""
        statement = insert(User).returning(User.id, sort_by_parameter_order=True)
        try:
            async with self.engine.begin() as connection:
                rows = await connection.execute(statement, [{"email": email} for email in emails])
                return list(rows.scalars())
        except IntegrityError as error:
            raise BatchRefused from error  # all or nothing: the batch is halved until the culprit is found

    @batched(max_records=500)  # one at a time: two statements over the same rows could deadlock
    async def set_visits(self, changes: list[Visits]) -> list[str | None]:
        """Update a user and return its address, or `None` if there is none; of several changes the last one holds."""
        given = {change.id: change.visits for change in changes}
        table = values(column("id", Integer), column("visits", Integer), name="given").data(list(given.items()))
        statement = update(User).where(User.id == table.c.id).values(visits=table.c.visits)
        async with self.engine.begin() as connection:
            rows = await connection.execute(statement.returning(User.id, User.email))
            addresses = {row.id: row.email for row in rows}
        return [addresses.get(change.id) for change in changes]


async def main(dsn: str) -> None:
    """Insert five hundred users, two of them with an address that is taken, and update them."""
    engine = create_async_engine(dsn.replace("postgresql://", "postgresql+asyncpg://", 1))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
    users = Users(engine)
    await users.add("taken@example.org")
    emails = [f"{number}@example.org" for number in range(500)]
    emails[7] = emails[321] = "taken@example.org"

    ids = await asyncio.gather(*map(users.add, emails), return_exceptions=True)
    added = {email: user for email, user in zip(emails, ids, strict=True) if isinstance(user, int)}
    taken = [error for error in ids if isinstance(error, IntegrityError)]
    assert (len(added), len(taken)) == (498, 2)

    answers = await asyncio.gather(*(users.set_visits(Visits(user, 3)) for user in [*added.values(), 1_000_000]))
    assert answers == [*added, None]
    async with engine.connect() as connection:
        visited = (await connection.execute(User.__table__.select().where(User.visits == 3))).all()
    assert {row.email: row.id for row in visited} == added
    await engine.dispose()
    print(
        f"{len(added)} users inserted, {len(taken)} refused alone, in {users.add.stats().requests} transactions; "
        f"{len(visited)} updated in {users.set_visits.stats().requests}"
    )


def run() -> None:
    """Start a server of our own, or take the one that SINKWELL_TEST_POSTGRES_DSN names."""
    from tests.servers import PostgresServer

    with PostgresServer.start() as server:
        asyncio.run(main(server.dsn))


if __name__ == "__main__":
    run()
