"""What a destination is given to send."""

from __future__ import annotations

from sinkwell.core import Batch
from tests.core.entries import entry


def test_a_batch_knows_its_length_its_size_and_its_payloads_in_order() -> None:
    batch = Batch("q", [entry("-b", size=3), entry("-a", size=4)], "full")
    assert (len(batch), batch.size, batch.payloads, batch.target, batch.reason) == (2, 7, ["-b", "-a"], "q", "full")
