from __future__ import annotations

import inspect
import traceback
from typing import TYPE_CHECKING, Annotated

import pytest
from pydantic import SecretStr, field_validator
from pydantic_settings import NoDecode

from sinkwell.core import Adaptive, Backoff, ConfigError, Policy, Rate
from sinkwell.sinks._extras import needs_extra
from sinkwell.sinks._settings import PolicySettings
from sinkwell.sinks.dynamodb import DynamoDBSettings, DynamoDBSink
from sinkwell.sinks.rabbitmq import RabbitMQSettings, RabbitMQSink
from sinkwell.sinks.sns import SnsSettings, SnsSink
from sinkwell.sinks.sqs import SqsSettings, SqsSink

if TYPE_CHECKING:
    from pathlib import Path


class DemoSettings(PolicySettings, env_prefix="SINKWELL_DEMO_"):
    url: SecretStr
    region: str = "here"
    names: Annotated[tuple[str, ...], NoDecode] = ()

    @field_validator("names", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def set_variables(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"SINKWELL_DEMO_{name}", value)


def test_every_field_of_the_policy_has_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(
        monkeypatch,
        URL="x",
        MAX_RECORDS="10",
        MAX_BYTES="1000",
        LINGER="0.5",
        CONCURRENCY="2-64",
        MAX_PENDING_RECORDS="100",
        MAX_PENDING_BYTES="2000",
        ATTEMPT_TIMEOUT="3",
        DELIVERY_TIMEOUT="30",
        MAX_ATTEMPTS="4",
        BACKOFF_BASE="0.2",
        BACKOFF_CAP="4",
        BACKOFF_JITTER="none",
        ORDER="key",
        ON_FAILURE="block",
        ON_UNKNOWN="fail",
        RATE_RECORDS="5",
        RATE_REQUESTS="6",
        RATE_BYTES="7",
    )
    assert DemoSettings.load().policy() == Policy(
        max_records=10,
        max_bytes=1000,
        linger=0.5,
        concurrency=Adaptive(2, 64),
        max_pending_records=100,
        max_pending_bytes=2000,
        attempt_timeout=3,
        delivery_timeout=30,
        max_attempts=4,
        backoff=Backoff(base=0.2, cap=4, jitter="none"),
        order="key",
        on_failure="block",
        on_unknown="fail",
        rate=Rate(records=5, requests=6, bytes=7),
    )


def test_no_variable_of_the_policy_means_no_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, URL="x")
    assert DemoSettings.load().policy() is None


def test_a_plain_number_is_a_fixed_concurrency(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, URL="x", CONCURRENCY="3")
    assert DemoSettings.load().policy() == Policy(concurrency=3)


@pytest.mark.parametrize(
    ("given", "variable", "expected"),
    [("argument", "variable", "argument"), (None, "variable", "variable"), (None, None, "file")],
)
def test_argument_counts_before_environment_before_file(
    given: str | None, variable: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        set_variables(monkeypatch, REGION=variable)
    (tmp_path / ".env").write_text("SINKWELL_DEMO_REGION=file\n")
    assert DemoSettings.load(url="x", region=given).region == expected


def test_what_nobody_sets_has_its_default() -> None:
    assert DemoSettings.load(url="x").region == "here"


def test_an_unknown_variable_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, URL="x", MAX_RECRODS="5")
    with pytest.raises(ConfigError, match=r"_MAX_RECRODS is not .* did you mean SINKWELL_DEMO_MAX_RECORDS\?"):
        DemoSettings.load()


def test_an_unknown_variable_in_the_file_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SINKWELL_DEMO_URLL=x\nUNRELATED=1\n")
    with pytest.raises(ConfigError, match=r"SINKWELL_DEMO_URLL is not .* SINKWELL_DEMO_URL\?"):
        DemoSettings.load()


def test_another_sinks_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINKWELL_OTHER_THING", "1")
    assert DemoSettings.load(url="x").region == "here"


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_is_an_error_and_not_unset(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, URL="x", REGION=value)
    with pytest.raises(ConfigError, match="SINKWELL_DEMO_REGION is empty"):
        DemoSettings.load()


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^SINKWELL_DEMO_URL is not set$"):
        DemoSettings.load()


def test_all_wrong_types_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, URL="x", LINGER="soon", CONCURRENCY="many")
    with pytest.raises(ConfigError, match=r"SINKWELL_DEMO_LINGER: .*number.*; SINKWELL_DEMO_CONCURRENCY: "):
        DemoSettings.load()


def test_numbers_that_make_no_policy_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, URL="x", LINGER="9", DELIVERY_TIMEOUT="3", ATTEMPT_TIMEOUT="1")
    with pytest.raises(ConfigError, match=r"SINKWELL_DEMO_\* make no policy: linger \(9.0\) must be shorter"):
        DemoSettings.load()


def test_a_list_is_split_by_the_sinks_own_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, URL="x", NAMES="a, b")
    assert DemoSettings.load().names == ("a", "b")


def test_a_value_of_the_file_is_taken_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME_TOWN", "elsewhere")
    (tmp_path / ".env").write_text("SINKWELL_DEMO_REGION=${HOME_TOWN}\n")
    assert DemoSettings.load(url="x").region == "${HOME_TOWN}"


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"settings file '.*mine.env' does not exist"):
        DemoSettings.load(tmp_path / "mine.env", url="x")


def test_no_file_is_read_if_none_is_wanted(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SINKWELL_DEMO_REGION=file\n")
    assert DemoSettings.load(None, url="x").region == "here"


def test_a_secret_is_in_no_repr_and_in_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, URL="c4nary", LINGER="soon-c4nary")
    with pytest.raises(ConfigError) as caught:
        DemoSettings.load()
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    monkeypatch.delenv("SINKWELL_DEMO_LINGER")
    assert "c4nary" not in "".join(told.format())
    assert caught.value.__context__ is None
    assert "c4nary" not in repr(DemoSettings.load())


def test_a_missing_extra_is_told_in_one_sentence() -> None:
    with pytest.raises(ImportError) as caught, needs_extra("sqs"):
        import no_such_client  # type: ignore[import-not-found] # noqa: F401
    assert str(caught.value) == 'sinkwell.sinks.sqs needs no_such_client: run  pip install "sinkwell[sqs]"'


@pytest.mark.parametrize(
    ("settings", "sink"),
    [
        (SqsSettings, SqsSink),
        (SnsSettings, SnsSink),
        (DynamoDBSettings, DynamoDBSink),
        (RabbitMQSettings, RabbitMQSink),
    ],
)
def test_a_sink_takes_each_setting_of_its_own_by_its_name(settings: type[PolicySettings], sink: type) -> None:
    own = settings.model_fields.keys() - PolicySettings.model_fields.keys()
    assert own <= inspect.signature(sink).parameters.keys()


def test_a_sinks_own_settings_are_all_but_the_policys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SINKWELL_DEMO_LINGER", "0.5")
    settings = DemoSettings.load(url="u", names="a,b")
    assert settings.own() == {"url": SecretStr("u"), "region": "here", "names": ("a", "b")}
