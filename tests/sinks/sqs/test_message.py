from __future__ import annotations

import base64
import dataclasses
import math
from decimal import Decimal
from typing import Any

import pydantic
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sinkwell.core import InvalidRecord, RecordTooLarge
from sinkwell.sinks._json import json_text
from sinkwell.sinks._sqs_message import Queue, encode_body, encode_message
from sinkwell.sinks.sqs import SqsAttribute, SqsMessage
from sinkwell.sinks.testing import _sqs_rules as rules

STANDARD = Queue.read("https://sqs.eu-west-1.amazonaws.com/1/orders", {"MaximumMessageSize": "1048576"})
SMALL = dataclasses.replace(STANDARD, max_message_bytes=1024)
FIFO = Queue.read("https://sqs.eu-west-1.amazonaws.com/1/orders.fifo", {"ContentBasedDeduplication": "false"})
CONTENT = dataclasses.replace(FIFO, makes_deduplication_ids=True)


def message(**fields: Any) -> SqsMessage:
    return SqsMessage(**({"body": "b"} | fields))


@pytest.mark.parametrize(
    ("record", "size"),
    [
        (message(body="abc"), 3),
        (message(body="é€😀"), 9),
        (message(attributes={"k": "x"}), 1 + 1 + len("String") + 1),
        (message(attributes={"k": b"\xff\x00"}), 1 + 1 + len("Binary") + 2),
        (message(attributes={"k": -12.5}), 1 + 1 + len("Number") + 5),
        (message(attributes={"k": SqsAttribute("Number.int", "7")}), 1 + 1 + len("Number.int") + 1),
    ],
)
def test_a_message_is_counted_as_the_sum_of_its_utf8_parts(record: SqsMessage, size: int) -> None:
    assert encode_message(record, STANDARD).size == size


@pytest.mark.parametrize("queue", [SMALL, STANDARD])
@pytest.mark.parametrize("letter", ["a", "é"])
def test_the_queues_own_limit_is_kept_to_the_byte(queue: Queue, letter: str) -> None:
    width = len(letter.encode())
    exact = letter * (queue.max_message_bytes // width)
    for body in (exact[:-1], exact):
        assert encode_body(body, queue).size == len(body) * width
    with pytest.raises(RecordTooLarge, match=f"{queue.max_message_bytes:,}"):
        encode_body(exact + "a", queue)


def test_attributes_count_against_the_limit() -> None:
    fits = message(body="a" * (1024 - 8), attributes={"k": "x"})
    assert encode_message(fits, SMALL).size == 1024
    with pytest.raises(RecordTooLarge):
        encode_message(dataclasses.replace(fits, body=fits.body + "a"), SMALL)


@pytest.mark.parametrize("character", ["\x00", "\x08", "\x0b", "\x0c", "\x1f", "\ud800", "\ufffe", "\uffff"])
@pytest.mark.parametrize("around", ["a", "é"])
def test_a_character_that_sqs_forbids_is_refused_at_put(character: str, around: str) -> None:
    for record in (message(body=around + character), message(attributes={"k": around + character})):
        with pytest.raises(InvalidRecord, match="character that SQS refuses"):
            encode_message(record, STANDARD)


@pytest.mark.parametrize("character", list("\t\n\r \x7f\x80\ud7ff\ue000\ufffd\U00010000\U0010ffff"))
def test_every_edge_of_what_sqs_allows_is_taken(character: str) -> None:
    assert encode_body(character, STANDARD).size == len(character.encode())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"body": ""}, "empty"),
        ({"body": 7}, "must be str, not int"),
        ({"attributes": {f"k{n}": "x" for n in range(11)}}, "at most 10"),
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
        ({"attributes": {"k": math.nan}}, "must be a number"),
        ({"attributes": {"k": 10**5000}}, "must be a number"),
        ({"attributes": {"k": int("9" * 39)}}, "at most 38 digits"),
        ({"attributes": {"k": Decimal("1E+127")}}, "below 1E"),
        ({"attributes": {"k": SqsAttribute("Number", "seven")}}, "must be a number"),
        ({"attributes": {"k": SqsAttribute("Text", "x")}}, "data_type"),
        ({"attributes": {"k": SqsAttribute("String.", "x")}}, "data_type"),
        ({"attributes": {"k": SqsAttribute("Binary", "x")}}, "must be bytes"),
        ({"attributes": {"k": SqsAttribute("String", b"x")}}, "must be str"),
        ({"delay_seconds": -1}, "0 to 900"),
        ({"delay_seconds": 901}, "0 to 900"),
        ({"delay_seconds": True}, "0 to 900"),
        ({"delay_seconds": 1.5}, "0 to 900"),
        ({"group_id": "g"}, "not FIFO"),
        ({"deduplication_id": "d"}, "not FIFO"),
    ],
)
def test_what_sqs_would_refuse_is_refused_at_put_in_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRecord, match=sentence):
        encode_message(message(**fields), STANDARD)


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
        ({"group_id": "g", "delay_seconds": 0}, "leave it out"),
    ],
)
def test_what_fails_a_whole_fifo_batch_is_refused_at_put(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRecord, match=sentence):
        encode_message(message(**fields), FIFO)


def test_a_refusal_never_shows_the_content() -> None:
    for record in (message(body="canary\x00"), message(attributes={"k": "canary\x00"}), message(body="canary" * 200)):
        with pytest.raises(InvalidRecord) as refused:
            encode_message(record, SMALL)
        assert "canary" not in repr(refused.value)


