"""FIFO queues and topics: order within a group, and every message once, through whatever goes wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sinkwell.core import Delivered, InvalidRecord
from sinkwell.sinks.testing import AwsEndpoint, Drop, Late, ServerError
from tests.sinks.aws.service import MESSAGING, batch_of
from tests.sinks.oracle import unleash

if TYPE_CHECKING:
    from tests.sinks.aws.service import Messaging

pytestmark = pytest.mark.parametrize("service", MESSAGING)


@pytest.fixture
def fifo(aws: AwsEndpoint, service: Messaging) -> str:
    return service.create(aws, "orders.fifo")


async def test_a_late_first_attempt_makes_no_second_outcome_and_no_second_fifo_message(
    aws: AwsEndpoint, service: Messaging, fifo: str, sink_for: Any
) -> None:
    async with sink_for(fifo) as sink:
        aws.plan.next(service.writes, Late(0.9, before=True))
        receipt = await sink.put(service.message("a", group_id="g"))
        await asyncio.sleep(0.6)
    assert receipt.attempts == 2
    first, second = aws.requests(service.writes)
    assert first.entries[0]["MessageDeduplicationId"] == second.entries[0]["MessageDeduplicationId"]
    assert service.texts(aws, fifo) == ["a"]
    assert first.deduplicated


@pytest.mark.parametrize("fault", [None, Drop(applied=True), ServerError(500, applied=True)])
async def test_a_message_that_is_sent_again_has_the_same_deduplication_id_and_is_there_once(
    aws: AwsEndpoint, service: Messaging, fifo: str, opened: Any, fault: Any
) -> None:
    destination = await opened(fifo)
    batch = batch_of(destination, [service.message("a", group_id="g")])
    aws.plan.next(service.writes, fault or service.throttling)
    await destination.write(batch)
    (verdict,) = await destination.write(batch)
    first, second = (request.entries[0] for request in aws.requests(service.writes))
    assert first["MessageDeduplicationId"] == second["MessageDeduplicationId"]
    assert isinstance(verdict, Delivered)
    assert service.texts(aws, fifo) == ["a"]


async def test_the_id_for_a_place_that_is_not_read_yet_is_chosen_when_its_message_is_put(
    aws: AwsEndpoint, service: Messaging, fifo: str, sink_for: Any
) -> None:
    home = service.create(aws, "orders")
    async with sink_for(home) as sink:
        aws.plan.next(service.reads, ServerError(500))
        aws.plan.next(service.writes, Drop(applied=True))
        delivery = sink.put_nowait(service.message_to(fifo, "a", group_id="g"))
        (entry,) = sink._dispatcher.ledger.open
        chosen = entry.payload.chosen_id
        assert (await delivery).attempts == 3
    assert len(chosen) == 32
    sent = [entry["MessageDeduplicationId"] for request in aws.requests(service.writes) for entry in request.entries]
    assert sent == [chosen, chosen]
    assert service.texts(aws, fifo) == ["a"]


@pytest.mark.parametrize("seed", range(4))
async def test_a_group_keeps_its_order_through_partial_failures_and_retries(
    aws: AwsEndpoint, service: Messaging, fifo: str, sink_for: Any, seed: int
) -> None:
    unleash(aws, service.writes, seed, rejects=False)
    async with sink_for(fifo) as sink:
        outcomes = await sink.put_many(service.message(f"{n % 12}-{n}", group_id=f"g{n % 12}") for n in range(300))
    assert all(isinstance(outcome, service.receipt) for outcome in outcomes)
    there = service.texts(aws, fifo)
    assert len(there) == len(set(there)) == 300, "the deduplication id must be the same in every attempt"
    for group in range(12):
        mine = [text for text in there if text.startswith(f"{group}-")]
        assert mine == sorted(mine, key=lambda text: int(text.partition("-")[2]))
    for request in aws.requests(service.writes):
        groups = [entry["MessageGroupId"] for entry in request.entries]
        assert len(groups) == len(set(groups))


async def test_sequence_numbers_grow_within_a_group(service: Messaging, fifo: str, sink_for: Any) -> None:
    async with sink_for(fifo) as sink:
        receipts = await sink.put_many(service.message(str(n), group_id="g") for n in range(20))
    numbers = [int(receipt.sequence_number) for receipt in receipts]
    assert numbers == sorted(set(numbers))


async def test_plain_text_is_refused_with_what_to_do(service: Messaging, fifo: str, sink_for: Any) -> None:
    async with sink_for(fifo) as sink:
        with pytest.raises(InvalidRecord, match=f"put {service.message.__name__}"):
            sink.put("a")


async def test_without_strict_order_one_group_fills_a_batch(
    aws: AwsEndpoint, service: Messaging, fifo: str, sink_for: Any
) -> None:
    async with sink_for(fifo, strict_order=False) as sink:
        await sink.put_many(service.message(str(n), group_id="g") for n in range(100))
    assert service.texts(aws, fifo) == [str(n) for n in range(100)]
    assert len(aws.requests(service.writes)) <= 12


async def test_equal_messages_are_not_collapsed_unless_their_place_goes_by_content(
    aws: AwsEndpoint, service: Messaging, fifo: str, sink_for: Any
) -> None:
    content = service.create(aws, "content.fifo", ContentBasedDeduplication="true")
    async with sink_for(fifo) as first, sink_for(content) as second:
        for sink in (first, second):
            await sink.put_many([service.message("same", group_id="g")] * 3)
    assert service.texts(aws, fifo) == ["same"] * 3
    assert service.texts(aws, content) == ["same"]
    assert sum("MessageDeduplicationId" in entry for request in aws.log for entry in request.entries) == 3
