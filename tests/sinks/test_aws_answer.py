"""One HTTP answer, read as it comes: whole, in pieces, cut short, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from sinkwell.sinks._aws_answer import AnswerReader, UnreadableError


def read(data: bytes, most: int = 1000) -> Any:
    """Read an answer whole, and the same byte by byte: both must come to the same."""
    results = []
    for pieces in ([data], [data[place : place + 1] for place in range(len(data))]):
        reader, answer = AnswerReader(most), None
        try:
            for piece in pieces:
                answer = answer or reader.feed(piece)
            results.append(answer or reader.ended())
        except UnreadableError:
            results.append("unreadable")
    assert results[0] == results[1]
    return results[0]


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n", b"{}"),
        (b"HTTP/1.1 503 Gone\r\n\r\nsorry", b"sorry"),
        (b"HTTP/1.1 204 None\r\n\r\n", b""),
    ],
)
def test_an_answer_is_read_however_it_comes(data: bytes, body: bytes) -> None:
    assert read(data).body == body


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/2 200\r\n\r\n",
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 40_000,
    ],
)
def test_an_answer_that_is_not_plain_http_or_too_large_is_not_read(data: bytes) -> None:
    assert read(data) == "unreadable"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"",
    ],
)
def test_an_answer_cut_short_is_none(data: bytes) -> None:
    assert read(data) is None
