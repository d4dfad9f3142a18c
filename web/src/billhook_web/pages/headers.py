"""The headers of pages for people: a strict Content-Security-Policy, nothing kept in caches, nothing told to others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from flask import Response

Sources = Mapping[str, Iterable[str]]
"""Directive of a Content-Security-Policy → what it has to allow on top, as :attr:`billhook.methods.PageKit.sources`."""

POLICY: Final[Mapping[str, tuple[str, ...]]] = {
    "default-src": ("'none'",),
    "script-src": ("'self'",),
    "style-src": ("'self'",),
    "img-src": ("'self'",),
    "font-src": ("'self'",),
    "connect-src": ("'self'",),
    "form-action": ("'self'",),
    "base-uri": ("'none'",),
    "frame-ancestors": ("'none'",),
}
"""What every page may do. There is no inline script, no inline style, and no page that frames ours."""

FIXED: Final = frozenset(
    {"default-src", "base-uri", "frame-ancestors", "script-src-attr", "style-src-attr", "sandbox"}
)
"""Directives that nobody may widen."""

NEVER_ALLOWED: Final = frozenset(
    {"'unsafe-inline'", "'unsafe-eval'", "'unsafe-hashes'", "*", "data:", "blob:"}
)
"""Sources that would undo the policy, wherever they come from."""

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), display-capture=()",
}


def policy(sources: Sources | None = None) -> str:
    """Return the Content-Security-Policy of a page that needs ``sources`` besides ours.

    :raises ValueError: they would undo the policy.
    """
    allowed = {directive: list(ours) for directive, ours in POLICY.items()}
    for directive, more in (sources or {}).items():
        theirs = [source for source in more if source not in allowed.get(directive, ())]
        if directive in FIXED or not all(map(_is_source, theirs)):
            raise ValueError(f"a page may not allow {directive} {' '.join(theirs)}")
        allowed.setdefault(directive, []).extend(theirs)
    return "; ".join(f"{directive} {' '.join(values)}" for directive, values in allowed.items())


def protect(response: Response, *, sources: Sources | None = None) -> Response:
    """Put the headers on; what a page has set itself stays."""
    response.headers.setdefault("Content-Security-Policy", policy(sources))
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _is_source(source: str) -> bool:
    return source not in NEVER_ALLOWED and not any(character in source for character in ";, \r\n\t")
