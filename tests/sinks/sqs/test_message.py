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

from sinkwell.core import InvalidRecord
from sinkwell.sinks._json import json_text
from sinkwell.sinks._sqs_message import Queue, encode_body, encode_message
from sinkwell.sinks.sqs import SqsAttribute, SqsMessage
from sinkwell.sinks.testing import _sqs_rules as rules
from tests.sinks.aws.drawn import IDS, attributes_of, bytes_of_attributes

STANDARD = Queue.read("https://sqs.eu-west-1.amazonaws.com/1/orders", {"MaximumMessageSize": "1048576"})
SMALL = dataclasses.replace(STANDARD, max_message_bytes=1024)
FIFO = Queue.read("https://sqs.eu-west-1.amazonaws.com/1/orders.fifo", {"ContentBasedDeduplication": "false"})
CONTENT = dataclasses.replace(FIFO, makes_deduplication_ids=True)


def message(**fields: Any) -> SqsMessage:
    return SqsMessage(**({"body": "b"} | fields))


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
        ({"attributes": {f"k{n}": "x" for n in range(11)}}, "at most 10"),
        ({"attributes": {"k": math.nan}}, "must be a number"),
        ({"attributes": {"k": 10**5000}}, "must be a number"),
        ({"attributes": {"k": int("9" * 39)}}, "at most 38 digits"),
        ({"attributes": {"k": Decimal("1E+127")}}, "below 1E"),
        ({"delay_seconds": -1}, "0 to 900"),
        ({"delay_seconds": 901}, "0 to 900"),
        ({"delay_seconds": True}, "0 to 900"),
        ({"delay_seconds": 1.5}, "0 to 900"),
        ({"group_id": "g"}, "not FIFO"),
    ],
)
def test_what_sqs_would_refuse_is_refused_at_put_in_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRecord, match=sentence):
        encode_message(message(**fields), STANDARD)


def test_a_delay_of_its_own_fails_a_whole_fifo_batch_and_is_refused_at_put() -> None:
    with pytest.raises(InvalidRecord, match="leave it out"):
        encode_message(message(group_id="g", delay_seconds=0), FIFO)


def test_a_refusal_never_shows_the_content() -> None:
    for record in (message(body="canary\x00"), message(attributes={"k": "canary\x00"}), message(body="canary" * 200)):
        with pytest.raises(InvalidRecord) as refused:
            encode_message(record, SMALL)
        assert "canary" not in repr(refused.value)


@pytest.mark.parametrize("delay", [0, 900])
def test_a_delay_goes_with_its_message(delay: int) -> None:
    assert encode_message(message(delay_seconds=delay), STANDARD).payload.fields["DelaySeconds"] == delay


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
MESSAGES = st.builds(
    SqsMessage,
    TEXTS | st.integers(1000, 1100).map("é".__mul__),
    st.none() | attributes_of(SqsAttribute, TEXTS),
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
    assert encoded.size == sent.size == len(record.body.encode()) + bytes_of_attributes(encoded)
