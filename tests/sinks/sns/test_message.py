from __future__ import annotations

import dataclasses
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.serialize import create_serializer
from botocore.session import get_session
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sinkwell.core import InvalidRecord, RecordTooLarge
from sinkwell.sinks._sns_message import Topic, encode_message, encode_text, is_topic_arn
from sinkwell.sinks.sns import SnsAttribute, SnsMessage
from sinkwell.sinks.testing import _sns_rules as rules
from sinkwell.sinks.testing._query import read_form
from sinkwell.sinks.testing._wire import AwsRequest

ARN = "arn:aws:sns:eu-west-1:123456789012:events"
STANDARD = Topic.read(ARN, {})
SMALL = dataclasses.replace(STANDARD, max_bytes=1024)
LARGE = dataclasses.replace(STANDARD, max_bytes=1_048_576)
FIFO = Topic.read(ARN + ".fifo", {"ContentBasedDeduplication": "false"})
CONTENT = dataclasses.replace(FIFO, makes_deduplication_ids=True)


def message(**fields: Any) -> SnsMessage:
    return SnsMessage(**({"message": "m"} | fields))


@pytest.mark.parametrize(
    ("record", "size"),
    [
        (message(message="abc"), 3),
        (message(message="é€😀"), 9),
        (message(subject="é"), 1 + 2),
        (message(attributes={"k": "x"}), 1 + 1 + len("String") + 1),
        (message(attributes={"k": b"\xff\x00"}), 1 + 1 + len("Binary") + 2),
        (message(attributes={"k": -12.5}), 1 + 1 + len("Number") + 5),
        (message(attributes={"k": SnsAttribute("String.Array", '["a"]')}), 1 + 1 + len("String.Array") + 5),
    ],
)
def test_a_message_is_counted_as_the_sum_of_its_utf8_parts(record: SnsMessage, size: int) -> None:
    assert encode_message(record, STANDARD).size == size


def test_a_topic_takes_256_kib_unless_its_own_maximum_message_size_says_otherwise() -> None:
    assert Topic.read(ARN, {}).max_bytes == 262_144
    assert Topic.read(ARN, {"MaximumMessageSize": "1048576"}).max_bytes == 1_048_576
    assert Topic.read(ARN, {"MaximumMessageSize": "1024"}).max_bytes == 1024


