"""The variables that `from_env` of every AWS sink reads, beside those of its policy and its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from ._aws import Transport  # noqa: TC001 - pydantic reads the annotations
from ._settings import PolicySettings

if TYPE_CHECKING:
    from sinkwell.core import Policy


class AwsOptions(TypedDict):
    """What `from_env` hands to the constructor of every AWS sink."""

    endpoint_url: str | None
    region_name: str | None
    allow_http: bool
    transport: Transport
    policy: Policy | None


class AwsVariables(PolicySettings):
    """Where a sink sends and how. Credentials stay where AWS's own tools look for them."""

    endpoint_url: str | None = None
    region_name: str | None = None
    allow_http: bool = False
    transport: Transport = "auto"

    def options(self) -> AwsOptions:
        """Return them as the constructor's arguments, and the policy with them."""
        return {
            "endpoint_url": self.endpoint_url,
            "region_name": self.region_name,
            "allow_http": self.allow_http,
            "transport": self.transport,
            "policy": self.policy(),
        }
