"""What a connection to Stripe can be told."""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from billhook.config import ConnectionConfig, Secrets

API: Final = "https://api.stripe.com"
SCRIPT: Final = "https://js.stripe.com/endive/stripe.js"
"""Stripe.js of the API train the SDK speaks. It must be loaded from Stripe, never copied (PCI)."""

_SECRET_KEY = re.compile(r"(?:sk|rk)_(?:test|live)_[A-Za-z0-9_]{4,}")
_PUBLIC_KEY = re.compile(r"pk_(?:test|live)_[A-Za-z0-9_]{4,}")
_HOOK_SECRET = re.compile(r"whsec_[!-~]{8,}")


class StripeConfig(ConnectionConfig):
    """The settings of one connection. The keys say themselves whether they move real money."""

    api_key: SecretStr = Field(
        description="secret or restricted API key (sk_… or rk_…), from the Stripe dashboard under Developers, API keys"
    )
    publishable_key: str = Field(
        description="publishable API key (pk_…) of the same account and mode; it is public and goes to the customer's "
        "browser"
    )
    webhook_secret: Secrets = Field(
        description="signing secret of the webhook endpoint (whsec_…); several, comma-separated, while one is rolled"
    )
    api_url: str = Field(
        default=API, description="address of the API in place of Stripe's own, such as a sandbox's"
    )
    js_url: str = Field(
        default=SCRIPT,
        description="address of Stripe.js in place of Stripe's own, for a sandbox's stand-in; never for real cards",
    )
    charge: Literal["auto", "page"] = Field(
        default="auto",
        description="auto: charge a saved payment method, else offer the pay page; page: always offer the pay page",
    )
    save_methods: bool = Field(
        default=True,
        description="keep the payment method a customer pays with, for later invoices",
    )
    reattempt_limit: int = Field(
        default=8,
        ge=1,
        le=35,
        description="how often one card may be declined in the days below before it is left alone; Visa allows 20 in 30 "
        "days, Mastercard 35 of one amount, and both charge fees beyond",
    )
    reattempt_days: int = Field(default=14, ge=1, le=90, description="the days that the limit above counts")

    @property
    def live(self) -> bool:
        """Say whether real money moves."""
        return "_live_" in self.api_key.get_secret_value()[:8]

    @field_validator("api_key")
    @classmethod
    def _is_a_secret_key(cls, key: SecretStr) -> SecretStr:
        if not _SECRET_KEY.fullmatch(key.get_secret_value()):
            raise ValueError("it is no secret or restricted key such as sk_test_…; copy it again")
        return key

    @field_validator("publishable_key")
    @classmethod
    def _is_a_publishable_key(cls, key: str) -> str:
        if not _PUBLIC_KEY.fullmatch(key):
            raise ValueError("it is no publishable key such as pk_test_…; copy it again")
        return key

    @field_validator("webhook_secret")
    @classmethod
    def _secrets_can_verify(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not secrets or not all(_HOOK_SECRET.fullmatch(each.get_secret_value()) for each in secrets):
            raise ValueError("it is no endpoint secret such as whsec_…; copy it again")
        return secrets

    @field_validator("api_url", "js_url")
    @classmethod
    def _url_is_absolute(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("write it as https://host, without user, password or query")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _keys_are_of_one_mode(self) -> StripeConfig:
        if self.live != self.publishable_key.startswith("pk_live_"):
            raise ValueError("api_key and publishable_key are of different modes, one test and one live")
        return self
