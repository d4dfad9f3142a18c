"""The settings of what customers see: how long the portal lets them in, where it leads back to, and the brand."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator

from billhook.config import ConnectionConfig
from billhook.dunning import parse_duration
from billhook_web.branding import Accent, Logo, read_logo
from billhook_web.origins import origin_of


def _words(value: object) -> object:
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]


class PageSettings(ConnectionConfig):
    """What the pages for customers can be told. Every field is ``BILLHOOK_<FIELD>`` in the environment."""

    portal_return_origins: Words = Field(
        (),
        description="where the customer portal may lead back to: the origins of your apps, comma-separated, for instance "
        "https://app.example.com",
    )
    portal_idle: str = Field(
        "PT30M", description="how long a portal session lasts without a click, as an ISO 8601 duration"
    )
    portal_longest: str = Field(
        "PT12H", description="how long a portal session lasts at most, as an ISO 8601 duration"
    )
    pay_saved_methods: Literal["portal", "link"] = Field(
        "portal",
        description="who may pay an invoice with a saved payment method on its pay page; portal: only who is signed in to "
        "the portal as its customer; link: whoever has the link, and they read the method's last digits",
    )
    portal_email_login: bool = Field(
        False,
        description="customers may have a link into the portal mailed to them: true or false; true needs a connection that "
        "sends mail",
    )
    trusted_proxies: Words = Field(
        (),
        description="addresses and networks of the reverse proxies in front of this host, comma-separated: their "
        "X-Forwarded-For tells apart who asks for mails",
    )
    brand_name: str = Field(
        "Billing", description="your name, on every page your customers see", max_length=60
    )
    brand_logo: str | None = Field(
        None, description="path of your logo: an SVG, PNG or WebP file of at most 100 kB; unset: a plain mark"
    )
    brand_accent: str = Field(
        "#2f5bea",
        description="your colour for buttons and links, such as #2f5bea, dark enough for white text",
    )
    brand_support_url: str | None = Field(
        None, description="where customers ask for help: https://... or mailto:..."
    )

    @field_validator("portal_return_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_origin(each) for each in value)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            ip_network(each)
        return value

    @field_validator("portal_idle", "portal_longest")
    @classmethod
    def _is_stay(cls, value: str) -> str:
        if not timedelta(minutes=5) <= parse_duration(value) <= timedelta(days=7):
            raise ValueError("it is not between 5 minutes and 7 days")
        return value

    @field_validator("brand_accent")
    @classmethod
    def _is_readable(cls, value: str) -> str:
        Accent.of(value)
        return value

    @field_validator("brand_support_url")
    @classmethod
    def _leads_to_help(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://", "mailto:")):
            raise ValueError("it must start with https:// or mailto:")
        return value

    @field_validator("brand_logo")
    @classmethod
    def _is_picture(cls, value: str | None) -> str | None:
        if value is not None:
            read_logo(value)
        return value

    def portal_stay(self) -> tuple[timedelta, timedelta]:
        """Return how long a portal session lasts without a click, and at most."""
        return parse_duration(self.portal_idle), parse_duration(self.portal_longest)

    def accent(self) -> Accent:
        """Return the brand's colour with those that follow from it."""
        return Accent.of(self.brand_accent)

    def logo(self) -> Logo | None:
        """Return the brand's logo; None: there is none."""
        return None if self.brand_logo is None else read_logo(self.brand_logo)


def _origin(text: str) -> str:
    """Return an origin as browsers write it: lower case, no slash at the end, no port that goes without saying."""
    origin = origin_of(text)
    if not origin or urlsplit(text).path not in ("", "/") or urlsplit(text).query:
        raise ValueError(f"{text!r} is no origin; write scheme and host, such as https://app.example.com")
    return origin
