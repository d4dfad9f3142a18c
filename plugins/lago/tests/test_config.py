"""What a Lago connection accepts, and what it says when it does not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from billhook.config import load_connection, masked, secrets_of, settings_of
from billhook.errors import ConfigInvalid
from billhook_lago.config import LagoConfig

GOOD = {
    "LAGO_API_URL": "https://api.getlago.com",
    "LAGO_API_KEY": "key-0123456789abcdef",
    "LAGO_WEBHOOK_SECRET": "old-secret, new-secret",
}


def _load(env: Mapping[str, str], connection: str = "lago") -> LagoConfig:
    return load_connection(LagoConfig, connection, env=env)


def _problems(env: Mapping[str, str], connection: str = "lago") -> str:
    with pytest.raises(ConfigInvalid) as caught:
        _load(env, connection)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://lago.example",
        "https://lago.example/",
        "https://lago.example/api/v1",
        "https://lago.example/api/v1/",
        " https://lago.example ",
    ],
)
def test_the_url_may_have_the_api_path_or_not(url: str) -> None:
    config = _load(GOOD | {"LAGO_API_URL": url})
    assert config.api_url == "https://lago.example/api/v1"
    assert config.server_url == "https://lago.example"


def test_a_lago_below_a_path_keeps_it() -> None:
    config = _load(GOOD | {"LAGO_API_URL": "http://intranet:3000/lago"})
    assert config.api_url == "http://intranet:3000/lago/api/v1"


@pytest.mark.parametrize(
    "url", ["lago.example", "ftp://lago.example", "https://", "https://x:port", "https://x:0", "http://[::1"]
)
def test_a_url_that_is_none_is_refused_by_its_variable(url: str) -> None:
    assert "LAGO_API_URL: is not usable: write it as https://host" in _problems(GOOD | {"LAGO_API_URL": url})


@pytest.mark.parametrize("url", ["https://me:pw@lago.example", "https://lago.example?x=1"])
def test_a_url_with_a_user_or_a_query_is_refused_without_showing_it(url: str) -> None:
    said = _problems(GOOD | {"LAGO_API_URL": url})
    assert "leave user, password, query and fragment out" in said
    assert url not in said


def test_every_missing_setting_is_named_at_once() -> None:
    said = _problems({})
    assert "LAGO_API_URL: is not set" in said
    assert "LAGO_API_KEY: is not set" in said
    assert "LAGO_WEBHOOK_SECRET: is not usable: it is not set" in said


def test_hmac_without_a_secret_names_the_variable_of_the_connection() -> None:
    env = {"LAGO_EU_API_URL": "https://api.eu.getlago.com", "LAGO_EU_API_KEY": "k"}
    said = _problems(env, "lago-eu")
    assert said.startswith(
        "LAGO_EU_WEBHOOK_SECRET: is not usable: it is not set, and webhooks signed with hmac"
    )


def test_jwt_needs_no_secret() -> None:
    env = {key: value for key, value in GOOD.items() if key != "LAGO_WEBHOOK_SECRET"}
    config = _load(env | {"LAGO_WEBHOOK_ALGORITHM": "jwt"})
    assert config.webhook_secret == ()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LAGO_WEBHOOK_ALGORITHM", "rsa"), ("LAGO_LICENCE", "gold"), ("LAGO_API_KEY", "two words")],
)
def test_an_unknown_word_is_refused_by_its_variable(variable: str, value: str) -> None:
    assert f"{variable}: is not usable" in _problems(GOOD | {variable: value})


def test_several_secrets_are_taken_while_rotating_and_none_is_shown() -> None:
    config = _load(GOOD)
    assert secrets_of(config) == ("key-0123456789abcdef", "old-secret", "new-secret")
    shown = f"{config!r} {config} {masked(config)}"
    assert not any(secret in shown for secret in secrets_of(config))


def test_every_setting_explains_itself() -> None:
    settings = settings_of(LagoConfig, "lago")
    assert [setting.variable for setting in settings] == [
        "LAGO_API_URL",
        "LAGO_API_KEY",
        "LAGO_WEBHOOK_ALGORITHM",
        "LAGO_WEBHOOK_SECRET",
        "LAGO_ORGANIZATION_ID",
        "LAGO_LICENCE",
    ]
    assert all(len(setting.description) > 30 for setting in settings)
    assert [setting.name for setting in settings if setting.secret] == ["api_key", "webhook_secret"]
