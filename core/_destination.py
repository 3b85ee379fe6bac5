"""The seam between the core and a provider. Before: the sender. After: the provider's client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._batch import Batch
    from ._entry import Encoded
    from ._policy import Limits
    from ._verdict import Verdict

T_contra = TypeVar("T_contra", contravariant=True)
R = TypeVar("R")


class Destination(Protocol[T_contra, R]):
    """What a provider implements; wrap it in a `Sink`, which does all the thinking.

    The core guarantees: `open` before all else, `aclose` once at the end, `write` never above `limits` or the
    policy, at most `concurrency` writes at once, at most one write at once that holds a given key.
    """

    @property
    def name(self) -> str:
        """What messages call it: the provider and the target's name, no secret, as `sqs:orders`."""
        ...

    @property
    def limits(self) -> Limits:
        """What the provider allows. Read when the sink is made, and again after `open`."""
        ...

    async def open(self) -> None:
        """Connect, and read what the provider can tell of its limits.

        Raises:
            ConfigError: nothing can be sent until a person mends the setup.
        """
        ...

    def encode(self, record: T_contra, /) -> Encoded:
        """Check the record and make its payload. Called once a record, inside `put`; it must not block.

        Raises:
            InvalidRecord: the record can't be sent as it is.
        """
        ...

    async def write(self, batch: Batch, /) -> Sequence[Verdict[R]]:
        """Send one request and say of each entry, in order, what became of it.

        An entry that the answer does not mention is `Unknown`. Whatever is raised but `BatchRefused` makes every
        entry `Unknown`, as does an answer of another length; so does a cancellation, which comes when
        `attempt_timeout` or the sink's closing ends the attempt.

        Raises:
            BatchRefused: nothing was written, because of one record in the batch.
        """
        ...

    async def aclose(self) -> None:
        """Let go of every connection. Called once, also after a failed `open`."""
        ...
