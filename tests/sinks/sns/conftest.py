from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.sinks.aws.service import SNS, session_of

if TYPE_CHECKING:
    import aioboto3

    from tests.sinks.aws.service import Service

texts = SNS.texts


@pytest.fixture
def service() -> Service:
    return SNS


@pytest.fixture
def session() -> aioboto3.Session:
    return session_of(SNS)
