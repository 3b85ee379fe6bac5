"""What is checked before the first row: names, the table, rights, TLS; and that no password is shown."""

from __future__ import annotations

import asyncio
import ssl
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import ConfigError, Delivered, Policy
from sinkwell.sinks._postgres_connect import Dsn
from sinkwell.sinks._postgres_table import parse_table_name, quote_ident
from sinkwell.sinks.postgres import PostgresSink

if TYPE_CHECKING:
    from tests.servers import PostgresServer
    from tests.sinks.postgres.conftest import Table


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("events", '"events"'),
        ("audit.events", '"audit"."events"'),
        ("Audit.Events", '"Audit"."Events"'),
        ('"my.schema"."a ""b"""', '"my.schema"."a ""b"""'),
        ('a"; DROP TABLE x; --', None),
        ("a.b.c", None),
        ("", None),
        ("a.", None),
        ('""', None),
        ("a\0b", None),
        ("x" * 64, None),
    ],
)
def test_a_tables_name_is_quoted_or_refused(text: str, quoted: str | None) -> None:
    if quoted is not None:
        assert str(parse_table_name(text)) == quoted
        return
    with pytest.raises(ConfigError):
        parse_table_name(text)


def test_a_name_is_quoted_whatever_is_in_it() -> None:
    assert quote_ident('a"b') == '"a""b"'
    assert quote_ident("é" * 31) == '"' + "é" * 31 + '"'
    with pytest.raises(ConfigError, match="63 bytes"):
        quote_ident("é" * 32)


@pytest.mark.parametrize("columns", [[], "id", ["id", "id"], [""], ["a\0"]])
def test_columns_that_can_be_none_are_refused(columns: Any) -> None:
    with pytest.raises(ConfigError):
        PostgresSink("postgresql://localhost/x", "events", columns)


async def test_odd_names_work(table: Table) -> None:
    await table.db.execute(f'CREATE TABLE "{table.schema}"."my.Events ""x" ("select" int, "a ""b" text)')
    async with PostgresSink(table.dsn, f'{table.schema}."my.Events ""x"', ['a "b', "select"]) as sink:
        await sink.put({"select": 1, 'a "b': "x"})
    assert await table.db.fetchval('SELECT "select" FROM "my.Events ""x"') == 1


@pytest.mark.parametrize(
    ("make", "columns", "why"),
    [
        ("id int8", ["id", "nope"], "has no column 'nope'"),
        ("id int8, twice int8 GENERATED ALWAYS AS (id * 2) STORED", ["id", "twice"], "'twice' .* is generated"),
        ("id int8", ["ctid"], "has no column 'ctid'"),
    ],
)
async def test_a_column_that_can_not_be_written_is_named(make: str, columns: list[str], why: str, table: Table) -> None:
    await table.make(make)
    with pytest.raises(ConfigError, match=why):
        await table.open(*columns)


async def test_a_table_that_is_not_there_is_named(table: Table) -> None:
    await table.db.execute("DROP TABLE events")
    with pytest.raises(ConfigError, match='"events" does not exist'):
        await table.open()


async def test_a_view_is_no_table(table: Table) -> None:
    await table.db.execute("DROP TABLE events; CREATE VIEW events AS SELECT 1::int8 AS id, ''::text AS body")
    with pytest.raises(ConfigError, match="is not a table"):
        await table.open()


async def test_identity_columns_take_the_given_values(table: Table, make_batch: Any) -> None:
    await table.make("id int8 GENERATED ALWAYS AS IDENTITY, body text")
    destination = await table.open()
    await destination.write(make_batch(destination, [(41, "a"), (42, "b")]))
    assert await table.ids() == [41, 42]


async def test_defaults_fill_the_columns_that_are_not_named(table: Table, make_batch: Any) -> None:
    await table.make("id int8 DEFAULT 7, body text, twice int8 GENERATED ALWAYS AS (id * 2) STORED")
    destination = await table.open("body")
    await destination.write(make_batch(destination, [("a",)]))
    assert [tuple(row) for row in await table.db.fetch("SELECT * FROM events")] == [(7, "a", 14)]


async def test_a_partitioned_table_takes_rows_and_points_at_bad_ones(table: Table, make_batch: Any) -> None:
    await table.db.execute("""DROP TABLE events; CREATE TABLE events (id int8, body text) PARTITION BY RANGE (id);
        CREATE TABLE low PARTITION OF events FOR VALUES FROM (0) TO (10)""")
    destination = await table.open()
    await destination.write(make_batch(destination, [(1, "a")]))
    with pytest.raises(Exception, match="refused") as caught:
        await destination.write(make_batch(destination, [(2, "b"), (99, "c")]))
    assert caught.value.suspect == 1  # type: ignore[attr-defined]


@pytest.fixture
async def plain_role(table: Table) -> Any:
    """A role with a password and nothing but the right to INSERT."""
    role = table.schema.replace("test", "role")
    await table.db.execute(f"""CREATE ROLE {role} LOGIN PASSWORD 'c4nary';
        GRANT USAGE ON SCHEMA {table.schema} TO {role}; GRANT INSERT ON events TO {role}""")
    yield role
    await table.db.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def dsn_of(role: str, server: PostgresServer, password: str = "c4nary") -> str:
    return f"postgresql://{role}:{password}@{server.host}:{server.port}/sinkwell"


async def test_the_right_to_insert_is_enough(
    table: Table, plain_role: str, postgres_server: PostgresServer, make_batch: Any
) -> None:
    destination = await table.open(dsn=dsn_of(plain_role, postgres_server))
    await destination.write(make_batch(destination, [(1, "a")]))
    assert await table.ids() == [1]


