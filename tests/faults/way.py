"""One direction through the proxy: what is done to the bytes that pass, and how many did."""

import asyncio
from collections.abc import Callable, Iterator

# So much of what has passed is remembered, to find a pattern that comes in two chunks.
MAX_PATTERN_BYTES = 64


class Way:
    """The faults of one direction. Set an attribute at any time; connections that are open feel it at once.

    Attributes:
        latency: Seconds by which every byte is late (a longer cable, not a thinner one).
        bytes_per_second: The bandwidth each connection has; None for as fast as it goes.
        slice_bytes: Bytes a segment has at most; None for as they come.
        swallow: Bytes, and the end of the stream, vanish here while the connection stays open: half-open.
        bytes_passed: Bytes handed on since the proxy started, over all connections.
        bytes_swallowed: Bytes that vanished.
        heard: What is handed on from now on, if a bytearray is put here.
    """

    def __init__(self) -> None:
        self.latency = 0.0
        self.bytes_per_second: float | None = None
        self.slice_bytes: int | None = None
        self.swallow = False
        self.bytes_passed = 0
        self.bytes_swallowed = 0
        self.heard: bytearray | None = None
        self._bytes_to_cut: int | None = None
        self._triggers: list[tuple[bytes, Callable[[], object]]] = []
        self._flowing = asyncio.Event()
        self._flowing.set()

    def hold(self) -> None:
        """Keep what arrives, in order, until `release`; the sender soon finds its buffers full."""
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    def cut_after(self, count: int) -> None:
        """Reset the connection that carries the next `count`-th byte, once its receiver's side has that byte.

        With 0, the connection that would carry the next byte is reset and the byte is lost.
        """
        self._bytes_to_cut = count

    def when(self, pattern: bytes, do: Callable[[], object]) -> None:
        """Once: call `do` when `pattern` is about to pass, before its first byte does (as far as it came at once).

        `proxy.up.when(b"COMMIT", proxy.reset)` loses the request;
        `proxy.up.when(b"COMMIT", lambda: proxy.down.cut_after(0))` loses the answer.
        """
        if not 1 <= len(pattern) <= MAX_PATTERN_BYTES:
            raise ValueError(f"a pattern has 1 to {MAX_PATTERN_BYTES} bytes, not {len(pattern)}")
        self._triggers.append((pattern, do))

    def heal(self) -> None:
        """No faults any more; the counters stay."""
        self.latency, self.bytes_per_second, self.slice_bytes, self.swallow = 0.0, None, None, False
        self._bytes_to_cut = None
        self._triggers.clear()
        self._flowing.set()

    async def flowing(self) -> None:
        await self._flowing.wait()

    def split_at_triggers(self, before: bytes, data: bytes) -> Iterator[tuple[bytes, Callable[[], object] | None]]:
        """Parts of `data`, each with what must be done before it passes. `before` passed already."""
        while found := self._first_trigger(before + data, len(before)):
            start, trigger = found
            self._triggers.remove(trigger)
            start = max(0, start - len(before))
            if start:
                yield data[:start], None
            before, data = (before + data[:start])[-MAX_PATTERN_BYTES:], data[start:]
            yield b"", trigger[1]
        yield data, None

    def _first_trigger(self, text: bytes, passed: int) -> tuple[int, tuple[bytes, Callable[[], object]]] | None:
        # A pattern that ended among the bytes that passed already is over.
        hits = [(text.find(t[0], max(0, passed - len(t[0]) + 1)), t) for t in self._triggers]
        return min((hit for hit in hits if hit[0] >= 0), key=lambda hit: hit[0], default=None)

    def pieces(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """`data` in segments; with each, whether the connection is cut after it."""
        while data:
            size = self._segment_bytes(len(data))
            is_cut = self._bytes_to_cut is not None and self._bytes_to_cut <= size
            if self._bytes_to_cut is not None:
                size = min(size, self._bytes_to_cut)
                self._bytes_to_cut = None if is_cut else self._bytes_to_cut - size
            yield data[:size], is_cut
            data = data[size:]

    def _segment_bytes(self, available: int) -> int:
        size = available if self.slice_bytes is None else min(available, self.slice_bytes)
        if self.bytes_per_second is not None:
            # Fifty pieces a second are smooth enough, and a change of bandwidth is felt that soon.
            size = min(size, max(1, int(self.bytes_per_second / 50)))
        return size
