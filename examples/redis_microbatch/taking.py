"""How model workers share the stream: each request is with one of them at a time, and with none that is dead."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from examples.redis_microbatch.wire import GROUP, REQUESTS, Request, Settings, entries_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from redis.asyncio import Redis

# Removes consumers that hold nothing and were not heard of for long. In a script, because a request that was delivered
# to one between the look and the removal would be lost with it.
BURY = """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local seen = {}
  for i = 1, #consumer, 2 do seen[consumer[i]] = consumer[i + 1] end
  if seen.pending == 0 and (seen.idle > tonumber(ARGV[2]) or seen.name == ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], seen.name)
  end
end
"""

# How many the newest request says will follow it; without its image, which may be large.
FOLLOWING = """
for _, entry in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)) do
  for i = 1, #entry[2], 2 do
    if entry[2][i] == 'following' then return tonumber(entry[2][i + 1]) end
  end
end
return 0
"""


@dataclass(frozen=True)
class Taken:
    """A request that this worker has to answer; or, if `refusal` says so, is not to work on."""

    entry_id: bytes
    request: Request
    refusal: tuple[str, str] | None = None

    def unless_expired(self, now_ms: int) -> Taken:
        """Refuse it if nobody waits for it any more."""
        if now_ms < int(self.entry_id.partition(b"-")[0]) + self.request.expires_ms:
            return self
        return replace(self, refusal=("expired", "no model had time for it before it expired"))


class RequestQueue:
    """One model worker's view of the stream."""

    def __init__(self, redis: Redis, worker: str, settings: Settings) -> None:
        self._redis = redis
        self._worker = worker
        self._settings = settings
        self._beat = settings.claim_after / 3
        self._cursor: Any = "0-0"
        self._bury = redis.register_script(BURY)

    async def open(self) -> None:
        """Make the stream and its group, if this is the first worker; remove those that died."""
        try:
            await self._redis.xgroup_create(REQUESTS, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        await self._bury([REQUESTS], [GROUP, int(self._settings.claim_after * 10_000), ""])

    async def leave(self) -> None:
        """Leave the group. What is still with this worker, if anything, is claimed by the others."""
        await self._bury([REQUESTS], [GROUP, int(self._settings.claim_after * 10_000), self._worker])

    async def take(self) -> list[Taken]:
        """Take a batch; nothing if nothing came for a while.

        A full one at once. Otherwise it waits for company, because a model that has started can't be joined: for
        `quiet`, and as long as more come or are known to follow, up to `linger`.
        """
        size = self._settings.batch_size
        now_ms, taken = await self._claim(size)
        if not taken:
            taken = await self._read(size, self._beat)
        ends = time.monotonic() + self._settings.linger
        while taken and len(taken) < size and time.monotonic() < ends:
            # Waited for here: to Redis, which looks for ended BLOCKs ten times a second, 10 ms are up to 100.
            await asyncio.sleep(self._settings.quiet)
            more, following = await self._read_more(size - len(taken))
            if not more and not following:
                break
            taken += more
        return [one.unless_expired(now_ms) for one in taken]

    async def take_ahead(self) -> list[Taken]:
        """Take the next batch while the model runs, if so many wait that every worker could: no model idles for it."""
        size = self._settings.batch_size
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.time()
        pipeline.xlen(REQUESTS)
        pipeline.xinfo_groups(REQUESTS)
        now, length, (group,) = await pipeline.execute()
        if length - group["pending"] < size * group["consumers"]:
            return []
        return [one.unless_expired(_ms(now)) for one in await self._read(size)]

    @asynccontextmanager
    async def holding(self, taken: list[Taken]) -> AsyncIterator[None]:
        """Tell the others that this worker is alive, as long as it has these in hand."""
        answered = asyncio.Event()
        heart = asyncio.create_task(self._keep([one.entry_id for one in taken], answered))
        try:
            yield
        finally:
            # Not by `cancel`: the client's own deadlines may swallow a cancellation that comes with the reply (3.11).
            answered.set()
            await asyncio.wait([heart])

    async def _keep(self, entry_ids: list[bytes], answered: asyncio.Event) -> None:
        while entry_ids and not answered.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._beat):
                    await answered.wait()
                return
            with suppress(RedisError):
                # Claims them from itself: no longer idle, and not counted as a delivery. What was answered stays gone.
                await self._redis.xclaim(REQUESTS, GROUP, self._worker, 0, entry_ids, justid=True)

    async def _read(self, count: int, longest: float | None = None) -> list[Taken]:
        """Read requests that no worker has had yet; with `longest`, wait for them in Redis."""
        block_ms = longest and max(1, round(longest * 1_000))
        replies: Any = await self._redis.xreadgroup(GROUP, self._worker, {REQUESTS: ">"}, count=count, block=block_ms)
        return _taken(replies)

    async def _read_more(self, count: int) -> tuple[list[Taken], int]:
        """Read what has come since; and how many will follow, as the newest request says, whoever took it."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.xreadgroup(GROUP, self._worker, {REQUESTS: ">"}, count=count)
        pipeline.eval(FOLLOWING, 1, REQUESTS)
        replies, following = await pipeline.execute()
        return _taken(replies), following

    async def _claim(self, count: int) -> tuple[int, list[Taken]]:
        """Take over what is with workers of which nothing was heard for `claim_after`; and ask Redis for the time."""
        idle_ms = int(self._settings.claim_after * 1_000)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.time()
        pipeline.xautoclaim(REQUESTS, GROUP, self._worker, idle_ms, self._cursor, count)
        now, (self._cursor, entries, *_) = await pipeline.execute()
        if not entries:
            return _ms(now), []
        first, last = entries[0][0], entries[-1][0]
        pending: Any = await self._redis.xpending_range(REQUESTS, GROUP, first, last, len(entries), self._worker)
        deliveries = {one["message_id"]: one["times_delivered"] for one in pending}
        return _ms(now), [self._judged(entry_id, fields, deliveries.get(entry_id, 0)) for entry_id, fields in entries]

    def _judged(self, entry_id: bytes, fields: dict[bytes, bytes], deliveries: int) -> Taken:
        most = self._settings.most_deliveries
        died = ("failed", f"{most} workers died while they had this request")
        return Taken(entry_id, Request.of(fields), died if deliveries > most else None)


def _taken(replies: list[Any]) -> list[Taken]:
    return [Taken(entry_id, Request.of(fields)) for entry_id, fields in entries_of(replies)]


def _ms(redis_time: tuple[int, int]) -> int:
    seconds, microseconds = redis_time
    return seconds * 1_000 + microseconds // 1_000
