from __future__ import annotations

import pytest

from sinkwell.cli._csv import CsvReader
from sinkwell.cli._lines import BadLine, Line, LineSplitter


def read(content: str | bytes, block_bytes: int = 1 << 20) -> list[tuple[int, object]]:
    """Rows as their cells, bad lines as their problem, each with its number."""
    data = content.encode() if isinstance(content, str) else content
    splitter, reader, found = LineSplitter(), CsvReader(), list[Line | BadLine]()
    for at in range(0, len(data), block_bytes):
        found += reader.feed(splitter.feed(data[at : at + block_bytes]))
    found += reader.feed(splitter.end(), is_last=True)
    return [(line.number, line.problem if isinstance(line, BadLine) else line.value) for line in found]


EXAMPLES = [
    ("a,b\n1,2\n3,4\n", [(2, ["1", "2"]), (3, ["3", "4"])]),
    ("a,b\r\n1,2\r\n", [(2, ["1", "2"])]),
    ("a,b\n1,2", [(2, ["1", "2"])]),
    ("\ufeffa,b\n1,2\n", [(2, ["1", "2"])]),
    ("a,b\n\n1,2\n", [(3, ["1", "2"])]),
    ('a,b\n1,"x, ""y"" z"\n', [(2, ["1", 'x, "y" z'])]),
    ('a,b\n1,"two\nlines"\n3,4\n', [(2, ["1", "two\nlines"]), (4, ["3", "4"])]),
    ('a,b\n1,5" disk\n3,4\n', [(2, ["1", '5" disk']), (3, ["3", "4"])]),
    ("a,b\n1,l\u2028m\x0bn\n3,4\n", [(2, ["1", "l\u2028m\x0bn"]), (3, ["3", "4"])]),
    ("a,b\n1,2,3\n3,4\n", [(2, "3 cells under a header of 2"), (3, ["3", "4"])]),
    (b"a,b\n1,\xff\n3,4\n", [(2, "byte 3 is not UTF-8"), (3, ["3", "4"])]),
    ("", []),
    ("a,b\n", []),
]


@pytest.mark.parametrize(("content", "rows"), EXAMPLES, ids=range(len(EXAMPLES)))
@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 1000])
def test_rows_are_the_same_however_the_input_is_cut(content: str | bytes, rows: list[object], block_bytes: int) -> None:
    assert read(content, block_bytes) == rows


@pytest.mark.parametrize("block_bytes", [1, 5, 1000])
def test_a_stray_quote_does_not_take_its_neighbours_with_it(block_bytes: int) -> None:
    found = read('a,b\n"1,2\n3,4\n5,"six"\n7,8\n', block_bytes)
    assert found == [(2, "',' expected after '\"'"), (3, ["3", "4"]), (4, ["5", "six"]), (5, ["7", "8"])]


def test_a_quote_that_is_never_closed_spoils_its_own_line_only() -> None:
    assert read('a,b\n"1,2\n3,4\n') == [(2, "unexpected end of data"), (3, ["3", "4"])]


def test_the_inside_of_a_broken_cell_is_never_taken_for_rows() -> None:
    (line,) = read('a,b\n1,"one\nx,y\ntwo three"z\n')
    assert line == (2, "',' expected after '\"'")


def test_a_quote_that_is_not_closed_for_long_is_given_up_and_memory_stays_bounded() -> None:
    rows = [f"{number},x" for number in range(300_000)]
    found = read('a,b\n"1,2\n' + "\n".join(rows) + "\n", 1 << 16)
    assert [line for line in found if isinstance(line[1], str)] == [(2, "its quote is not closed")]
    assert len(found) == 300_001


def test_a_dead_letter_shows_cells_by_column_and_nothing_as_null() -> None:
    reader = CsvReader(nulls=frozenset({"", "NA"}))
    (line,) = reader.feed(["a,b,c\n", '1,NA,"x\n', 'y"\n'], is_last=True)
    assert isinstance(line, Line)
    assert reader.record_of(line) == {"a": "1", "b": None, "c": "x\ny"}
