"""AWS's time as far as this machine knows it: signatures that are more than five minutes off are refused.

Before: a refusal that speaks of time. After: the dates of both ways' signatures. botocore itself (1.40.61) signs by
this machine's clock alone; AWS's other SDKs correct it so.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.auth import SigV4Auth

from ._aws_verdicts import headers_of, speaks_of_time

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

# AWS refuses a signature that is more than five minutes away from its own clock; AWS's other SDKs act at four.
_TOLERATED_SKEW = 240.0


class Clock:
    """This machine's clock, set by AWS's once a refusal has told that it is wrong."""

    def __init__(self) -> None:
        # Seconds that AWS's clock is ahead of this machine's.
        self.ahead = 0.0

    def learn(self, error: ClientError) -> bool:
        """Set the clock by a refusal's own date; whether that makes the next signature a good one."""
        if not speaks_of_time(error):
            return False
        try:
            ahead = parsedate_to_datetime(headers_of(error)["date"]).timestamp() - time.time()
        except (KeyError, ValueError, TypeError):
            return False
        before, self.ahead = self.ahead, ahead if abs(ahead) > _TOLERATED_SKEW else 0.0
        return abs(self.ahead - before) > _TOLERATED_SKEW

    def stamp(self) -> str:
        """Return the time as a signature tells it."""
        return datetime.fromtimestamp(int(time.time() + self.ahead), UTC).strftime("%Y%m%dT%H%M%SZ")

    def date_signatures_of(self, client: Any) -> None:
        """Have a client of aiobotocore sign by this clock, too. One that is built differently goes by the machine's."""
        signer = getattr(client, "_request_signer", None)
        make = getattr(signer, "get_auth_instance", None)
        if signer is None or make is None:
            return

        async def dated(*args: object, **kwargs: object) -> object:
            auth: Any = await make(*args, **kwargs)
            if self.ahead and isinstance(auth, SigV4Auth):
                self._date(auth)
            return auth

        signer.get_auth_instance = dated

    def _date(self, auth: Any) -> None:
        prepare = auth._modify_request_before_signing  # noqa: SLF001 - see DESIGN.md, "The direct way"

        def prepare_dated(request: Any) -> None:
            request.context["timestamp"] = self.stamp()
            prepare(request)

        auth._modify_request_before_signing = prepare_dated  # noqa: SLF001 - as above
