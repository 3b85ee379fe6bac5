"""A sink's settings from the environment and a `.env` file; each sink's `from_env` adds its own fields.

Argument > environment > `.env` > default. A variable that is empty is an error, not unset; one that carries the
sink's prefix and that nobody knows is an error too, because it is a misspelt setting that would silently not apply.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, cast

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from sinkwell.core import Adaptive, Backoff, ConfigError, Policy, Rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

S = TypeVar("S", bound="PolicySettings")


class PolicySettings(BaseSettings):
    """Every field of `Policy` as a variable; a sink's settings derive from it and set `env_prefix` by class argument.

    ```python
    class SqsSettings(PolicySettings, env_prefix="SINKWELL_SQS_"):
        queue_url: str
    ```

    Annotate secrets as `SecretStr`, a list as `Annotated[tuple[str, ...], NoDecode]` with a validator that splits it.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=False
    )

    max_records: int | None = None
    max_bytes: int | None = None
    linger: float | None = None
    concurrency: str | None = Field(default=None, pattern=r"^\d+(-\d+)?$")
    """A number, or `2-64` for `Adaptive(2, 64)`."""
    max_pending_records: int | None = None
    max_pending_bytes: int | None = None
    attempt_timeout: float | None = None
    delivery_timeout: float | None = None
    max_attempts: int | None = None
    backoff_base: float | None = None
    backoff_cap: float | None = None
    backoff_jitter: Literal["full", "none"] | None = None
    order: Literal["key", "none"] | None = None
    on_failure: Literal["continue", "block"] | None = None
    on_unknown: Literal["retry", "fail"] | None = None
    rate_records: float | None = None
    rate_requests: float | None = None
    rate_bytes: float | None = None
    rate_units: float | None = None

    @classmethod
    def load(cls, env_file: str | Path | None = ".env", **given: object) -> Self:
        """Read the environment and `env_file`; what is `given` and not `None` counts before both.

        The default file need not be there, any other must. Variables inside values (`${...}`) are not replaced.

        Raises:
            ConfigError: a variable is unknown, empty, missing or of the wrong type. The sentence names the variable
                and not its value.
        """
        settings, problem = _read(cls, env_file, {name: value for name, value in given.items() if value is not None})
        if settings is None:
            # Raised out here: no frame of the traceback, and no chained error, holds a variable's value.
            raise ConfigError(problem)
        return settings

    def own(self) -> dict[str, Any]:
        """Return the sink's own settings by name, without the policy's: what its constructor takes by these names."""
        return {
            name: getattr(self, name) for name in type(self).model_fields if name not in PolicySettings.model_fields
        }

    def policy(self) -> Policy | None:
        """Return the policy that the variables describe, or `None` if none of them is set.

        Raises:
            ConfigError: the numbers contradict each other or make no sense.
        """
        values = {name: value for name in PolicySettings.model_fields if (value := getattr(self, name)) is not None}
        if not values:
            return None
        if "concurrency" in values:
            values["concurrency"] = _concurrency(values["concurrency"])
        if backoff := _take(values, "backoff_"):
            values["backoff"] = Backoff(**backoff)
        if rate := _take(values, "rate_"):
            values["rate"] = Rate(**rate)
        return Policy(**values)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keep arguments, environment and `.env`, in this order; and read `.env` without replacing `${...}` in it."""
        if isinstance(dotenv_settings, DotEnvSettingsSource):
            path = dotenv_settings.env_file
            dotenv_settings.env_vars = _file_variables(path if isinstance(path, (str, Path)) else None)
        return init_settings, env_settings, dotenv_settings


def _read(cls: type[S], env_file: str | Path | None, given: dict[str, object]) -> tuple[S | None, str]:
    if env_file not in (None, ".env") and not Path(env_file).is_file():
        return None, f"the settings file {str(env_file)!r} does not exist"
    problems = [*_misnamed(cls, env_file)]
    if problems:
        return None, "; ".join(problems)
    make = cast("Callable[..., S]", cls)  # its own keyword arguments are hidden from type checkers
    try:
        settings = make(_env_file=env_file, **given)
        settings.policy()
    except ValidationError as error:
        return None, "; ".join(_sentences(cls, error))
    except ConfigError as error:
        return None, f"the variables {_prefix(cls)}* make no policy: {error}"
    return settings, ""


def _misnamed(cls: type[PolicySettings], env_file: str | Path | None) -> Iterator[str]:
    """Yield a sentence for each variable with the sink's prefix that is unknown or empty."""
    known = [variable_name(cls, field) for field in cls.model_fields]
    prefix = _prefix(cls)
    variables = {**_file_variables(env_file), **{name.lower(): value for name, value in os.environ.items()}}
    for name, value in sorted(variables.items()):
        upper = name.upper()
        if not upper.startswith(prefix):
            continue
        if upper not in known:
            nearest = difflib.get_close_matches(upper, known, n=1, cutoff=0.0)[0]
            yield f"{upper} is not a setting: did you mean {nearest}?"
        elif not value or not value.strip():
            yield f"{upper} is empty: give it a value or remove it"


def _sentences(cls: type[PolicySettings], error: ValidationError) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        name = variable_name(cls, str(detail["loc"][0])) if detail["loc"] else f"{_prefix(cls)}*"
        yield f"{name} is not set" if detail["type"] == "missing" else f"{name}: {detail['msg']}"


def variable_name(cls: type[PolicySettings], field: str) -> str:
    """Return the name of the environment variable that sets a field."""
    return f"{_prefix(cls)}{field}".upper()


def _prefix(cls: type[PolicySettings]) -> str:
    return cls.model_config.get("env_prefix", "").upper()


def _file_variables(path: str | Path | None) -> Mapping[str, str | None]:
    if path is None or not Path(path).is_file():
        return {}
    return {name.lower(): value for name, value in dotenv_values(path, interpolate=False).items()}


def _concurrency(text: str) -> int | Adaptive:
    least, dash, most = text.partition("-")
    return Adaptive(int(least), int(most)) if dash else int(least)


def _take(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Move the values whose names start with `prefix` to a dict of their own, without it."""
    return {name.removeprefix(prefix): values.pop(name) for name in [*values] if name.startswith(prefix)}
