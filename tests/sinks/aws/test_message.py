"""What SQS and SNS count and refuse alike of a message, before anything is buffered."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import InvalidRecord, RecordTooLarge
from sinkwell.sinks import _sns_message, _sqs_message
from sinkwell.sinks._aws_message import MessageAttribute
from sinkwell.sinks.sns import SnsAttribute
from sinkwell.sinks.sqs import SqsAttribute
from tests.sinks.aws.service import SNS, SQS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sinks.aws.service import Messaging


@dataclasses.dataclass(frozen=True)
class Form:
    """How one service writes what both have: its functions, and a place of each kind that matters."""

    service: Messaging
    attribute: type[MessageAttribute]
    encode_message: Callable[..., Any]
    encode_text: Callable[..., Any]
    size_option: str  # of a place: the largest message that it takes
    standard: Any
    fifo: Any

    def encode(self, place: Any = None, text: str = "m", **fields: Any) -> Any:
        for name, value in (fields.get("attributes") or {}).items():
            if isinstance(value, MessageAttribute):
                fields["attributes"] = {name: self.attribute(value.data_type, value.value)}
        return self.encode_message(self.service.message(text, **fields), place or self.standard)

    def taking(self, size: int) -> Any:
        return dataclasses.replace(self.standard, **{self.size_option: size})


_URL = "https://sqs.eu-west-1.amazonaws.com/1/orders"
_ARN = "arn:aws:sns:eu-west-1:123456789012:orders"
_OWN = {"ContentBasedDeduplication": "false"}
_QUEUE, _TOPIC = _sqs_message.Queue.read, _sns_message.Topic.read
SQS_FORM = Form(
    SQS,
    SqsAttribute,
    _sqs_message.encode_message,
    _sqs_message.encode_body,
    "max_message_bytes",
    _QUEUE(_URL, {}),
    _QUEUE(f"{_URL}.fifo", _OWN),
)
SNS_FORM = Form(
    SNS,
    SnsAttribute,
    _sns_message.encode_message,
    _sns_message.encode_text,
    "max_bytes",
    _TOPIC(_ARN, {}),
    _TOPIC(f"{_ARN}.fifo", _OWN),
)


@pytest.fixture(params=[SQS_FORM, SNS_FORM], ids=lambda form: form.service.name)
def form(request: pytest.FixtureRequest) -> Form:
    chosen: Form = request.param
    return chosen


@pytest.mark.parametrize(
    ("text", "attributes", "size"),
    [
        ("abc", None, 3),
        ("é€😀", None, 9),
        ("m", {"k": "x"}, 1 + 1 + len("String") + 1),
        ("m", {"k": b"\xff\x00"}, 1 + 1 + len("Binary") + 2),
        ("m", {"k": -12.5}, 1 + 1 + len("Number") + 5),
        ("m", {"k": MessageAttribute("Number.int", "7")}, 1 + 1 + len("Number.int") + 1),
        ("m", {"k": MessageAttribute("String.Array", '["a"]')}, 1 + 1 + len("String.Array") + 5),
    ],
)
def test_a_message_is_counted_as_the_sum_of_its_utf8_parts(form: Form, text: str, attributes: Any, size: int) -> None:
    assert form.encode(text=text, attributes=attributes).size == size


@pytest.mark.parametrize("limit", [1024, 262_144, 1_048_576])
@pytest.mark.parametrize("letter", ["a", "é"])
def test_the_places_own_limit_is_kept_to_the_byte(form: Form, limit: int, letter: str) -> None:
    place, width = form.taking(limit), len(letter.encode())
    exact = letter * (limit // width)
    for text in (exact[:-1], exact):
        assert form.encode_text(text, place).size == len(text) * width
    with pytest.raises(RecordTooLarge, match=f"{limit:,}"):
        form.encode_text(exact + "a", place)


def test_attributes_count_against_the_limit(form: Form) -> None:
    small, text = form.taking(1024), "a" * (1024 - 8)
    assert form.encode(small, text, attributes={"k": "x"}).size == 1024
    with pytest.raises(RecordTooLarge):
        form.encode(small, text + "a", attributes={"k": "x"})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"text": ""}, "empty"),
        ({"text": 7}, "must be str, not int"),
        ({"text": None}, "must be str, not NoneType"),
        ({"attributes": {"": "x"}}, "name of attribute 1"),
        ({"attributes": {"a" * 257: "x"}}, "name of attribute 1"),
        ({"attributes": {"ok": "x", "AWS.name": "x"}}, "name of attribute 2"),
        ({"attributes": {"amazon.name": "x"}}, "name of attribute"),
        ({"attributes": {".a": "x"}}, "name of attribute"),
        ({"attributes": {"a.": "x"}}, "name of attribute"),
        ({"attributes": {"a..b": "x"}}, "name of attribute"),
        ({"attributes": {"é": "x"}}, "name of attribute"),
        ({"attributes": {3: "x"}}, "name of attribute"),
        ({"attributes": {"k": ""}}, "empty"),
        ({"attributes": {"k": b""}}, "at least one"),
        ({"attributes": {"k": True}}, "not bool"),
        ({"attributes": {"k": None}}, "not NoneType"),
        ({"attributes": {"k": MessageAttribute("Number", "seven")}}, "must be a number"),
        ({"attributes": {"k": MessageAttribute("Text", "x")}}, "data_type"),
        ({"attributes": {"k": MessageAttribute("String.", "x")}}, "data_type"),
        ({"attributes": {"k": MessageAttribute("Binary", "x")}}, "must be bytes"),
        ({"attributes": {"k": MessageAttribute("String", b"x")}}, "must be str"),
        ({"deduplication_id": "d"}, "not FIFO"),
    ],
)
def test_what_the_service_would_refuse_is_refused_at_put_in_one_sentence(
    form: Form, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidRecord, match=sentence):
        form.encode(**fields)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "needs a group_id"),
        ({"group_id": "group 123"}, "without spaces"),
        ({"group_id": ""}, "1 to 128"),
        ({"group_id": "g" * 129}, "1 to 128"),
        ({"group_id": "é"}, "ASCII"),
        ({"group_id": "g\n"}, "ASCII"),
        ({"group_id": "g", "deduplication_id": "d d"}, "deduplication_id"),
    ],
)
def test_what_fails_a_whole_fifo_request_is_refused_at_put(form: Form, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRecord, match=sentence):
        form.encode(form.fifo, **fields)


def test_a_fifo_message_gets_an_id_of_its_own_unless_it_has_one_or_its_place_makes_it(form: Form) -> None:
    first, second = (form.encode(form.fifo, group_id="g") for _ in range(2))
    assert first.payload.fields["MessageDeduplicationId"] != second.payload.fields["MessageDeduplicationId"]
    assert first.key == "g"
    given = form.encode(form.fifo, group_id="g", deduplication_id="mine")
    assert given.payload.fields["MessageDeduplicationId"] == "mine"
    content = dataclasses.replace(form.fifo, makes_deduplication_ids=True)
    assert "MessageDeduplicationId" not in form.encode(content, group_id="g").payload.fields


def test_a_message_changed_after_put_is_sent_as_it_was(form: Form) -> None:
    attributes: dict[str, Any] = {"k": "x"}
    payload = form.encode(attributes=attributes).payload.fields
    attributes["k"] = "y"
    assert payload["MessageAttributes"] == {"k": {"DataType": "String", "StringValue": "x"}}
