"""Signatures and bodies of the direct way, held to botocore's own."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from sinkwell.sinks._aws_signature import Credentials, Signer
from sinkwell.sinks._dynamodb_record import Put, encode_put, request_body
from sinkwell.sinks._dynamodb_table import KeyAttribute, Table
from sinkwell.sinks._sqs_destination import _body as sqs_body
from sinkwell.sinks._sqs_message import Queue, encode_message
from sinkwell.sinks.sqs import SqsMessage

SERIALIZER = create_serializer("json")
WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
AT = dt.datetime(2026, 11, 21, 12, 0, 1)  # noqa: DTZ001 - botocore's own form of it


@settings(deadline=None)
@given(WORDS, WORDS, st.none() | WORDS, st.binary(max_size=200), st.sampled_from(["/", "/base", "/a/b~c/"]))
def test_a_signature_is_the_one_that_botocore_makes(
    access: str, secret: str, token: str | None, body: bytes, path: str
) -> None:
    headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessageBatch"}
    request = AWSRequest("POST", f"https://sqs.eu-west-1.amazonaws.com{path}", dict(headers), body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda: AT)
        auth.SigV4Auth(ReadOnlyCredentials(access, secret, token), "sqs", "eu-west-1").add_auth(request)
    ours = headers | {"host": "sqs.eu-west-1.amazonaws.com", "x-amz-date": "20261121T120001Z"}
    ours |= {"x-amz-security-token": token} if token else {}
    signer = Signer("eu-west-1", "sqs")
    for _ in range(2):  # with the key just made, and with the one that was kept
        made = signer.authorization(
            Credentials(access, secret, token), "20261121T120001Z", path, sorted(ours.items()), body
        )
        assert made == request.headers["Authorization"]


def test_the_kept_key_is_of_its_day_and_its_secret_only() -> None:
    signer = Signer("eu-west-1", "sqs")
    made = [
        signer.authorization(Credentials("a", secret, None), at, "/", [("host", "h")], b"")
        for secret, at in (("s", "20261121T235959Z"), ("s", "20261122T000000Z"), ("t", "20261122T000000Z"))
    ]
    assert len({one.rpartition("=")[2] for one in made}) == 3


BODIES = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('"\\\n\té😀'), min_size=1).filter(
    lambda text: not set(text) & {"\ufffe", "\uffff"}
)
MESSAGES = st.builds(
    SqsMessage, BODIES, st.none() | st.dictionaries(st.sampled_from("abc"), BODIES | st.binary(min_size=1))
)


def serialized(service: str, operation: str, parameters: dict[str, Any]) -> Any:
    model = ServiceModel(Loader().load_service_model(service, "service-2")).operation_model(operation)
    return json.loads(SERIALIZER.serialize_to_request(parameters, model)["body"])


@settings(deadline=None)
@given(st.lists(MESSAGES, min_size=1, max_size=10))
def test_an_sqs_body_is_the_one_that_botocore_makes(messages: list[SqsMessage]) -> None:
    queue = Queue.read("https://sqs.eu-west-1.amazonaws.com/1/örders", {})
    payloads = [encode_message(message, queue).payload for message in messages]
    entries = [{"Id": str(place), **payload.fields} for place, payload in enumerate(payloads)]
    theirs = serialized("sqs", "SendMessageBatch", {"QueueUrl": queue.url, "Entries": entries})
    assert json.loads(sqs_body(queue.url, payloads)) == theirs
    assert [entry["MessageBody"] for entry in theirs["Entries"]] == [message.body for message in messages]


VALUES = st.recursive(
    st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(10**20), 10**20) | st.binary() | st.booleans()
    | st.none() | st.sets(st.binary(), min_size=1, max_size=3) | st.sets(st.integers(-99, 99), min_size=1, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["B", "BS", "é"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["B", "S", "é", "x"]), VALUES), min_size=1, max_size=4))
def test_a_dynamodb_body_is_the_one_that_botocore_makes_to_the_byte(items: list[dict[str, Any]]) -> None:
    table = Table("orders", (KeyAttribute("id", "S", 2048),))
    writes = [encode_put(Put(item | {"id": "k"}), table, "refuse").payload for item in items]
    model = ServiceModel(Loader().load_service_model("dynamodb", "service-2")).operation_model("BatchWriteItem")
    asked: dict[str, Any] = {"RequestItems": {"orders": [write.request for write in writes]}}
    for counts in (False, True):
        asked |= {"ReturnConsumedCapacity": "TOTAL"} if counts else {}
        body = SERIALIZER.serialize_to_request(asked, model)["body"]
        assert request_body({"orders": writes}, counts_capacity=counts) == body
