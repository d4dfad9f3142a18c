"""The pages of the portal that there are: where its navigation leads, and where a link of the API may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from billhook_web.pages.words import N_


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A page of the portal. ``name``: what the API calls it; ``label``: what people read, translated when shown."""

    name: str
    path: str
    label: str
    icon: str


OVERVIEW: Final = Place(name="overview", path="/portal/", label=N_("Overview"), icon="receipt-text")

METHODS: Final = Place(
    name="payment-methods", path="/portal/payment-methods", label=N_("Payment methods"), icon="credit-card"
)

PLACES: Final[tuple[Place, ...]] = (OVERVIEW, METHODS)
"""In the order of the navigation. A page that is built adds itself here, with its routes in :mod:`billhook_web.portal`."""


def place(name: str) -> Place:
    """Return the place of this name; the overview when it is gone since."""
    return next((each for each in PLACES if each.name == name), OVERVIEW)
