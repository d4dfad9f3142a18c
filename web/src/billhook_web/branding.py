"""What the customers' pages look like: a colour, checked against WCAG's contrast and derived for dark pages, and a logo.

Ratios are WCAG 2.2's: from 1 (the same) to 21 (black on white); text needs 4.5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

READABLE: Final = 4.5
"""The contrast that text needs, WCAG 2.2 success criterion 1.4.3."""

WHITE: Final = "#ffffff"
INK: Final = "#0b0f16"
PAPER: Final = "#f6f7f9"
NIGHT: Final = "#161b22"
"""Surfaces of the pages: what is light, the text on a button in the dark, the background, the cards in the dark."""

_HEX: Final = re.compile(r"#[0-9a-fA-F]{6}")
_STEPS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Accent:
    """One accent colour with what follows from it: ``soft`` lies under it, ``dark`` and ``dark_soft`` serve dark pages."""

    light: str
    soft: str
    dark: str
    dark_soft: str

    @classmethod
    def of(cls, colour: str) -> Accent:
        """Derive the others from ``colour``, as ``#2f5bea``.

        :raises ValueError: it is no colour, or nobody could read text in it on white, or white text on it.
        """
        if not _HEX.fullmatch(colour):
            raise ValueError("write it as # and six hex digits, such as #2f5bea")
        soft = mix(colour, WHITE, 0.91)
        worst = min(contrast(colour, under) for under in (WHITE, PAPER, soft))
        if worst < READABLE:
            raise ValueError(
                f"its contrast with the page is {worst:.1f} : 1, and text needs {READABLE} : 1; choose a darker colour"
            )
        dark_soft = mix(colour, NIGHT, 0.8)
        shades = (mix(colour, WHITE, step / _STEPS) for step in range(_STEPS + 1))
        readable = (
            shade
            for shade in shades
            if min(contrast(shade, under) for under in (NIGHT, dark_soft, INK)) >= READABLE + 0.5
        )
        return cls(light=colour.lower(), soft=soft, dark=next(readable, WHITE), dark_soft=dark_soft)


def mix(colour: str, other: str, share: float) -> str:
    """Return ``colour`` with a share (0 to 1) of ``other`` in it."""
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(one + (two - one) * share):02x}" for one, two in pairs)


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(channel / 255) for channel in _channels(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)


LARGEST_LOGO: Final = 100_000
"""Bytes: customers on a phone load it with the first page."""

_LOGOS: Final = {".svg": "image/svg+xml", ".png": "image/png", ".webp": "image/webp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Logo:
    """A picture and its media type."""

    content: bytes = field(repr=False)
    kind: str


def read_logo(path: str) -> Logo:
    """Read a logo; raises ValueError when it cannot be read, is of another kind, or is too large."""
    kind = _LOGOS.get(Path(path).suffix.lower())
    if kind is None:
        raise ValueError("it is none of .svg, .png, .webp")
    try:
        content = Path(path).read_bytes()
    except OSError as exc:
        raise ValueError(f"it cannot be read ({exc.strerror})") from exc
    if len(content) > LARGEST_LOGO:
        raise ValueError(f"it has {len(content):,} bytes; allowed are {LARGEST_LOGO:,}")
    return Logo(content=content, kind=kind)
