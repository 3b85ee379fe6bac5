"""What SNS alone answers, and what each must mean: three records are written while it happens."""

from __future__ import annotations

from typing import Any

from sinkwell.sinks.testing import Contradict, FailEntries, Garbage, Omit, Refuse, Throttle
from tests.sinks.oracle import D, R, T, U, X

START = b'<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
LISTS = START + b"<PublishBatchResult>%s</PublishBatchResult></PublishBatchResponse>"

FAULTS: list[tuple[Any, list[str]]] = [
    # the whole request is throttled
    (Throttle("Throttled"), [T] * 3),
    (Throttle("Throttling"), [T] * 3),
    (Throttle("KMSThrottling"), [T] * 3),
    # a part of it fails
    (FailEntries(positions=[0, 2], code="KMSThrottling", sender_fault=True), [T, D, T]),
    (FailEntries(positions=[0, 2], code="Throttled", sender_fault=True), [T, D, T]),
    (FailEntries(positions=[2], code="InvalidParameter", sender_fault=True), [D, D, X]),
    (FailEntries(positions=[0], code="ParameterValueInvalid", sender_fault=True), [X, D, D]),
    # the answer does not account for every entry
    (Omit([0, 1, 2], applied=True), [U] * 3),
    (Contradict([0], code="InvalidParameter", sender_fault=True), [U, D, D]),
    # there is a 200, and nothing readable in it
    (Garbage(b"{}"), [U] * 3),
    (Garbage(b""), [U] * 3),
    (Garbage(START + b"</PublishBatchResponse>"), [U] * 3),
    (Garbage(LISTS % b"<Successful>all</Successful><Failed>7</Failed>"), [U] * 3),
    (Garbage(LISTS % b"<Successful><member><Id>0</Id></member><member/></Successful>"), [U] * 3),
    (Garbage(LISTS % b"<Successful><member>0</member></Successful>"), [U] * 3),
    (Garbage(b"<a>" * 50_000), [U] * 3),
    (Garbage(b"<!DOCTYPE a [<!ENTITY b 'bb'>]><a>&b;</a>"), [U] * 3),
    # credentials: they get renewed while the service runs, and clocks set right
    (Refuse("RequestExpired"), [R] * 3),
    # what a person must mend
    *((Refuse(f"KMS{kind}"), [X] * 3) for kind in ("Disabled", "InvalidState", "NotFound", "AccessDenied")),
    (Refuse("KMSOptInRequired"), [X] * 3),
    (Refuse("EndpointDisabled"), [X] * 3),
    (Refuse("PlatformApplicationDisabled"), [X] * 3),
    (Refuse("InvalidAction"), [X] * 3),
]