@pytest.mark.parametrize("topic", [SMALL, STANDARD, LARGE])
@pytest.mark.parametrize("letter", ["a", "é"])
def test_the_topics_own_limit_is_kept_to_the_byte(topic: Topic, letter: str) -> None:
    width = len(letter.encode())
    exact = letter * (topic.max_bytes // width)
    for text in (exact[:-1], exact):
        assert encode_text(text, topic).size == len(text) * width
    with pytest.raises(RecordTooLarge, match=f"{topic.max_bytes:,}"):
        encode_text(exact + "a", topic)


@pytest.mark.parametrize(("fields", "parts"), [({"attributes": {"k": "x"}}, 8), ({"subject": "subject"}, 7)])
def test_attributes_and_the_subject_count_against_the_limit(fields: dict[str, Any], parts: int) -> None:
    fits = message(message="a" * (1024 - parts), **fields)
    assert encode_message(fits, SMALL).size == 1024
    with pytest.raises(RecordTooLarge):
        encode_message(dataclasses.replace(fits, message=fits.message + "a"), SMALL)


@pytest.mark.parametrize("where", ["message", "subject", "attributes"])
def test_a_lone_surrogate_is_refused_at_put(where: str) -> None:
    for text in ("\ud800", "é\udfff"):
        with pytest.raises(InvalidRecord):
            encode_message(message(**{where: {"k": text} if where == "attributes" else text}), STANDARD)


@pytest.mark.parametrize("text", ["\x00", "\x0b", "\x7f", "\ufffe", "\U0010ffff", " "])
def test_unlike_sqs_sns_is_sent_any_text_that_has_utf8(text: str) -> None:
    assert encode_text(text, STANDARD).size == len(text.encode())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"message": ""}, "empty"),
        ({"message": 7}, "must be str, not int"),
        ({"message": None}, "must be str, not NoneType"),
        ({"subject": ""}, "empty"),
        ({"subject": "a" * 101}, "at most 100"),
        ({"subject": "a\nb"}, "line breaks"),
        ({"subject": "a\u2028b"}, "line breaks"),
        ({"subject": "a\tb"}, "control"),
        ({"subject": 7}, "must be str"),
        ({"attributes": {"": "x"}}, "name of attribute 1"),
        ({"attributes": {"a" * 257: "x"}}, "name of attribute 1"),
        ({"attributes": {"ok": "x", "AWS.name": "x"}}, "name of attribute 2"),
        ({"attributes": {"a..b": "x"}}, "name of attribute"),
        ({"attributes": {"k": ""}}, "empty"),
        ({"attributes": {"k": b""}}, "at least one"),
        ({"attributes": {"k": True}}, "not bool"),
        ({"attributes": {"k": SnsAttribute("Number", "seven")}}, "must be a number"),
        ({"attributes": {"k": SnsAttribute("Text", "x")}}, "data_type"),
        ({"attributes": {"k": SnsAttribute("Binary", "x")}}, "must be bytes"),
        ({"group_id": "group 123"}, "without spaces"),
        ({"deduplication_id": "d"}, "not FIFO"),
        ({"structure": "xml"}, "must be"),
    ],
)
def test_what_fails_a_whole_request_is_refused_at_put_in_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRecord, match=sentence):
        encode_message(message(**fields), STANDARD)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "needs a group_id"),
        ({"group_id": "group 123"}, "without spaces"),
        ({"group_id": ""}, "1 to 128"),
        ({"group_id": "g" * 129}, "1 to 128"),
        ({"group_id": "g\n"}, "ASCII"),
        ({"group_id": "g", "deduplication_id": "d d"}, "deduplication_id"),
    ],
)
def test_what_fails_a_whole_fifo_request_is_refused_at_put(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRecord, match=sentence):
        encode_message(message(**fields), FIFO)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hello", "is no JSON"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('["default"]', "no JSON object"),
        ('"default"', "no JSON object"),
        ("{}", 'no "default" key'),
        ('{"sqs": "x"}', 'no "default" key'),
        ('{"default": 7}', "not text"),
        ('{"default": "x", "sqs": {"a": 1}}', "not text"),
        ('{"default": "x", "default": "y"}', "twice"),
    ],
)
def test_a_message_for_each_protocol_is_checked_at_put(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRecord, match=sentence):
        encode_message(message(message=text, structure="json"), STANDARD)


def test_a_message_for_each_protocol_is_sent_as_it_was_written() -> None:
    text = json.dumps({"default": "", "sqs": "é", "unknown": "ignored"})
    payload = encode_message(message(message=text, structure="json"), STANDARD).payload.fields
    assert payload == {"Message": text, "MessageStructure": "json"}


def test_a_refusal_never_shows_the_content() -> None:
    bad = [{"message": "canary\ud800"}, {"subject": "canary\n"}, {"attributes": {"k": "canary\ud800"}}]
    bad += [{"message": "canary" * 200}, {"message": '{"canary": 1}', "structure": "json"}]
    for fields in bad:
        with pytest.raises(InvalidRecord) as refused:
            encode_message(message(**fields), SMALL)
        assert "canary" not in repr(refused.value)
        assert refused.value.__cause__ is None


def test_a_fifo_message_gets_an_id_of_its_own_unless_it_has_one_or_the_topic_makes_it() -> None:
    first, second = (encode_message(message(group_id="g"), FIFO) for _ in range(2))
    assert first.payload.fields["MessageDeduplicationId"] != second.payload.fields["MessageDeduplicationId"]
    assert first.key == "g"
    given_id = encode_message(message(group_id="g", deduplication_id="mine"), FIFO)
    assert given_id.payload.fields["MessageDeduplicationId"] == "mine"
    assert "MessageDeduplicationId" not in encode_message(message(group_id="g"), CONTENT).payload.fields


def test_a_group_of_a_standard_topic_is_handed_on_and_orders_nothing() -> None:
    encoded = encode_message(message(group_id="tenant"), STANDARD)
    assert encoded.payload.fields["MessageGroupId"] == "tenant"
    assert encoded.key is None


