"""Which partition a record goes to: as the Java client chooses. No clock, no loop, no await."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._kafka_cluster import Topic

# Where Java's client turns to another partition (its batch.size), once the open batch has left.
STICKY_BYTES: Final = 16_384
# Keys whose partitions are remembered; a service's keys repeat.
_MAX_REMEMBERED: Final = 65_536
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Hash as Java's `Utils.murmur2`, as an unsigned number."""
    length = len(data)
    words = length >> 2
    h = 0x9747B28C ^ length
    for word in struct.unpack_from(f"<{words}I", data):
        k = word * _M & _MASK
        h = (h * _M & _MASK) ^ ((k ^ (k >> 24)) * _M & _MASK)
    rest = length & 3
    if rest:
        h = (h ^ int.from_bytes(data[length - rest :], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


class Partitioner:
    """Chooses for the records of one topic: by key, or the same for all until a batch is full.

    Args:
        full_bytes: how much a batch holds: so much goes to one partition before the next has its turn.
    """

    __slots__ = ("_full_bytes", "_left", "_partitions", "_remembered", "_topic", "current")

    def __init__(self, topic: Topic, *, full_bytes: int) -> None:
        self._topic = topic
        self._full_bytes = full_bytes
        self._remembered: dict[bytes, int] = {}
        # How many there were when they were remembered.
        self._partitions = topic.partitions
        # Where records without a key go now, and how many bytes more.
        self.current = random.randrange(topic.partitions)  # noqa: S311 - no secret
        self._left = full_bytes

    def of_key(self, key: bytes) -> int:
        """Give the partition of a key."""
        found = self._remembered.get(key)
        if found is None or self._partitions != self._topic.partitions:
            if self._partitions != self._topic.partitions or len(self._remembered) >= _MAX_REMEMBERED:
                self._remembered.clear()
                self._partitions = self._topic.partitions
            found = self._remembered[key] = (murmur2(key) & 0x7FFFFFFF) % self._topic.partitions
        return found

    def next_for(self, size: int) -> int:
        """Give the partition of a record without a key, of so many bytes."""
        if self._left < size or self.current >= self._topic.partitions:
            self._turn()
        self._left -= size
        return self.current

    def batch_left(self, partition: int) -> None:
        """Learn that a batch was sent: what is put from now on begins another one anyway."""
        if partition == self.current and self._full_bytes - self._left >= STICKY_BYTES:
            self._turn()

    def _turn(self) -> None:
        """Go on to the next partition that has a leader, or simply the next if none has."""
        topic = self._topic
        for step in range(1, topic.partitions + 1):
            following = (self.current + step) % topic.partitions
            if following in topic.leaders:
                self.current = following
                break
        else:
            self.current = (self.current + 1) % topic.partitions
        self._left = self._full_bytes