def test_a_fifo_message_gets_an_id_of_its_own_unless_it_has_one_or_the_queue_makes_it() -> None:
    first, second = (encode_message(message(group_id="g"), FIFO) for _ in range(2))
    assert first.payload.fields["MessageDeduplicationId"] != second.payload.fields["MessageDeduplicationId"]
    assert first.key == "g"
    given_id = encode_message(message(group_id="g", deduplication_id="mine"), FIFO)
    assert given_id.payload.fields["MessageDeduplicationId"] == "mine"
    assert "MessageDeduplicationId" not in encode_message(message(group_id="g"), CONTENT).payload.fields


@pytest.mark.parametrize("delay", [0, 900])
def test_a_delay_goes_with_its_message(delay: int) -> None:
    assert encode_message(message(delay_seconds=delay), STANDARD).payload.fields["DelaySeconds"] == delay


def test_a_message_changed_after_put_is_sent_as_it_was() -> None:
    attributes: dict[str, Any] = {"k": "x"}
    payload = encode_message(message(attributes=attributes), STANDARD).payload.fields
    attributes["k"] = "y"
    assert payload["MessageAttributes"] == {"k": {"DataType": "String", "StringValue": "x"}}


def test_other_objects_become_json_and_what_has_no_json_is_refused() -> None:
    assert json_text({"a": [1, "é"]}) == '{"a":[1,"é"]}'
    circle: list[Any] = []
    circle.append(circle)
    for record in (object(), circle, {"a": "\ud800"}, {"a": object()}):
        with pytest.raises(InvalidRecord, match="can't become JSON"):
            json_text(record)
    with pytest.raises(InvalidRecord, match=r"a dict with a \S+Decoy in it"):
        json_text({"canary": Decoy()})


def test_a_model_whose_serializer_quotes_the_record_is_not_quoted_by_us() -> None:
    with pytest.raises(InvalidRecord) as refused:
        json_text(Talkative(secret="canary"))
    assert "canary" not in repr(refused.value)
    assert refused.value.__context__ is None


class Decoy:
    pass


class Talkative(pydantic.BaseModel):
    secret: str

    @pydantic.field_serializer("secret")
    def refuse(self, value: str) -> str:
        raise ValueError(f"cannot take {value}")


def test_a_queue_that_tells_no_size_is_taken_at_sqs_most() -> None:
    assert Queue.read(STANDARD.url, {}).max_message_bytes == 1_048_576
    assert Queue.read(STANDARD.url, {"MaximumMessageSize": "262144"}).max_message_bytes == 262_144


TEXTS = st.text(st.characters() | st.sampled_from("\x00\t\x1f\ud800\ufffe\U0010ffff"), max_size=60)
NAMES = st.sampled_from(["k", "a.b", "AWS.x", "", "é", "a" * 256]) | st.text("ab.", min_size=1, max_size=5)
TYPED = st.builds(
    SqsAttribute, st.sampled_from(["String", "Number", "Binary.x", "Other", ""]), TEXTS | st.binary(max_size=9)
)
VALUES = TEXTS | st.integers() | st.floats() | st.binary(max_size=40) | TYPED | st.decimals() | st.booleans()
IDS = (
    st.none() | st.text(st.characters(codec="ascii"), max_size=5) | st.sampled_from(["g", "g g", "x" * 128, "x" * 129])
)
MESSAGES = st.builds(
    SqsMessage,
    TEXTS | st.integers(1000, 1100).map("é".__mul__),
    st.none() | st.dictionaries(NAMES, VALUES, max_size=11),
    st.none() | st.integers(-2, 902),
    IDS,
    IDS,
    st.none(),
    st.none() | st.sampled_from(["Root=1-5759e988-bd862e3fe1be46a994272793", "Sampled=1"]) | TEXTS,
)


def wire_form(payload: dict[str, Any]) -> dict[str, Any]:
    """What the client makes of a payload: binary values become Base64."""
    attributes = {
        name: {key: base64.b64encode(part).decode() if isinstance(part, bytes) else part for key, part in value.items()}
        for name, value in payload.get("MessageAttributes", {}).items()
    }
    return {"Id": "0"} | payload | {"MessageAttributes": attributes}


@settings(deadline=None, max_examples=300)
@given(MESSAGES, st.sampled_from([STANDARD, SMALL, FIFO, CONTENT]), st.booleans())
@example(SqsMessage("b", {"k": 0.0}, group_id="g"), FIFO, False)
def test_any_message_is_refused_at_put_or_taken_by_the_exact_rules_and_counted_as_they_count(
    record: SqsMessage, queue: Queue, fair: bool
) -> None:
    try:
        encoded = encode_message(record, queue, fair_queues=fair)
    except InvalidRecord:
        return
    sent = rules.read_sent(wire_form(encoded.payload.fields))
    assert rules.find_entry_error(sent, queue.max_message_bytes, is_fifo=queue.is_fifo) is None
    if queue.is_fifo:
        rules.check_fifo(sent, is_content_based=queue.makes_deduplication_ids, is_batch=True)
    parts = [record.body.encode()]
    for name, value in encoded.payload.fields.get("MessageAttributes", {}).items():
        parts += [name.encode(), *(part if isinstance(part, bytes) else part.encode() for part in value.values())]
    assert encoded.size == sent.size == len(b"".join(parts))
