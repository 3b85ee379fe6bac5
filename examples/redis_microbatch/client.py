"""The API worker's side: puts requests in the stream, many in one round trip, and hears their answers."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import BusyLoadingError, OutOfMemoryError, RedisError, ResponseError

from examples.redis_microbatch.wire import ANSWERS, GROUP, REQUESTS, Request, Settings, connect, entries_of
from sinkwell.core import (
    Batch,
    Delivered,
    Encoded,
    Limits,
    Policy,
    Rejected,
    Retry,
    Sink,
    Unknown,
    Verdict,
    batched,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

BLOCK = 5.0


class Expired(TimeoutError):
    """There was no answer in time. The request was taken out of the stream: no model works on it for nobody."""


class ModelFailed(Exception):
    """A model, or the worker that ran it, failed on this request."""


class RequestStream:
    """The stream as a destination: a batch of requests is one pipeline of XADDs, a receipt the entry's id.

    Sent twice after a lost reply, a request is worked on twice; its caller takes the first answer.
    """

    name = f"redis:{REQUESTS}"
    limits = Limits(default_records=500, default_bytes=4 * 1024 * 1024, retry_unknown=True)

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def open(self) -> None:
        """The client connects when it is used."""

    def encode(self, record: Request) -> Encoded:
        """Count the image; the rest is small."""
        return Encoded(record.fields(), len(record.image))

    async def write(self, batch: Batch) -> list[Verdict[bytes]]:
        """Add the entries. What a lost connection raises makes each of them UNKNOWN."""
        pipeline = self._redis.pipeline(transaction=False)
        for fields in batch.payloads:
            pipeline.xadd(REQUESTS, fields)
        return [_verdict(reply) for reply in await pipeline.execute(raise_on_error=False)]

    async def aclose(self) -> None:
        """The client's owner closes it."""


def _verdict(reply: bytes | Exception) -> Verdict[bytes]:
    match reply:
        case OutOfMemoryError() | BusyLoadingError():
            return Retry(reply, throttled=True)
        case ResponseError():
            return Rejected(reply)
        case Exception():
            return Unknown(reply)
        case _:
            return Delivered(reply)


class ModelClient:
    """Asks models in other processes: `async with ModelClient(settings) as model: await model.ask(image)`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._redis = connect(settings.redis_url)
        self._blocking_redis = connect(settings.redis_url, BLOCK)
        self._sink: Sink[Request, bytes] = Sink(RequestStream(self._redis), Policy(concurrency=1))
        self._answers = ANSWERS + uuid.uuid4().hex
        self._numbers = itertools.count()
        # Who waits for which answer. One that is not here has its answer, or gave up.
        self._callers: dict[int, asyncio.Future[str]] = {}
        self._is_closing = False

    async def __aenter__(self) -> Self:
        await self._sink.__aenter__()
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close when no caller waits any more: then nobody adds to the stream of answers, and it can go."""
        await self._sink.close()
        await asyncio.sleep(0)  # what was delivered just now may be given up
        await self._withdraw.close()
        self._is_closing = True
        with suppress(RedisError):  # if Redis is away, what is left there expires
            await self._wake_listener()
            await asyncio.wait([self._listener])
            await self._redis.delete(self._answers)
        await asyncio.wait([self._listener])
        await self._redis.aclose()
        await self._blocking_redis.aclose()

    async def ask(self, image: bytes, timeout: float | None = None, *, following: int = 0) -> str:
        """Return what a model says of the image. Cancelled: the request is taken out of the stream.

        Args:
            image: the input of the model.
            timeout: seconds; without, the setting.
            following: how many more are about to be asked: a batch that is not full waits a moment for them.

        Raises:
            Expired: there was no answer within `timeout` seconds.
            ModelFailed: the model raised, or its workers died of this request.
            DeliveryError: the request could not be put in the stream.
        """
        timeout = self._settings.timeout if timeout is None else timeout
        ends = time.monotonic() + timeout
        number = next(self._numbers)
        caller = self._callers[number] = asyncio.get_running_loop().create_future()
        delivery: asyncio.Future[bytes] | None = None
        try:
            async with asyncio.timeout(timeout):
                left_ms = int((ends - time.monotonic()) * 1_000)
                delivery = await self._sink.submit(Request(number, self._answers, left_ms, image, following))
                await asyncio.shield(delivery)
                return await caller
        except Expired:
            raise
        except TimeoutError:
            raise Expired(f"no answer within {timeout:g} s") from None
        finally:
            del self._callers[number]
            if delivery is not None and (caller.cancelled() or not caller.done()):
                delivery.add_done_callback(self._give_up)

    def _give_up(self, delivery: asyncio.Future[bytes]) -> None:
        """Take a request out as soon as its id is known. If that fails, a worker drops it by its age."""
        if not delivery.cancelled() and delivery.exception() is None:
            withdrawal = self._withdraw(delivery.result())
            withdrawal.add_done_callback(lambda done: done.cancelled() or done.exception())

    @batched(max_records=500)
    async def _withdraw(self, entry_ids: list[bytes]) -> list[None]:
        """Take requests out whose callers gave up."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.xdel(REQUESTS, *entry_ids)
        pipeline.xack(REQUESTS, GROUP, *entry_ids)
        await pipeline.execute()
        return [None] * len(entry_ids)

    async def _wake_listener(self) -> None:
        """End its wait in Redis by an answer to nobody; a cancelled command would cost the connection."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.xadd(self._answers, {"number": -1})
        pipeline.expire(self._answers, int(self._settings.answers_kept))
        await pipeline.execute()

    async def _listen(self) -> None:
        """Wait for answers, in Redis. Those that were read are deleted, so that a lost connection loses none."""
        while not self._is_closing:
            try:
                # From the start: what was read is gone. If its deletion was lost, it is read once more, and ignored.
                replies: Any = await self._blocking_redis.xread({self._answers: "0"}, block=int(BLOCK * 1_000))
                if replies:
                    entries = entries_of(replies)
                    for _, fields in entries:
                        self._tell(fields)
                    await self._redis.xdel(self._answers, *[entry_id for entry_id, _ in entries])
            except RedisError:
                await asyncio.sleep(0.1)  # it comes back; until then callers have their timeouts

    def _tell(self, fields: dict[bytes, bytes]) -> None:
        caller = self._callers.get(int(fields[b"number"]))
        if caller is None or caller.done():
            return
        text = fields[b"text"].decode()
        match fields[b"outcome"]:
            case b"label":
                caller.set_result(text)
            case b"expired":
                caller.set_exception(Expired(text))
            case _:
                caller.set_exception(ModelFailed(text))
