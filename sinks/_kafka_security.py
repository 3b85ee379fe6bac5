"""Who we are to the brokers, and how the way there is protected. No repr here shows a secret."""

from __future__ import annotations

import inspect
import ssl
from dataclasses import dataclass, field
from socket import gaierror
from typing import TYPE_CHECKING, Any, Literal

from pydantic import SecretStr

from sinkwell.core import ConfigError

from ._kafka_client import CLOSED, NO_SUCH_LOGIN, TokenProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_DEFAULT_PORT = 9092
# What happens when one side speaks TLS or SASL and the other does not.
_LIKE_ANOTHER_LISTENER = (
    TimeoutError,
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    ssl.SSLError,
    CLOSED,
)


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
        try:
            given = self._token()
            return await given if inspect.isawaitable(given) else given
        except Exception as error:
            raise ConnectionError(f"the callable of SaslToken failed ({type(error).__name__})") from error


Sasl = SaslPassword | SaslToken


class Security:
    """How connections are made: TLS that is verified, unless it was switched off or all is on this machine.

    Brokers tell clients where else to connect: that the servers that were named are on this machine is not enough.
    """

    def __init__(
        self, servers: Sequence[tuple[str, int]], tls: ssl.SSLContext | Literal["off"] | None, sasl: Sasl | None
    ) -> None:
        if not (tls is None or tls == "off" or isinstance(tls, ssl.SSLContext)):
            raise ConfigError('tls must be an ssl.SSLContext, "off" or None')
        # Whether a broker on this machine may be talked to in clear, though nobody said "off".
        self._trusts_loopback = tls is None and all(host in _LOOPBACK for host, _ in servers)
        self._is_off = tls == "off"
        self._context = tls if isinstance(tls, ssl.SSLContext) else None
        self._sasl = sasl

    def options(self, host: str) -> dict[str, Any]:
        """Give what aiokafka's connections call it; made anew each time, so that no secret is kept in a dict.

        Args:
            host: whom to connect to, as the sink's user or a broker named it.
        """
        speaks_tls = self._speaks_tls(host)
        if speaks_tls and self._context is None:
            self._context = ssl.create_default_context()
        return {
            "security_protocol": ("SASL_" if self._sasl else "") + ("SSL" if speaks_tls else "PLAINTEXT"),
            "ssl_context": self._context if speaks_tls else None,
            **(self._sasl.options() if self._sasl else {}),
        }

    def _speaks_tls(self, host: str) -> bool:
        return not self._is_off and not (self._trusts_loopback and host in _LOOPBACK)

    def words_for(self, host: str, error: Exception) -> str:
        """Say why a connection could not be made, and what may help."""
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        if isinstance(error, NO_SUCH_LOGIN):
            mechanism = self._sasl.options()["sasl_mechanism"] if self._sasl else "no SASL"
            return f"it does not let in with {mechanism} there; see the listener's SASL mechanisms"
        if isinstance(error, (ConnectionRefusedError, gaierror)):
            return f"{said}: check host and port, and that a broker runs there"
        if isinstance(error, ssl.SSLCertVerificationError) or not isinstance(error, _LIKE_ANOTHER_LISTENER):
            return said
        if isinstance(error, TimeoutError):
            said = "no answer in time"
        mine = "TLS" if self._speaks_tls(host) else "no TLS"
        said += f"; this sink speaks {mine} and {'SASL' if self._sasl else 'no SASL'}: is the listener like that?"
        if self._trusts_loopback and host not in _LOOPBACK:
            said += f' A broker advertises {host}, which is not this machine: TLS, unless tls="off"'
        return said


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
