"""What Sinkwell is tested with, for testing services that use it: virtual time, and a destination that fails on demand.

Example:
    >>> loop = VirtualLoop()
    >>> destination = FakeDestination(plan=FaultPlan(throttle=0.2), seed=7)
    >>> async def scenario() -> None:
    ...     async with Sink(destination, rng=random.Random(7)) as sink:
    ...         receipt = await sink.put("hello")
    >>> loop.run(scenario())
"""

from ._destination import FakeDestination as FakeDestination
from ._destination import FakeReceipt as FakeReceipt
from ._destination import Written as Written
from ._loop import Deadlock as Deadlock
from ._loop import VirtualLoop as VirtualLoop
from ._plan import FaultPlan as FaultPlan

__all__ = ["Deadlock", "FakeDestination", "FakeReceipt", "FaultPlan", "VirtualLoop", "Written"]
