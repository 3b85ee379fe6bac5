"""The FastAPI example, over its ASGI interface: each answer says what is true of the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from examples.fastapi_sqs import app
from sinkwell.sinks.testing import AccessDenied, AwsEndpoint, Drop, FailEntries, ServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ORDER = {"number": 7, "euros": 10}


@pytest.fixture
async def aws() -> AsyncIterator[AwsEndpoint]:
    async with AwsEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
async def queue_url(aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch) -> str:
    url = aws.sqs.create_queue("orders")
    settings = {"QUEUE_URL": url, "ENDPOINT_URL": aws.url, "REGION_NAME": "us-east-1", "BACKOFF_BASE": "0.01"}
    for name, value in (settings | {"ON_UNKNOWN": "fail"}).items():
        monkeypatch.setenv(f"SINKWELL_SQS_{name}", value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    return url


async def post(order: dict[str, object]) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://a") as web:
        return await web.post("/orders", json=order)


async def test_an_accepted_order_is_in_the_queue(aws: AwsEndpoint, queue_url: str) -> None:
    aws.plan.next("SendMessageBatch", FailEntries())
    answer = await post(ORDER)
    (message,) = aws.sqs.messages(queue_url)
    assert (answer.status_code, answer.json()) == (202, {"message_id": message.message_id})
    assert message.body == '{"number":7,"euros":10,"note":""}'


async def test_an_order_that_is_certainly_not_there_may_be_posted_again(aws: AwsEndpoint, queue_url: str) -> None:
    aws.plan.next("SendMessageBatch", AccessDenied())
    answer = await post(ORDER)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert aws.sqs.messages(queue_url) == []


@pytest.mark.parametrize("fault", [Drop(applied=True), ServerError(500, applied=False)], ids=repr)
async def test_an_order_that_may_be_there_is_told_so(aws: AwsEndpoint, queue_url: str, fault: object) -> None:
    aws.plan.next("SendMessageBatch", fault)
    assert (await post(ORDER)).status_code == 504


@pytest.mark.parametrize("order", [{"number": 7}, ORDER | {"euros": 0}, ORDER | {"note": "x" * 1_048_576}])
async def test_an_order_that_can_not_be_sent_is_the_senders_to_mend(
    aws: AwsEndpoint, queue_url: str, order: dict[str, object]
) -> None:
    assert (await post(order)).status_code == 422
    assert aws.sqs.messages(queue_url) == []
