from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sinks.aws.service import SQS, session_of

if TYPE_CHECKING:
    import aioboto3

    from tests.sinks.aws.service import Service

bodies = SQS.texts


@pytest.fixture
def service() -> Service:
    return SQS


@pytest.fixture
def session() -> aioboto3.Session:
    return session_of(SQS)
