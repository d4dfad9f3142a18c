"""What a connection to Dodo Payments can be told."""

from __future__ import annotations

import re
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from billhook.config import ConnectionConfig, Pairs, Secrets
from billhook.money import exponent
from billhook.signing import StandardWebhooks

HOSTS: Final = {"test": "https://test.dodopayments.com", "live": "https://live.dodopayments.com"}
"""Dodo keeps products, customers, keys and webhooks apart per mode, each on a host of its own."""

_HEADER_SAFE = re.compile(r"[!-~]+")
_PRODUCT_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class DodoConfig(ConnectionConfig):
    """The settings of one connection. ``DODO_MODE`` has no default: a wrong guess would move real money."""

    api_key: SecretStr = Field(
        description="API key with read and write access, from the Dodo dashboard under Developer, API Keys"
    )
    mode: Literal["test", "live"] = Field(
        description="which Dodo account the key belongs to, test or live; there is no default, because live "
        "moves real money"
    )
    api_url: str | None = Field(
        default=None, description="address of the API in place of the mode's own, such as that of a sandbox"
    )
    webhook_secret: Secrets = Field(
        description="signing secret of the webhook endpoint (whsec_…); several, comma-separated, while one is "
        "rotated: Dodo honours the old one for 24 hours"
    )
    products: Pairs = Field(
        default_factory=dict,
        description="pay-what-you-want product per currency, as EUR=pdt_…,USD=pdt_…; those missing are created",
    )
    tax_mode: Literal["inclusive", "exclusive", "byop"] = Field(
        default="inclusive",
        description="inclusive: the invoice total holds Dodo's tax; exclusive: Dodo adds its tax on top; byop: "
        "Dodo routes to your own Stripe or Adyen and knows no tax",
    )
    tax_category: Literal["digital_products", "saas", "e_book", "edtech", "live_tutoring"] = Field(
        default="saas", description="tax category of products that are created"
    )
    rapid_disputes: Literal["credit_note", "flag"] = Field(
        default="credit_note",
        description="what a dispute that Visa's rapid resolution refunded at once counts as: a refund with a "
        "credit note, or a lost dispute that flags the invoice",
    )
    charge: Literal["auto", "checkout"] = Field(
        default="auto",
        description="auto: charge the customer's mandate, else a saved method, else offer a hosted page; "
        "checkout: always offer the hosted page",
    )

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return self.api_url or HOSTS[self.mode]

    @field_validator("api_key")
    @classmethod
    def _key_fits_a_header(cls, key: SecretStr) -> SecretStr:
        if not _HEADER_SAFE.fullmatch(key.get_secret_value()):
            raise ValueError("it is empty or holds a space or another character no key has; copy it again")
        return key

    @field_validator("api_url")
    @classmethod
    def _url_is_absolute(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("write it as https://host, without user, password or query")
        return url.rstrip("/")

    @field_validator("webhook_secret")
    @classmethod
    def _secrets_can_verify(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        StandardWebhooks([secret.get_secret_value() for secret in secrets])
        return secrets

    @field_validator("products")
    @classmethod
    def _products_name_currencies(cls, products: dict[str, str]) -> dict[str, str]:
        for currency, product in products.items():
            exponent(currency)
            if not _PRODUCT_ID.fullmatch(product):
                raise ValueError(f"the product for {currency} is no product id such as pdt_…")
        return products
