from __future__ import annotations

from decimal import Decimal

import pytest

from sinkwell.cli._lines import BadLine, Line, LineSplitter
from sinkwell.cli._ndjson import NdjsonReader


def read(content: bytes, *, block_bytes: int = 1 << 20, most: int = 1 << 20) -> list[Line | BadLine]:
    splitter, reader, found = LineSplitter(most), NdjsonReader(exact=True), list[Line | BadLine]()
    for at in range(0, len(content), block_bytes):
        found += reader.feed(splitter.feed(content[at : at + block_bytes]))
    return found + list(reader.feed(splitter.end(), is_last=True))


@pytest.mark.parametrize("block_bytes", [1, 3, 1000])
def test_each_line_is_a_value_and_empty_ones_are_passed_over(block_bytes: int) -> None:
    found = read('\ufeff{"a": 1}\r\n\n  \n"é"\n[2]'.encode(), block_bytes=block_bytes)
    assert [(line.number, line.value) for line in found if isinstance(line, Line)] == [
        (1, {"a": 1}),
        (4, "é"),
        (5, [2]),
    ]


def test_numbers_keep_every_digit() -> None:
    (line,) = read(b'{"a": 0.12345678901234567890}')
    assert isinstance(line, Line)
    assert line.value == {"a": Decimal("0.12345678901234567890")}


BROKEN = [
    (b'{"a": 1', "broken JSON: Expecting ',' delimiter at character 8"),
    (b'{"a": NaN}', "JSON that can't be read: NaN is no number in JSON"),
    (b"[" * 200_000, "JSON that can't be read: maximum recursion depth exceeded while decoding a JSON array"),
    (b'{"a": "\xc3("}', "byte 8 is not UTF-8"),
    (b"1" * 5_000, "JSON that can't be read: Exceeds the limit (4300 digits)"),
]


@pytest.mark.parametrize(("content", "problem"), BROKEN, ids=range(len(BROKEN)))
def test_a_line_that_is_no_json_is_told_with_its_place(content: bytes, problem: str) -> None:
    good, bad, after = read(b"1\n" + content + b"\n2\n")
    assert isinstance(bad, BadLine)
    assert bad.problem.startswith(problem)
    assert bad.text.encode(errors="surrogateescape") == content
    assert (good.number, bad.number, after.number) == (1, 2, 3)


@pytest.mark.parametrize("block_bytes", [100, 1000, 4_000])
def test_a_line_beyond_measure_is_one_bad_line_and_is_not_kept_whole(block_bytes: int) -> None:
    before, bad, after = read(b"1\n" + b"x" * 50_000 + b"\n2\n", block_bytes=block_bytes, most=5_000)
    assert isinstance(bad, BadLine)
    assert len(bad.text) == 1_000
    assert bad.problem.startswith("the line is 50,000 bytes long, above 5,000")
    assert (before.number, bad.number, after.number) == (1, 2, 3)
