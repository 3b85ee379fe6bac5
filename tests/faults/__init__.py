"""Network faults on demand, between a test and any server."""

from tests.faults.proxy import FaultProxy as FaultProxy
from tests.faults.way import Way as Way
