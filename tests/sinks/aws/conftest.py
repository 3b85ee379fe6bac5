from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.sinks.aws.service import EVERY, Service, session_of

if TYPE_CHECKING:
    import aioboto3


def pytest_make_parametrize_id(val: object) -> str | None:
    return repr(val) if isinstance(val, Service) else None


@pytest.fixture(params=EVERY)
def service(request: pytest.FixtureRequest) -> Service:
    """Each service in turn; a test that holds for some of them only, or differs, is parametrized with them."""
    chosen: Service = request.param
    return chosen


@pytest.fixture
def session(service: Service) -> aioboto3.Session:
    return session_of(service)


@pytest.fixture
def place(aws: Any, service: Service) -> str:
    """A place to write to, called "orders"."""
    return service.create(aws)
