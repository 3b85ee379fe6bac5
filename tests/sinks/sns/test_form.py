"""What goes out directly and what comes back, held to botocore's own serializer and parser."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_plus

import pytest
from botocore.awsrequest import AWSRequest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import ResponseParserError, create_parser
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkwell.sinks._aws_xml import _parsed, read_entries, without_document_type
from sinkwell.sinks._sns_form import quoted, request_body
from sinkwell.sinks._sns_message import SnsMessage, Topic, encode_message, encode_text

ARN = "arn:aws:sns:us-east-1:123456789012:events"
TOPIC = Topic.read(ARN, {})
MODEL = ServiceModel(Loader().load_service_model("sns", "service-2")).operation_model("PublishBatch")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("+%& =\n~*\0é😀"), min_size=1)
MESSAGES = st.builds(
    SnsMessage,
    TEXTS,
    st.none() | st.text("ab +%é", min_size=1),
    st.none() | st.dictionaries(st.sampled_from(["a", "b.c", "Name"]), TEXTS | st.binary(min_size=1), min_size=1),
    group_id=st.none() | st.text("ab+%&", min_size=1),
)


@settings(deadline=None)
@given(st.lists(MESSAGES | TEXTS, min_size=1, max_size=10))
def test_a_body_is_the_one_that_botocore_makes_to_the_byte(messages: list[SnsMessage | str]) -> None:
    payloads = [
        (encode_text(one, TOPIC) if isinstance(one, str) else encode_message(one, TOPIC)).payload for one in messages
    ]
    entries = [{"Id": str(place), **payload.fields} for place, payload in enumerate(payloads)]
    asked: dict[str, Any] = {"TopicArn": ARN, "PublishBatchRequestEntries": entries}
    form = create_serializer("query").serialize_to_request(asked, MODEL)["body"]
    assert request_body(ARN, payloads).decode() == AWSRequest("POST", "https://sns/", {}, form).prepare().body
    texts = [one if isinstance(one, str) else one.message for one in messages]
    assert [entry["Message"] for entry in entries] == texts
    for one, entry in zip(messages, entries, strict=True):
        sent: Any = entry.get("MessageAttributes", {})
        values = {name: typed.get("BinaryValue", typed.get("StringValue")) for name, typed in sent.items()}
        assert values == (getattr(one, "attributes", None) or {})


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_is_escaped_as_pythons_own_library_does(text: str) -> None:
    assert quoted(text) == quote_plus(text).encode()
    everything = "".join(map(chr, range(256))) + text  # above the number of passes
    assert quoted(everything) == quote_plus(everything).encode()


FIELDS = st.dictionaries(st.sampled_from(["Id", "MessageId", "Code", "SenderFault", "New"]), st.sampled_from(
    ["0", "1", "true", "false", "a&amp;b", " x ", "&#233;", "<![CDATA[c]]>"]
), max_size=4)  # fmt: skip


def written(lists: dict[str, list[dict[str, str]]]) -> bytes:
    def members(items: list[dict[str, str]]) -> str:
        return "".join(f"<member>{''.join(f'<{k}>{v}</{k}>' for k, v in item.items())}</member>" for item in items)

    inner = "".join(f"<{name}>{members(items)}</{name}>\n" for name, items in lists.items())
    start = '<?xml version="1.0"?><PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
    after = "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></PublishBatchResponse>"
    return f"{start}<PublishBatchResult>{inner}</PublishBatchResult>{after}".encode()


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["Successful", "Failed"]), st.lists(FIELDS, max_size=4)))
def test_an_answer_is_read_as_botocore_reads_it(lists: dict[str, list[dict[str, str]]]) -> None:
    body = written(lists)
    parser: Any = create_parser("query")
    theirs = parser.parse({"status_code": 200, "headers": {}, "body": body, "context": {}}, MODEL.output_shape)
    known = {"Id", "MessageId", "Code", "SenderFault"}
    ours: Any = read_entries("PublishBatch", body)
    for name in ("Successful", "Failed"):
        # A field that the model does not know is read as well, and nobody asks for it.
        read = [{field: item[field] for field in item if field in known} for item in ours.get(name, [])]
        expected = theirs.get(name, [])
        allowed = {"Id", "MessageId"} if name == "Successful" else known - {"MessageId"}
        assert [{field: item[field] for field in item if field in allowed} for item in read] == expected


USUAL = written({"Failed": [], "Successful": [{"MessageId": "m-0", "Id": "0"}, {"MessageId": "m-1", "Id": "1"}]})
PARTS = [
    b"<member>",
    b"</member>",
    b"<Id>",
    b"</Id>",
    b"<Failed/>",
    b"</Successful>",
    b"&amp;",
    b"\x0b",
    b"]]>",
    b"\xe9",
]


@settings(deadline=None)
@given(st.integers(0, len(USUAL)), st.integers(0, 12), st.sampled_from([b"", b" ", b"2", *PARTS]))
def test_the_usual_answer_is_read_as_the_parser_reads_it(place: int, cut: int, put: bytes) -> None:
    spoilt = USUAL.replace(b"<Failed></Failed>", b"<Failed/>")
    spoilt = spoilt[:place] + put + spoilt[place + cut :]
    try:
        expected: Any = _parsed("PublishBatch", spoilt)
    except ResponseParserError:
        with pytest.raises(ResponseParserError):
            read_entries("PublishBatch", spoilt)
        return
    read = read_entries("PublishBatch", spoilt)
    assert [read.get(name) or [] for name in expected] == [*expected.values()]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<PublishBatchResponse>",
        b"<PublishResponse></PublishResponse>",
        b"<!DOCTYPE a [<!ENTITY b 'bb'>]><PublishBatchResponse>&b;</PublishBatchResponse>",
        b"<!DOCTYPE PublishBatchResponse SYSTEM 'http://127.0.0.1/'><PublishBatchResponse/>",
        b"<PublishBatchResponse>&unknown;</PublishBatchResponse>",
        b"<PublishBatchResponse/><PublishBatchResponse/>",
        written({"Successful": [{"Id": "0"}]}).replace(b"</Successful>", b"</Successful><Successful></Successful>"),
        written({"Successful": [{"Id": "0"}]}).replace(b"</Id>", b"</Id><Id>1</Id>"),
        written({"Successful": [{"Id": "0"}]}).replace(b"</Id>", b"<a>1</a></Id>"),
    ],
)
def test_an_answer_that_is_not_plain_is_not_read(body: bytes) -> None:
    with pytest.raises(ResponseParserError) as raised:
        read_entries("PublishBatch", body)
    assert "member" not in str(raised.value), "the answer may quote the request"


def test_an_error_that_could_grow_is_not_read() -> None:
    bomb = b"<!DOCTYPE a [<!ENTITY b 'bbbbbbbb'><!ENTITY c '&b;&b;&b;'>]><ErrorResponse>&c;</ErrorResponse>"
    for body in (bomb, bomb.decode().encode("utf-16")):
        with pytest.raises(ResponseParserError):
            without_document_type(body)
    assert without_document_type(b"<ErrorResponse/>") == b"<ErrorResponse/>"
