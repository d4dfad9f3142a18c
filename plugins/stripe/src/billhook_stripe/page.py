"""What the host's pages need of Stripe: its script, our adapter to it, and what the Content-Security-Policy must let in."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final
from urllib.parse import urlsplit

from billhook.methods import PageKit

from .config import SCRIPT, StripeConfig

_STRIPE: Final = {
    "script-src": ("https://js.stripe.com", "https://*.js.stripe.com"),
    "frame-src": ("https://js.stripe.com", "https://*.js.stripe.com", "https://hooks.stripe.com"),
    "connect-src": ("https://api.stripe.com",),
}
"""After docs.stripe.com/security/guide, without the maps that only the address form needs."""


def page_kit(config: StripeConfig) -> PageKit:
    """Return what a page must load. With another script than Stripe's own (a stand-in), its origin is let in instead."""
    return PageKit(
        scripts=(config.js_url,),
        adapter=_adapter(),
        settings={"publishableKey": config.publishable_key},
        sources=_sources(config.js_url),
    )


def _sources(js_url: str) -> dict[str, tuple[str, ...]]:
    if js_url.startswith(SCRIPT[: SCRIPT.index("/endive")] + "/"):
        return dict(_STRIPE)
    parts = urlsplit(js_url)
    origin = f"{parts.scheme}://{parts.netloc}"
    return dict.fromkeys(_STRIPE, (origin,))


@cache
def _adapter() -> str:
    return (files(__package__) / "page.js").read_text(encoding="utf-8")
