"""What API workers and model workers agree on: the settings, the keys, and what a request and an answer look like.

A request is an entry of one stream, which model workers read as a consumer group. It stays there until it has its
answer: whoever deletes it, and only that one, decides what its caller is told. Each API worker has a stream of answers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

REQUESTS = "microbatch:requests"
GROUP = "models"
ANSWERS = "microbatch:answers:"  # and the API worker's name

# Takes a request out and adds its answer, or does neither: it was answered by another, or its caller gave up. A second
# attempt after a lost reply does no harm either. The answers of an API worker that died expire.
ANSWER = """
redis.call('XACK', KEYS[1], ARGV[1], ARGV[2])
if redis.call('XDEL', KEYS[1], ARGV[2]) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', 'number', ARGV[3], 'outcome', ARGV[4], 'text', ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return 1
"""


@dataclass(frozen=True)
class Settings:
    """Read from the environment; seconds, all but the batch size and the URL."""

    redis_url: str = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
    batch_size: int = int(os.environ.get("BATCH_SIZE", "5"))
    decode: float = float(os.environ.get("DECODE_SECONDS", "0.5"))  # a sleep stands for it
    inference: float = float(os.environ.get("INFERENCE_SECONDS", "0.5"))  # likewise
    quiet: float = float(os.environ.get("QUIET_SECONDS", "0.005"))  # an idle model waits for company so long
    linger: float = float(os.environ.get("LINGER_SECONDS", "0.1"))  # and for what is known to follow, so long at most
    timeout: float = float(os.environ.get("REQUEST_TIMEOUT_SECONDS", "60"))
    claim_after: float = float(os.environ.get("CLAIM_AFTER_SECONDS", "1"))  # without a heartbeat
    most_deliveries: int = 3  # a request that its workers die of is not tried for ever
    answers_kept: float = 60.0  # for an API worker that does not come to read them


@dataclass(frozen=True)
class Request:
    """A decoded image on its way to a model.

    Attributes:
        number: the API worker's own.
        answers: the stream on which it waits for the answer.
        expires_ms: milliseconds after the entry's id, which is Redis's own clock: no two machines have to agree.
        image: the input of the model.
        following: how many more the API worker is about to put in the stream.
    """

    number: int
    answers: str
    expires_ms: int
    image: bytes
    following: int = 0

    def fields(self) -> dict[str | bytes, str | bytes | int]:
        """Make the entry's fields."""
        return {
            "number": self.number,
            "answers": self.answers,
            "expires_ms": self.expires_ms,
            "image": self.image,
            "following": self.following,
        }

    @classmethod
    def of(cls, fields: dict[bytes, bytes]) -> Request:
        """Read the entry's fields."""
        number, expires_ms, following = (int(fields[name]) for name in (b"number", b"expires_ms", b"following"))
        return cls(number, fields[b"answers"].decode(), expires_ms, fields[b"image"], following)


def entries_of(replies: list[Any]) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Give the entries of a reply about one stream."""
    return [entry for _, entries in replies for entry in entries]


def connect(url: str, longest_block: float = 0.0) -> Redis:
    """Connect without the client's own retries: the sinks retry, and the loops that read start over."""
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=longest_block + 5, socket_connect_timeout=5)
