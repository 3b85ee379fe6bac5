"""Many queues or topics in one sink, each by its own rules; and places that only messages name."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import ConfigError, DeliveryRejected, InvalidRecord, Policy, RecordTooLarge
from sinkwell.sinks._aws_verdicts import AwsError
from sinkwell.sinks.testing import AccessDenied, AwsEndpoint, Drop, Hang, Refuse, ServerError, Throttle
from tests.sinks.aws.service import MESSAGING, QUICK, SNS, SQS

if TYPE_CHECKING:
    from tests.sinks.aws.service import Messaging

of_both = pytest.mark.parametrize("service", MESSAGING)


@of_both
async def test_one_sink_serves_many_places_each_by_its_own_rules(
    aws: AwsEndpoint, service: Messaging, place: str, sink_for: Any
) -> None:
    content = service.create(aws, "content.fifo", ContentBasedDeduplication="true")
    own = service.create(aws, "own.fifo")
    small = service.create(aws, "small", MaximumMessageSize="1024")
    places = [(place, None), (content, "g"), (own, "g"), (small, None)]
    async with sink_for(place) as sink:
        await sink.put_many(service.message_to(there, "same", group_id=group) for there, group in places * 2)
        with pytest.raises(InvalidRecord, match="1,024"):
            sink.put(service.message_to(small, "x" * 1025))
    assert [len(service.texts(aws, there)) for there, _ in places] == [2, 1, 2, 2]
    for request in aws.requests(service.writes):
        if content in request.document.values():
            assert all("MessageDeduplicationId" not in entry for entry in request.entries)


@of_both
async def test_a_place_first_named_by_a_record_is_read_before_anything_is_sent_to_it(
    aws: AwsEndpoint, service: Messaging, place: str, sink_for: Any
) -> None:
    other = service.create(aws, "other.fifo")
    # Nothing was sent when the reading failed: that is never in doubt.
    async with sink_for(place, policy=Policy(on_unknown="fail", backoff=QUICK.backoff)) as sink:
        aws.plan.next(service.reads, Drop(), ServerError(500), Throttle(), Refuse("RequestExpired"))
        assert (await sink.put(service.message_to(other, "a", group_id="g"))).attempts == 5
        missing = await sink.put_many([service.message_to(place + "-none", "a")])
    assert isinstance(missing[0], DeliveryRejected)
    assert service.texts(aws, other) == ["a"]
    assert len(aws.requests(service.writes)) == 1


@of_both
async def test_a_place_that_is_not_read_in_time_leaves_nothing_in_doubt(
    aws: AwsEndpoint, service: Messaging, place: str, sink_for: Any
) -> None:
    other = service.create(aws, "other")
    async with sink_for(place, policy=replace(QUICK, on_unknown="fail")) as sink:
        aws.plan.next(service.reads, Hang())
        assert (await sink.put(service.message_to(other, "a"))).attempts == 2
    assert service.texts(aws, other) == ["a"]


@pytest.mark.parametrize(("service", "code"), [(SQS, "InvalidAttributeName"), (SNS, "InvalidParameter")])
async def test_a_place_whose_attributes_are_refused_for_good_rejects_its_messages(
    aws: AwsEndpoint, service: Messaging, place: str, sink_for: Any, code: str
) -> None:
    other = service.create(aws, "other")
    async with sink_for(place) as sink:
        aws.plan.next(service.reads, Refuse(code), AccessDenied())
        for told in (code, service.denied_code):
            with pytest.raises(DeliveryRejected) as rejected:
                await sink.put(service.message_to(other, "a"))
            assert rejected.value.__cause__.code == told  # type: ignore[union-attr]


@pytest.mark.parametrize(("service", "is_sent", "cause"), [(SQS, True, AwsError), (SNS, False, RecordTooLarge)])
async def test_a_message_above_the_limit_of_a_place_not_read_yet_is_rejected_alone(
    aws: AwsEndpoint, service: Messaging, place: str, sink_for: Any, is_sent: bool, cause: type[Exception]
) -> None:
    # SQS refuses the one entry; SNS would refuse all that are with it.
    small, too_large = service.create(aws, "small", MaximumMessageSize="1024"), "x" * 1025
    async with sink_for(place) as sink:
        outcomes = await sink.put_many(service.message_to(small, text) for text in ("a", too_large, "b"))
    assert isinstance(outcomes[1], DeliveryRejected)
    assert isinstance(outcomes[1].__cause__, cause)
    assert sorted(service.texts(aws, small)) == ["a", "b"]
    sent = [service.sent(entry) for request in aws.requests(service.writes) for entry in request.entries]
    assert (too_large in sent) == is_sent


NO_PLACES = [
    *product([SQS], ["", "orders", "arn:aws:sqs:eu-west-1:1:orders", 7]),
    *product([SNS], ["", "events", "https://sns.us-east-1.amazonaws.com/events", "arn:aws:sqs:x:1:y", 7]),
]


@pytest.mark.parametrize(("service", "name"), NO_PLACES)
async def test_a_place_is_named_by_its_url_or_arn(service: Messaging, place: str, sink_for: Any, name: Any) -> None:
    with pytest.raises(ConfigError, match=service.place_option):
        sink_for(name)
    async with sink_for(place) as sink:
        with pytest.raises(InvalidRecord, match=service.place_option):
            sink.put(service.message_to(name, "a"))
