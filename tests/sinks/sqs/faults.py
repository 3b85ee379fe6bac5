"""What SQS alone answers, and what each must mean: three records are written while it happens."""

from __future__ import annotations

from typing import Any

from sinkwell.sinks.testing import Contradict, FailEntries, Garbage, Refuse, Throttle
from tests.sinks.oracle import D, R, T, U, X

FAULTS: list[tuple[Any, list[str]]] = [
    # the whole request is throttled
    (Throttle(), [T] * 3),
    (Throttle("OverLimit"), [T] * 3),
    (Throttle("KmsThrottled"), [T] * 3),
    # a part of it fails
    (FailEntries(positions=[0, 2], code="KmsThrottled", sender_fault=True), [T, D, T]),
    (FailEntries(positions=[1], code="KMS.ThrottlingException", sender_fault=True), [D, T, D]),
    (FailEntries(positions=[2], code="InvalidMessageContents", sender_fault=True), [D, D, X]),
    (FailEntries(positions=[0], code="InvalidParameterValue", sender_fault=True), [X, D, D]),
    # the answer does not account for every entry
    (Contradict([0], code="InvalidMessageContents", sender_fault=True), [U, D, D]),
    # there is a 200, and nothing readable in it
    (Garbage(b'{"Successful": "all", "Failed": 7}'), [U] * 3),
    (Garbage(b'{"Successful": [{"Id": "0"}, {"Id": 1}, null]}'), [U] * 3),
    (Garbage(b"[" * 100_000), [U] * 3),
    # credentials: they get renewed while the service runs
    (Refuse("RequestTimeTooSkewed", status=403), [R] * 3),
    # what a person must mend
    *((Refuse(f"Kms{kind}"), [X] * 3) for kind in ("Disabled", "InvalidState", "NotFound", "AccessDenied")),
    *((Refuse(f"Kms{kind}"), [X] * 3) for kind in ("OptInRequired", "InvalidKeyUsage")),
    (Refuse("InvalidAddress"), [X] * 3),
    (Refuse("UnsupportedOperation"), [X] * 3),
]
