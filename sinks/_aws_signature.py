"""AWS Signature Version 4 for one small set of headers, with the signing key kept from request to request. Pure.

Before: `_aws_direct` has a body and credentials. After: the value of the `Authorization` header.
Source: "Create a signed AWS API request" (IAM user guide, November 2026); the tests hold it to botocore's own signer.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Credentials(NamedTuple):
    """What signs a request: as botocore freezes them.

    Attributes:
        access_key: shown in the header.
        secret_key: never leaves this machine.
        token: of a session; a header of its own.
    """

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        """Return nothing of them."""
        return "<Credentials>"


class Signer:
    """Signs `POST` requests to one service in one region.

    Args:
        region: as it stands in the credential scope.
        service: the signing name.
    """

    def __init__(self, region: str, service: str) -> None:
        self._scope = f"{region}/{service}/aws4_request"
        self._steps = (region, service, "aws4_request")
        # The last secret and day, and the hash that begins with their key: its copy is the last of a signature's five.
        self._made_of: tuple[str, str] | None = None
        self._mac = hmac.new(b"", digestmod="sha256")

    def __repr__(self) -> str:
        """Return the scope: the key is a secret."""
        return f"<Signer {self._scope}>"

    def authorization(
        self, credentials: Credentials, at: str, path: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> str:
        """Return the header's value.

        Args:
            credentials: whose signature it is.
            at: the time, as in `X-Amz-Date`.
            path: of the URL; a plain one, which needs no escapes.
            headers: those to sign, with lower-case names, in alphabetical order.
            body: as it is sent.
        """
        names = ";".join([name for name, _ in headers])
        lines = "\n".join([f"{name}:{value}" for name, value in headers])
        request = f"POST\n{path}\n\n{lines}\n\n{names}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{at[:8]}/{self._scope}"
        text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        mac = self._mac_for(credentials.secret_key, at[:8])
        mac.update(text.encode())
        return (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={mac.hexdigest()}"
        )

    def _mac_for(self, secret: str, day: str) -> hmac.HMAC:
        if self._made_of != (secret, day):
            key = f"AWS4{secret}".encode()
            for step in (day, *self._steps):
                key = hmac.digest(key, step.encode(), "sha256")
            self._mac, self._made_of = hmac.new(key, digestmod="sha256"), (secret, day)
        return self._mac.copy()