async def test_a_missing_right_is_told_at_open(table: Table, plain_role: str, postgres_server: PostgresServer) -> None:
    await table.db.execute(f"REVOKE INSERT ON events FROM {plain_role}; GRANT INSERT (id) ON events TO {plain_role}")
    with pytest.raises(ConfigError, match="may not INSERT into column 'body'"):
        await table.open(dsn=dsn_of(plain_role, postgres_server))


async def test_row_level_security_is_told_at_open(
    table: Table, plain_role: str, postgres_server: PostgresServer
) -> None:
    await table.db.execute("ALTER TABLE events ENABLE ROW LEVEL SECURITY")
    with pytest.raises(ConfigError, match="row-level security"):
        await table.open(dsn=dsn_of(plain_role, postgres_server))


async def test_a_table_that_is_too_wide_for_its_mode_is_told_at_open(table: Table, make_batch: Any) -> None:
    # A mode's temporary table has columns of its own, and PostgreSQL takes no more than 1,600.
    names = [f"c{number}" for number in range(1_600)]
    await table.make(", ".join(f"{name} int2" for name in names))
    trouble: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: trouble.append(context))
    with pytest.raises(ConfigError, match="at most 1600 columns"):
        await table.open(*names, returning=["c0"])
    destination = await table.open(*names)
    [verdict] = await destination.write(make_batch(destination, [tuple(range(1_600))]))
    assert isinstance(verdict, Delivered)
    assert not trouble


def test_batches_that_could_hold_a_row_longer_than_the_server_takes_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_bytes"):
        PostgresSink("postgresql://localhost/x", "events", ["id"], policy=Policy(max_bytes=2**30))


async def test_a_server_that_is_not_there_is_a_config_error(table: Table) -> None:
    with pytest.raises(ConfigError, match="ConnectionRefusedError"):
        await table.open(dsn="postgresql://x:c4nary@127.0.0.1:1/x")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("postgresql://localhost/x", None),
        ("postgresql://u:p@127.0.0.1:5432/x", None),
        ("postgresql://[::1]:5432/x", None),
        ("postgresql:///x?host=/var/run/postgresql", None),
        ("postgresql://%2Fvar%2Frun/x", None),
        ("postgresql://db.example.com/x?sslmode=require", None),
        ("postgresql://db.example.com/x?sslrootcert=/ca.pem", "verify-full"),
        ("postgresql://db.example.com/x?sslmode=verify-full&sslrootcert=/ca.pem", None),
        ("postgresql://db.example.com/x?sslmode=verify-full", "verified"),
        ("postgresql://localhost/x?sslrootcert=system", "verified"),
        ("postgresql://u:p@db.example.com/x", "verified"),
        ("postgresql://localhost,db.example.com/x", "verified"),
        ("postgresql://localhost.example.com/x", "verified"),
    ],
)
def test_tls_is_verified_unless_the_server_is_here_or_the_dsn_says_otherwise(uri: str, expected: str | None) -> None:
    tls = Dsn(uri).tls()
    if expected == "verified":
        assert isinstance(tls, ssl.SSLContext)
        assert tls.verify_mode is ssl.CERT_REQUIRED
        assert tls.check_hostname
    else:
        assert tls == expected


def test_without_a_host_libpqs_variable_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example.com")
    assert isinstance(Dsn("postgresql:///x").tls(), ssl.SSLContext)
    monkeypatch.setenv("PGSSLMODE", "require")
    assert Dsn("postgresql:///x").tls() is None
    monkeypatch.delenv("PGSSLMODE")
    monkeypatch.setenv("PGSSLROOTCERT", "/ca.pem")
    assert Dsn("postgresql:///x").tls() == "verify-full"
    monkeypatch.delenv("PGSSLROOTCERT")
    monkeypatch.delenv("PGHOST")
    assert Dsn("postgresql:///x").tls() is None


@pytest.mark.parametrize(
    "dsn", ["mysql://u:c4nary@h/x", "postgresql://u:c4nary@h:port/x", "c4nary", "postgresql://[c4nary"]
)
def test_a_dsn_that_can_not_be_one_is_told_without_any_part_of_it(dsn: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PostgresSink(dsn, "events", ["id"])
    assert_no_canary(caught.value)


def test_a_dsn_or_a_pool_and_not_both() -> None:
    with pytest.raises(ConfigError, match="a dsn or a pool"):
        PostgresSink(None, "events", ["id"])


@pytest.mark.parametrize("wrong", ["password", "table", "nobody-listens"])
async def test_no_password_is_in_any_error_traceback_or_repr(
    wrong: str, table: Table, plain_role: str, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    dsn = dsn_of(plain_role, postgres_server, password="c4nary-wrong" if wrong == "password" else "c4nary")
    if wrong == "nobody-listens":
        dsn = dsn.replace(str(postgres_server.port), "1")
    sink = PostgresSink(dsn, table.name if wrong != "table" else f"{table.schema}.nope", ["id", "body"])
    del dsn
    try:
        await sink.open()
    except ConfigError as error:
        assert_no_canary(error)
    else:
        pytest.fail("it opened")
    assert "c4nary" not in repr(sink) + repr(vars(sink)) + repr(vars(sink._destination)) + caplog.text


def assert_no_canary(error: BaseException) -> None:
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    # Our own frames and asyncpg's; the test's own frame holds the password on purpose.
    frames = [frame for frame in told.stack if "tests/sinks" not in frame.filename]
    locals_ = "".join(str(frame.locals) for frame in frames)
    chain = [told.__cause__, told.__context__]
    assert "c4nary" not in str(error) + locals_ + "".join("".join(link.format()) for link in chain if link)
