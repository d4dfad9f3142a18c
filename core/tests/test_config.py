"""A connection's settings: where they come from, what is said when they are wrong, and what is never shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, SecretStr, field_validator

from billhook.config import (
    ConnectionConfig,
    Pairs,
    Secrets,
    load_connection,
    masked,
    prefix_of,
    secrets_of,
    settings_of,
)
from billhook.errors import ConfigInvalid, Problem

KEY = "sk_live_0123456789abcdef"


class LagoLike(ConnectionConfig):
    api_url: str = Field("https://api.example.com", description="where the API is")
    api_key: SecretStr = Field(description="from Developers > API keys")
    webhook_secret: Secrets = Field((), description="of the webhook endpoint")
    algorithm: Literal["hmac", "jwt"] = Field("hmac", description="how webhooks are signed")
    products: Pairs = Field({}, description="product of each currency")
    minimum: int = Field(0, description="smallest amount to collect, in minor units")


class Picky(ConnectionConfig):
    tokens: Secrets = Field(description="of the endpoint")

    @field_validator("tokens", mode="before")
    @classmethod
    def _check(cls, value: object) -> object:
        raise ValueError(f"{value} is not what I want")


def load(env: Mapping[str, str] | None = None, connection: str = "lago", **more: Any) -> LagoLike:
    return load_connection(LagoLike, connection, env={"LAGO_API_KEY": KEY} if env is None else env, **more)


def problems_of(env: Mapping[str, str], **more: Any) -> tuple[Problem, ...]:
    with pytest.raises(ConfigInvalid) as caught:
        load(env, **more)
    return caught.value.problems


def test_settings_come_from_the_environment() -> None:
    config = load({"LAGO_API_KEY": f" {KEY} ", "LAGO_ALGORITHM": "jwt", "LAGO_MINIMUM": "50"})
    assert config.api_key.get_secret_value() == KEY
    assert (config.algorithm, config.minimum, config.api_url) == ("jwt", 50, "https://api.example.com")


def test_a_connection_with_a_dash_has_variables_with_an_underscore() -> None:
    assert prefix_of("lago-eu") == "LAGO_EU"
    env = {"LAGO_EU_API_KEY": KEY, "LAGO_API_KEY": "of another connection"}
    assert load(env, "lago-eu").api_key.get_secret_value() == KEY


def test_a_mounted_secret_is_read_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n", encoding="utf-8")
    assert load({"LAGO_API_KEY_FILE": str(tmp_path / "key")}).api_key.get_secret_value() == KEY


def test_the_variable_itself_wins_over_its_file(tmp_path: Path) -> None:
    env = {"LAGO_API_KEY": KEY, "LAGO_API_KEY_FILE": str(tmp_path / "missing")}
    assert load(env).api_key.get_secret_value() == KEY


def test_settings_come_from_the_toml_table_too() -> None:
    table = {"api_key": KEY, "webhook_secret": ["one", "two"], "products": {"EUR": "pdt_1"}, "minimum": 50}
    config = load({}, table=table)
    assert config.api_key.get_secret_value() == KEY
    assert secrets_of(config) == (KEY, "one", "two")
    assert (config.products, config.minimum) == ({"EUR": "pdt_1"}, 50)


def test_the_environment_wins_over_the_file() -> None:
    config = load(
        {"LAGO_API_URL": "https://env.example.com"},
        table={"api_key": KEY, "api_url": "https://file.example.com"},
    )
    assert config.api_url == "https://env.example.com"


@pytest.mark.parametrize("blank", ["", "   "])
def test_a_blank_variable_is_as_good_as_none(blank: str) -> None:
    assert load(
        {"LAGO_API_URL": blank}, table={"api_key": KEY, "api_url": "https://file.example.com"}
    ).api_url == ("https://file.example.com")


def test_every_problem_is_told_at_once_with_its_variable() -> None:
    env = {
        "LAGO_ALGORITHM": "rot13",
        "LAGO_MINIMUM": "much",
        "LAGO_PRODUCTS": "EUR",
        "LAGO_API_URL_FILE": "/no/such/file",
    }
    found = problems_of(env, table={"api_kye": "x"})
    assert {problem.where for problem in found} == {
        "[connections.lago] api_kye",
        "LAGO_API_URL_FILE",
        "LAGO_API_KEY",
        "LAGO_ALGORITHM",
        "LAGO_MINIMUM",
        "LAGO_PRODUCTS",
    }


def test_a_missing_setting_names_each_way_to_set_it_and_what_it_is() -> None:
    (problem,) = problems_of({})
    assert problem.where == "LAGO_API_KEY"
    for word in ("LAGO_API_KEY_FILE", "api_key in [connections.lago]", "from Developers > API keys"):
        assert word in problem.fix


def test_a_choice_names_what_can_be_chosen() -> None:
    (problem,) = problems_of({"LAGO_API_KEY": KEY, "LAGO_ALGORITHM": "rot13"})
    assert "'hmac' or 'jwt'" in problem.what


def test_badly_written_pairs_are_told_how_to_be_written() -> None:
    (problem,) = problems_of({"LAGO_API_KEY": KEY, "LAGO_PRODUCTS": "EUR=pdt_1,USD"})
    assert "KEY=value,KEY=value" in problem.what


def test_an_unknown_key_is_told_what_it_may_have_meant() -> None:
    (problem,) = problems_of({"LAGO_API_KEY": KEY}, table={"api_kye": "x"})
    assert problem == Problem("[connections.lago] api_kye", "is not a setting.", "Did you mean api_key?")


def test_an_unknown_key_that_resembles_nothing_is_told_what_is_allowed() -> None:
    (problem,) = problems_of({"LAGO_API_KEY": KEY}, table={"zzz": 1})
    assert "api_url, api_key" in problem.fix


def test_a_problem_names_the_place_in_the_file_that_was_given() -> None:
    (problem,) = problems_of({"LAGO_API_KEY": KEY}, table={"zzz": 1}, section="plugins.lago")
    assert problem.where == "[plugins.lago] zzz"


def test_a_file_that_cannot_be_read_is_one_problem_not_two() -> None:
    (problem,) = problems_of({"LAGO_API_KEY_FILE": "/no/such/file"})
    assert problem.where == "LAGO_API_KEY_FILE"
    assert "No such file" in problem.what


def test_a_file_that_is_no_text_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe\x00")
    (problem,) = problems_of({"LAGO_API_KEY_FILE": str(tmp_path / "key")})
    assert problem.what == "cannot be read (not UTF-8 text)."


def test_several_secrets_are_separated_by_commas() -> None:
    config = load({"LAGO_API_KEY": KEY, "LAGO_WEBHOOK_SECRET": "whsec_new, whsec_old,"})
    assert [secret.get_secret_value() for secret in config.webhook_secret] == ["whsec_new", "whsec_old"]


def test_pairs_are_read_with_or_without_spaces() -> None:
    config = load({"LAGO_API_KEY": KEY, "LAGO_PRODUCTS": "EUR=pdt_1, USD = pdt_2 ,"})
    assert config.products == {"EUR": "pdt_1", "USD": "pdt_2"}


def test_no_secret_shows_in_a_representation() -> None:
    config = load({"LAGO_API_KEY": KEY, "LAGO_WEBHOOK_SECRET": "whsec_hidden"})
    for text in (repr(config), str(config), str(config.model_dump())):
        assert KEY not in text
        assert "whsec_hidden" not in text


@pytest.mark.parametrize("table", [None, {"tokens": ["hidden_one", "hidden_two"]}], ids=["env", "toml"])
def test_no_secret_shows_in_a_message_even_when_the_plugins_own_check_quotes_it(
    table: dict[str, Any] | None,
) -> None:
    env = {} if table else {"X_TOKENS": "hidden_one,hidden_two"}
    with pytest.raises(ConfigInvalid) as caught:
        load_connection(Picky, "x", env=env, table=table)
    assert "hidden" not in str(caught.value)
    assert "is not what I want" in str(caught.value)
    assert caught.value.__cause__ is None


def test_all_secrets_are_listed_for_redaction() -> None:
    config = load({"LAGO_API_KEY": KEY, "LAGO_WEBHOOK_SECRET": "one,two", "LAGO_PRODUCTS": "EUR=pdt_1"})
    assert secrets_of(config) == (KEY, "one", "two")


def test_an_operator_sees_only_the_end_of_a_long_secret() -> None:
    shown = masked(
        load(
            {
                "LAGO_API_KEY": KEY,
                "LAGO_WEBHOOK_SECRET": "short,0123456789abcdef",
                "LAGO_PRODUCTS": "EUR=pdt_1",
            }
        )
    )
    assert shown == {
        "api_url": "https://api.example.com",
        "api_key": "…cdef",
        "webhook_secret": "set, …cdef",
        "algorithm": "hmac",
        "products": "EUR=pdt_1",
        "minimum": "0",
    }


def test_what_is_not_set_is_shown_as_such() -> None:
    assert masked(load())["webhook_secret"] == "not set"


def test_settings_are_listed_as_declared() -> None:
    listed = {setting.name: setting for setting in settings_of(LagoLike, "lago-eu")}
    assert list(listed) == ["api_url", "api_key", "webhook_secret", "algorithm", "products", "minimum"]
    assert listed["api_key"].variable == "LAGO_EU_API_KEY"
    assert (listed["api_key"].required, listed["api_key"].secret, listed["api_key"].default) == (
        True,
        True,
        None,
    )
    assert listed["webhook_secret"].secret
    assert (listed["webhook_secret"].required, listed["webhook_secret"].default) == (False, None)
    assert (listed["algorithm"].secret, listed["algorithm"].default) == (False, "hmac")
    assert listed["api_url"].description == "where the API is"


def test_settings_cannot_be_changed_afterwards() -> None:
    config = load()
    with pytest.raises(ValueError, match="frozen"):
        config.minimum = 5  # type: ignore[misc]