def test_a_message_changed_after_put_is_sent_as_it_was() -> None:
    attributes: dict[str, Any] = {"k": "x"}
    payload = encode_message(message(attributes=attributes), STANDARD).payload.fields
    attributes["k"] = "y"
    assert payload["MessageAttributes"] == {"k": {"DataType": "String", "StringValue": "x"}}


@pytest.mark.parametrize("arn", ["", "events", ARN + ":1b2c", ARN.replace("sns", "sqs"), ARN + " ", 7, None])
def test_only_a_topics_arn_is_one(arn: Any) -> None:
    assert not is_topic_arn(arn)
    assert is_topic_arn(ARN)
    assert is_topic_arn("arn:aws-cn:sns:cn-north-1:123456789012:events.fifo")


TEXTS = st.text(st.characters() | st.sampled_from("\x00\t\n\ud800\ufffe&=+%;"), max_size=60)
NAMES = st.sampled_from(["k", "a.b", "AWS.x", "", "é", "a" * 256]) | st.text("ab.", min_size=1, max_size=5)
TYPED = st.builds(
    SnsAttribute, st.sampled_from(["String", "String.Array", "Number", "Binary.x", ""]), TEXTS | st.binary(max_size=9)
)
VALUES = TEXTS | st.integers() | st.floats() | st.binary(max_size=40) | TYPED | st.decimals() | st.booleans()
IDS = (
    st.none() | st.text(st.characters(codec="ascii"), max_size=5) | st.sampled_from(["g", "g g", "x" * 128, "x" * 129])
)
JSON_TEXTS = st.dictionaries(st.sampled_from(["default", "sqs"]), TEXTS | st.integers(), max_size=2).map(json.dumps)
MESSAGES = st.builds(
    SnsMessage,
    TEXTS | JSON_TEXTS | st.integers(500, 520).map("é".__mul__),
    st.none() | TEXTS | st.integers(98, 102).map("é".__mul__),
    st.none() | st.dictionaries(NAMES, VALUES, max_size=11),
    st.none() | st.sampled_from(["json", "xml"]),
    IDS,
    IDS,
)
PUBLISH_BATCH = get_session().get_service_model("sns").operation_model("PublishBatch")
SERIALIZER = create_serializer("query", include_validation=False)


def as_the_endpoint_reads_it(payload: dict[str, Any]) -> rules.Published:
    """Through botocore's own serializer, and the endpoint's reading of the form."""
    parameters = {"TopicArn": ARN, "PublishBatchRequestEntries": [{"Id": "0"} | payload]}
    form = SERIALIZER.serialize_to_request(parameters, PUBLISH_BATCH)["body"]
    action, document = read_form(urlencode(form).encode())
    request = AwsRequest(1, "sns", action, 0.0, document or {})
    (entry,) = rules.entries_of(request)
    return rules.read_published(entry)


@settings(deadline=None, max_examples=300)
@given(MESSAGES, st.sampled_from([STANDARD, SMALL, FIFO, CONTENT]))
@example(SnsMessage("m", attributes={"k": 0.0}, group_id="g"), FIFO)
@example(SnsMessage('{"default":""}', structure="json"), STANDARD)
def test_any_message_is_refused_at_put_or_taken_by_the_exact_rules_and_counted_as_they_count(
    record: SnsMessage, topic: Topic
) -> None:
    try:
        encoded = encode_message(record, topic)
    except InvalidRecord:
        return
    sent = as_the_endpoint_reads_it(encoded.payload.fields)
    rules.check_published(sent, is_fifo=topic.is_fifo, is_content_based=topic.makes_deduplication_ids)
    rules.check_sizes([sent], topic.max_bytes, is_batch=True)
    parts = [record.message.encode(), (record.subject or "").encode()]
    for name, value in encoded.payload.fields.get("MessageAttributes", {}).items():
        parts += [name.encode(), *(part if isinstance(part, bytes) else part.encode() for part in value.values())]
    assert encoded.size == sent.size == len(b"".join(parts))
