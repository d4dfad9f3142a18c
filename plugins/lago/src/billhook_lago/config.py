"""What a Lago connection can be told."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from billhook.config import ConnectionConfig, Secrets

_API_PATH = "/api/v1"
_HEADER_TEXT = re.compile(r"[!-~]+")


class LagoConfig(ConnectionConfig):
    """One Lago organisation: where it is, its API key, and how its webhooks are signed."""

    api_url: Annotated[
        str,
        Field(
            description="Where Lago answers, with or without /api/v1: https://api.getlago.com, "
            "https://api.eu.getlago.com, or your own server."
        ),
    ]
    api_key: Annotated[
        SecretStr, Field(description="API key of the organisation: Lago, Developers, API keys.")
    ]
    webhook_algorithm: Annotated[
        Literal["hmac", "jwt"],
        Field(
            description="How Lago signs webhooks, as chosen at the webhook endpoint there: hmac or jwt. Prefer hmac: "
            "a jwt carries the whole body in a header, which many servers refuse."
        ),
    ] = "hmac"
    webhook_secret: Annotated[
        Secrets,
        Field(
            validate_default=True,
            description="HMAC key of the organisation: Lago, Developers, Webhooks, key at the endpoint. Needed for "
            "hmac; several, comma-separated, while rotating.",
        ),
    ] = ()
    organization_id: Annotated[
        str | None,
        Field(
            description="Accept only webhooks of this organisation (its Lago id). With jwt it is fetched when not set."
        ),
    ] = None
    licence: Annotated[
        Literal["auto", "premium", "free"],
        Field(
            description="Whether Lago has a premium licence, which recording payments and credit notes needs: auto "
            "tries and falls back, free never tries, premium treats a refusal as an error."
        ),
    ] = "auto"

    @field_validator("api_url")
    @classmethod
    def _normalise_url(cls, url: str) -> str:
        refusal = ValueError("write it as https://host, optionally followed by /api/v1")
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError:  # a port that is no number
            raise refusal from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise refusal
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("leave user, password, query and fragment out")
        return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix(_API_PATH)}{_API_PATH}"

    @field_validator("api_key")
    @classmethod
    def _usable_key(cls, key: SecretStr) -> SecretStr:
        if not _HEADER_TEXT.fullmatch(key.get_secret_value()):
            raise ValueError("it is empty or holds a space or a character that is not ASCII; copy it again")
        return key

    @field_validator("webhook_secret")
    @classmethod
    def _secret_for_hmac(cls, secrets: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        if not all(secret.get_secret_value() for secret in secrets):
            raise ValueError("one of the secrets is empty")
        if not secrets and info.data.get("webhook_algorithm") == "hmac":
            raise ValueError("it is not set, and webhooks signed with hmac cannot be checked without it")
        return secrets

    @property
    def server_url(self) -> str:
        """Lago's address without the API's path."""
        return self.api_url.removesuffix(_API_PATH)
