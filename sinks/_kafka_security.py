"""Who we are to the brokers, and how the way there is protected. No repr here shows a secret."""

from __future__ import annotations

import inspect
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import SecretStr

from sinkwell.core import ConfigError

from ._kafka_client import TokenProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORT = 9092


@dataclass(frozen=True, slots=True)
class SaslPassword:
    """A name and a password.

    Attributes:
        username: the name.
        password: its password; no repr shows it.
        mechanism: SCRAM never sends the password itself; PLAIN does, so it needs TLS.
    """

    username: str
    password: str | SecretStr = field(repr=False)
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"

    def __post_init__(self) -> None:
        if self.mechanism not in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            raise ConfigError(f"SASL mechanism {self.mechanism!r} is not PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
        if not isinstance(self.password, SecretStr):
            object.__setattr__(self, "password", SecretStr(self.password))

    def options(self) -> dict[str, Any]:
        """Give what aiokafka's connections call it."""
        assert isinstance(self.password, SecretStr)
        return {
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password.get_secret_value(),
        }


@dataclass(frozen=True, slots=True)
class SaslToken:
    """OAUTHBEARER: a token for each new connection.

    Attributes:
        token: gives one that is valid now; `async` or not. It must not block.
    """

    token: Callable[[], Awaitable[str] | str] = field(repr=False)

    def options(self) -> dict[str, Any]:
        """Give what aiokafka's connections call it."""
        return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": _Provider(self.token)}


class _Provider(TokenProvider):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, token: Callable[[], Awaitable[str] | str]) -> None:
        self._token = token

    async def token(self) -> str:
        given = self._token()
        return await given if inspect.isawaitable(given) else given


Sasl = SaslPassword | SaslToken


class Security:
    """How connections are made: TLS that is verified unless the servers are on this machine or it was switched off."""

    def __init__(
        self, servers: Sequence[tuple[str, int]], tls: ssl.SSLContext | Literal["off"] | None, sasl: Sasl | None
    ) -> None:
        is_local = all(host in _LOOPBACK for host, _ in servers)
        self._context = tls if isinstance(tls, ssl.SSLContext) else None
        if tls is None and not is_local:
            self._context = ssl.create_default_context()
        elif tls not in (None, "off") and self._context is None:
            raise ConfigError('tls must be an ssl.SSLContext, "off" or None')
        self._sasl = sasl

    def options(self) -> dict[str, Any]:
        """Give what aiokafka's connections call it; made anew each time, so that no secret is kept in a dict."""
        protocol = ("SASL_" if self._sasl else "") + ("SSL" if self._context else "PLAINTEXT")
        return {
            "security_protocol": protocol if self._sasl or self._context else "PLAINTEXT",
            "ssl_context": self._context,
            **(self._sasl.options() if self._sasl else {}),
        }


def parse_servers(text: str | Sequence[str]) -> list[tuple[str, int]]:
    """Read `host:port` pairs, separated by commas or as a list.

    Raises:
        ConfigError: there is none, or one has no readable port.
    """
    places = text.split(",") if isinstance(text, str) else list(text)
    return [_parse_server(place.strip()) for place in places if place.strip()] or _none()


def _none() -> list[tuple[str, int]]:
    raise ConfigError("bootstrap_servers must name at least one broker, as kafka-1:9092")


def _parse_server(place: str) -> tuple[str, int]:
    if "@" in place or "/" in place:
        raise ConfigError("bootstrap_servers are host:port, without a scheme, a path or credentials")
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        return place.strip("[]"), _DEFAULT_PORT
    if not port.isdigit() or not host:
        raise ConfigError(f"bootstrap_servers: {place!r} is not host:port")
    return host.strip("[]"), int(port)
