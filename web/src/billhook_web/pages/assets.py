"""What pages load from here: style, scripts, icons, fonts, the logo; read once, kept for ever by browsers.

All of it is served below one name made from the contents, ``/assets/<digest>/``, so that files may name each other, and a
browser that has a file never asks for it again. Text is sent compressed; pages are not, for they hold secrets (BREACH).
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Final

from flask import Blueprint, Response, abort, request

from billhook_web.branding import Accent, Logo

FILES: Final[Mapping[str, str]] = {
    "portal.css": "portal/portal.css",
    "portal.js": "portal/portal.js",
    "payment-method.js": "portal/payment-method.js",
    "pay.css": "pay/pay.css",
    "pay-here.js": "pay/pay-here.js",
    "look-again.js": "pay/look-again.js",
    "icons.svg": "portal/icons.svg",
    "mark.svg": "pay/mark.svg",
    "htmx.js": "vendor/htmx/htmx.min.js",
    "inter.woff2": "vendor/inter/inter-latin-wght-normal.woff2",
}
"""What pages ask for → where it lies in ``static``."""

_KINDS: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_NOT_YET: Final = (
    "no-cache"  # asked for by a page of another version: it is not what that name will always mean
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file to be loaded. ``small``: the same compressed; None: it would not get smaller."""

    content: bytes = field(repr=False)
    kind: str
    small: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, content: bytes, kind: str) -> Asset:
        """Make one, compressing what is text."""
        text = kind.startswith("text/") or kind == "image/svg+xml"
        return cls(content=content, kind=kind, small=gzip.compress(content, mtime=0) if text else None)


class Assets:
    """Everything pages load, by name. ``scripts`` answers for those of plugins: its text by the name of a connection."""

    def __init__(
        self, *, accent: Accent, logo: Logo | None, scripts: Callable[[str], str | None] = lambda _name: None
    ) -> None:
        self._assets = {name: _read(path) for name, path in FILES.items()}
        self._assets["brand.css"] = Asset.of(theme(accent).encode(), _KINDS["css"])
        if logo is not None:
            self._assets["logo"] = Asset.of(logo.content, logo.kind)
        self._scripts = scripts
        digests = (hashlib.sha256(asset.content).digest() for asset in self._assets.values())
        self.digest = _digest(b"".join(digests))

    def url(self, name: str) -> str:
        """Return the address of a file."""
        return f"/assets/{self.digest}/{name}"

    def script_url(self, connection: str) -> str:
        """Return the address of the script that a connection's plugin brings along; it changes with its text."""
        text = self._scripts(connection) or ""
        return f"/assets/{_digest(text.encode())}/scripts/{connection}.js"

    def find(self, digest: str, name: str) -> tuple[Asset, bool] | None:
        """Return a file, and whether ``digest`` is its own: it may then be kept for ever."""
        folder, _, connection = name.removesuffix(".js").partition("/")
        if folder == "scripts":
            text = self._scripts(connection)
            return None if text is None else (_script(text), digest == _digest(text.encode()))
        asset = self._assets.get(name)
        return None if asset is None else (asset, digest == self.digest)


def theme(accent: Accent) -> str:
    """Return the style that carries the brand's colour."""
    return (
        f":root{{--accent:light-dark({accent.light},{accent.dark});"
        f"--accent-soft:light-dark({accent.soft},{accent.dark_soft})}}\n"
    )


def assets_blueprint(assets: Assets) -> Blueprint:
    """Return the route of :class:`Assets`."""
    blueprint = Blueprint("assets", __name__)

    @blueprint.get("/assets/<digest>/<path:name>")
    def asset(digest: str, name: str) -> Response:
        found = assets.find(digest, name)
        if found is None:
            abort(404)
        return _answer(*found)

    return blueprint


def _answer(asset: Asset, own: bool) -> Response:
    small = asset.small if request.accept_encodings["gzip"] else None
    response = Response(small or asset.content, content_type=asset.kind)
    if small:
        response.headers["Content-Encoding"] = "gzip"
    if asset.small:
        response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = _FOR_EVER if own else _NOT_YET
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    # A logo somebody opens by itself is a document of this origin: its scripts must not run.
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    return response


@lru_cache(maxsize=16)
def _script(text: str) -> Asset:
    return Asset.of(text.encode(), _KINDS["js"])


def _read(path: str) -> Asset:
    content = (files("billhook_web") / "static" / path).read_bytes()
    return Asset.of(content, _KINDS[path.rpartition(".")[2]])


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
