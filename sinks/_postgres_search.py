"""Which row of a refused batch the server will not have, where it names none. Before: the error. After: a suspect.

Halving a batch from here costs a request for each half. The server can do it by itself: the rows go into a temporary
table once more, and a block of PL/pgSQL puts halves of them in, each in a subtransaction, with deferred constraints
checked at once, until one row is left: one that fails, or that a trigger leaves out without a word. All of it is rolled
back. What it finds is a hint, which the core tries alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ._extras import needs_extra

with needs_extra("postgres"):
    import asyncpg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._postgres_connect import Connection
    from ._postgres_merge import Merge

FEWEST: Final = 32
"""With fewer rows, halving them takes no longer than the search."""

_FOUND: Final = "SWL01"  # a class of errors that PostgreSQL leaves to others
_LOW, _MIDDLE, _ROWS = "sinkwell_low", "sinkwell_middle", "sinkwell_rows"
_BLOCK: Final = f"""
DO $sinkwell$
DECLARE {_LOW} int := 0; sinkwell_high int := {{count}}; {_MIDDLE} int; {_ROWS} int;
BEGIN
    WHILE sinkwell_high - {_LOW} > 1 LOOP
        {_MIDDLE} := ({_LOW} + sinkwell_high) / 2;
        BEGIN
            {{statement}};
            GET DIAGNOSTICS {_ROWS} = ROW_COUNT;
            IF {{lacks}} THEN RAISE 'a row was left out'; END IF;
            SET CONSTRAINTS ALL IMMEDIATE;
            SET CONSTRAINTS ALL DEFERRED;
            {_LOW} := {_MIDDLE};
        EXCEPTION WHEN OTHERS THEN
            sinkwell_high := {_MIDDLE};
        END;
    END LOOP;
    RAISE EXCEPTION USING ERRCODE = '{_FOUND}', MESSAGE = {_LOW}::text;
END $sinkwell$
"""


async def search(connection: Connection, merge: Merge, rows: Sequence[tuple[Any, ...]]) -> int | None:
    """Return the index of the first row that can't be put in after those before it; leaves the transaction open."""
    await connection.execute(merge.begin)
    await merge.copy(connection, iter(rows))
    statement, lacks = merge.part(_LOW, _MIDDLE), merge.lacks(_LOW, _MIDDLE, _ROWS)
    try:
        await connection.execute(_BLOCK.format(count=len(rows), statement=statement, lacks=lacks))
    except asyncpg.PostgresError as found:
        if found.sqlstate == _FOUND:
            return int(str(found))
        raise
    return None
