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
from tests.sinks.aws.drawn import IDS, attributes_of, bytes_of_attributes

ARN = "arn:aws:sns:eu-west-1:123456789012:events"
STANDARD = Topic.read(ARN, {})
SMALL = dataclasses.replace(STANDARD, max_bytes=1024)
LARGE = dataclasses.replace(STANDARD, max_bytes=1_048_576)
FIFO = Topic.read(ARN + ".fifo", {"ContentBasedDeduplication": "false"})
CONTENT = dataclasses.replace(FIFO, makes_deduplication_ids=True)


def message(**fields: Any) -> SnsMessage:
    return SnsMessage(**({"message": "m"} | fields))


def test_a_topic_takes_256_kib_unless_its_own_maximum_message_size_says_otherwise() -> None:
    assert Topic.read(ARN, {}).max_bytes == 262_144
    assert Topic.read(ARN, {"MaximumMessageSize": "1048576"}).max_bytes == 1_048_576
    assert Topic.read(ARN, {"MaximumMessageSize": "1024"}).max_bytes == 1024


def test_the_subject_counts_and_counts_against_the_limit() -> None:
    assert encode_message(message(subject="é"), STANDARD).size == 1 + 2
    fits = message(message="a" * (1024 - 7), subject="subject")
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
        ({"subject": ""}, "empty"),
        ({"subject": "a" * 101}, "at most 100"),
        ({"subject": "a\nb"}, "line breaks"),
        ({"subject": "a\u2028b"}, "line breaks"),
        ({"subject": "a\tb"}, "control"),
        ({"subject": 7}, "must be str"),
        ({"group_id": "group 123"}, "without spaces"),
        ({"structure": "xml"}, "must be"),
    ],
)
def test_what_fails_a_whole_request_is_refused_at_put_in_one_sentence(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRecord, match=sentence):
        encode_message(message(**fields), STANDARD)


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


def test_a_group_of_a_standard_topic_is_handed_on_and_orders_nothing() -> None:
    encoded = encode_message(message(group_id="tenant"), STANDARD)
    assert encoded.payload.fields["MessageGroupId"] == "tenant"
    assert encoded.key is None


@pytest.mark.parametrize("arn", ["", "events", ARN + ":1b2c", ARN.replace("sns", "sqs"), ARN + " ", 7, None])
def test_only_a_topics_arn_is_one(arn: Any) -> None:
    assert not is_topic_arn(arn)
    assert is_topic_arn(ARN)
    assert is_topic_arn("arn:aws-cn:sns:cn-north-1:123456789012:events.fifo")


TEXTS = st.text(st.characters() | st.sampled_from("\x00\t\n\ud800\ufffe&=+%;"), max_size=60)
JSON_TEXTS = st.dictionaries(st.sampled_from(["default", "sqs"]), TEXTS | st.integers(), max_size=2).map(json.dumps)
MESSAGES = st.builds(
    SnsMessage,
    TEXTS | JSON_TEXTS | st.integers(500, 520).map("é".__mul__),
    st.none() | TEXTS | st.integers(98, 102).map("é".__mul__),
    st.none() | attributes_of(SnsAttribute, TEXTS),
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
    texts = f"{record.message}{record.subject or ''}".encode()
    assert encoded.size == sent.size == len(texts) + bytes_of_attributes(encoded)
