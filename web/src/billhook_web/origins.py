"""Origins of web addresses: which app a link leads to, read as strictly as any browser reads it."""

from __future__ import annotations

from urllib.parse import urlsplit


def origin_of(url: str) -> str:
    """Return scheme, host and port of an http(s) address, in lower case; empty: it is no address to lead people to.

    An address with a user, a backslash or a control character is none: browsers and we could read it differently.
    """
    if any(ord(character) <= 32 or character in "\\\x7f" for character in url):
        return ""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return ""
    usual = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port in (None, usual) else f":{port}")
