"""What a connection to Stripe takes, and how it says that something is wrong."""

from __future__ import annotations

import pytest

from billhook.config import load_connection, masked, settings_of
from billhook.errors import ConfigInvalid
from billhook_stripe.config import SCRIPT, StripeConfig

GOOD = {
    "STRIPE_API_KEY": "sk_test_0123456789",
    "STRIPE_PUBLISHABLE_KEY": "pk_test_0123456789",
    "STRIPE_WEBHOOK_SECRET": "whsec_0123456789",
}


def load(**changes: str) -> StripeConfig:
    return load_connection(StripeConfig, "stripe", env=GOOD | changes)


def test_three_variables_are_enough():
    config = load()
    assert (config.api_url, config.js_url, config.live) == ("https://api.stripe.com", SCRIPT, False)


def test_several_webhook_secrets_are_taken_while_one_is_rolled():
    config = load(STRIPE_WEBHOOK_SECRET="whsec_0123456789, whsec_9876543210")
    assert len(config.webhook_secret) == 2


def test_a_restricted_live_key_is_live():
    config = load(STRIPE_API_KEY="rk_live_0123456789", STRIPE_PUBLISHABLE_KEY="pk_live_0123456789")
    assert config.live


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("STRIPE_API_KEY", "pk_test_0123456789", "secret or restricted"),
        ("STRIPE_API_KEY", "sk_test_ 123456789", "secret or restricted"),
        ("STRIPE_PUBLISHABLE_KEY", "sk_test_0123456789", "publishable"),
        ("STRIPE_PUBLISHABLE_KEY", "pk_live_0123456789", "different modes"),
        ("STRIPE_WEBHOOK_SECRET", "0123456789", "endpoint secret"),
        ("STRIPE_API_URL", "api.stripe.com", "https://host"),
        ("STRIPE_API_URL", "https://user:pass@api.stripe.com", "https://host"),
        ("STRIPE_JS_URL", "ftp://js.stripe.com/x.js", "https://host"),
        ("STRIPE_CHARGE", "sometimes", "auto"),
        ("STRIPE_REATTEMPT_LIMIT", "36", "35"),
        ("STRIPE_REATTEMPT_DAYS", "0", "1"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_variable_and_never_shown(variable, value, word):
    with pytest.raises(ConfigInvalid, match=word) as caught:
        load(**{variable: value})
    assert variable in str(caught.value) or "STRIPE" in str(caught.value)
    assert value == "sometimes" or value in ("36", "0") or value not in str(caught.value)


def test_secrets_are_masked_and_the_publishable_key_is_not():
    shown = masked(load(STRIPE_API_KEY="sk_test_0123456789abcdefgh"))
    assert shown["api_key"] == "…efgh"
    assert shown["publishable_key"] == "pk_test_0123456789"
    secrets = {setting.name for setting in settings_of(StripeConfig, "stripe") if setting.secret}
    assert secrets == {"api_key", "webhook_secret"}
