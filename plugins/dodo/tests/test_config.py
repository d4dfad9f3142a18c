"""What a connection can be told, and how a mistake in it is told back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from billhook.config import load_connection, masked, settings_of
from billhook.errors import ConfigInvalid
from billhook_dodo.config import HOSTS, DodoConfig

SECRET = "whsec_ZG9kby1zYW5kYm94LW5vdC1hLXJlYWwtc2VjcmV0"
OTHER_SECRET = "whsec_YW5vdGhlci1zZWNyZXQtd2hpbGUtcm90YXRpbmcx"
GOOD = {"DODO_API_KEY": "key_123456789", "DODO_MODE": "test", "DODO_WEBHOOK_SECRET": SECRET}


def load(changes: Mapping[str, str] | None = None) -> DodoConfig:
    return load_connection(DodoConfig, "dodo", env={**GOOD, **(changes or {})})


def problem_of(changes: Mapping[str, str]) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        load(changes)
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_three_variables_are_enough():
    config = load()
    assert config.base_url == HOSTS["test"]
    assert (config.tax_mode, config.tax_category, config.charge) == ("inclusive", "saas", "auto")
    assert config.products == {}


def test_the_mode_chooses_the_host_and_an_address_of_ones_own_goes_before_it():
    assert load({"DODO_MODE": "live"}).base_url == "https://live.dodopayments.com"
    assert load({"DODO_API_URL": "http://127.0.0.1:8402/"}).base_url == "http://127.0.0.1:8402"


def test_a_mode_that_is_missing_is_asked_for_and_never_guessed():
    text = problem_of({"DODO_MODE": ""})
    assert "DODO_MODE: is not set" in text
    assert "no default" in text


def test_everything_that_is_missing_is_told_at_once():
    with pytest.raises(ConfigInvalid) as caught:
        load_connection(DodoConfig, "dodo", env={})
    where = [problem.where for problem in caught.value.problems]
    assert where == ["DODO_API_KEY", "DODO_MODE", "DODO_WEBHOOK_SECRET"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DODO_MODE", "sandbox"),
        ("DODO_API_KEY", "two words"),
        ("DODO_API_URL", "dodo.example.com"),
        ("DODO_API_URL", "ftp://dodo.example.com"),
        ("DODO_API_URL", "https://user:word@dodo.example.com"),
        ("DODO_WEBHOOK_SECRET", "whsec_!!!"),
        ("DODO_WEBHOOK_SECRET", "whsec_c2hvcnQ="),
        ("DODO_WEBHOOK_SECRET", f"{SECRET},whsec_c2hvcnQ="),
        ("DODO_WEBHOOK_SECRET", ","),
        ("DODO_PRODUCTS", "EUR"),
        ("DODO_PRODUCTS", "eur=pdt_1"),
        ("DODO_PRODUCTS", "EURO=pdt_1"),
        ("DODO_PRODUCTS", "EUR=pdt 1"),
        ("DODO_TAX_MODE", "none"),
        ("DODO_TAX_CATEGORY", "books"),
        ("DODO_RAPID_DISPUTES", "ignore"),
        ("DODO_CHARGE", "always"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_by_its_variable(variable: str, value: str):
    assert problem_of({variable: value}).startswith(f"{variable}: is not usable")


def test_a_bad_secret_is_never_shown():
    assert "c2hvcnQ" not in problem_of({"DODO_WEBHOOK_SECRET": f"{SECRET},whsec_c2hvcnQ="})
    assert "two words" not in problem_of({"DODO_API_KEY": "two words"})


def test_two_secrets_are_taken_while_one_is_rotated():
    config = load({"DODO_WEBHOOK_SECRET": f"{SECRET}, {OTHER_SECRET}"})
    assert [secret.get_secret_value() for secret in config.webhook_secret] == [SECRET, OTHER_SECRET]
    assert SECRET not in repr(config)
    assert SECRET not in str(masked(config))


def test_products_are_read_as_pairs():
    config = load({"DODO_PRODUCTS": "EUR=pdt_1, JPY=pdt_2"})
    assert config.products == {"EUR": "pdt_1", "JPY": "pdt_2"}


def test_every_setting_says_what_it_is_for():
    assert all(len(setting.description) > 20 for setting in settings_of(DodoConfig, "dodo"))
