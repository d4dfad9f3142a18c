"""Parts of request bodies: metadata, customers and addresses as Dodo takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Final

from billhook.model import Address, Customer

KEY: Final = "billhook_key"
"""The metadata key that carries our own idempotency key: what a look-up finds a charge by."""

# Both let a customer underpay or change what is owed, and both are on unless turned off.
LOCKED_FLAGS: Final = {"allow_discount_code": False, "allow_currency_selection": False}

_MOST_PAIRS = 50
_KEY_LENGTH = 40
_VALUE_LENGTH = 500
_REASON_LENGTH = 3000
_TAG = "billhook:"
_TAGGED = re.compile(r"\(billhook:([^()\s]+)\)$")
_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9_-]")
_COUNTRY = re.compile(r"[A-Z]{2}")


def metadata(given: Mapping[str, str], *, key: str | None = None) -> dict[str, str]:
    """Return ``given`` within Dodo's limits: 50 pairs, keys of 40 of ``A-Za-z0-9_-``, values of 500 characters.

    :param key: our key for a charge or refund. None for what is charged later under other keys: a mandate hands its
        metadata down to payments.
    """
    own = {KEY: key} if key else {}
    fitted = {
        _NOT_IN_KEYS.sub("_", name)[:_KEY_LENGTH]: value[:_VALUE_LENGTH]
        for name, value in given.items()
        if name != KEY
    }
    return dict(islice((own | fitted).items(), _MOST_PAIRS))


def reason(given: str | None, *, key: str) -> str:
    """Return a refund's reason with our key at its end.

    Dodo's published schema of a refund request has no metadata, so this is the one place for a key that Dodo keeps
    and shows again, in lists and in webhooks.
    """
    tag = f"({_TAG}{key})"
    return f"{(given or 'Refund')[: _REASON_LENGTH - len(tag) - 1]} {tag}"


def key_in(reason: str | None) -> str | None:
    """Return our key at the end of a refund's reason; None: the refund is not by us."""
    found = _TAGGED.search(reason or "")
    return found[1] if found else None


def customer(known: Customer | None, connection: str) -> dict[str, object]:
    """Return the ``customer`` part: by Dodo's id, else by e-mail (Dodo matches those), else nothing.

    Dodo wants a name beside the e-mail; without one the address stands in.
    """
    if known is None:
        return {}
    at_dodo = known.provider_ids.get(connection)
    if at_dodo:
        return {"customer": {"customer_id": at_dodo}}
    if known.email:
        return {"customer": {"email": known.email, "name": known.name or known.email}}
    return {}


def billing_address(known: Customer | None) -> dict[str, object]:
    """Return the ``billing_address`` part, or nothing while the country is not known: Dodo wants at least that."""
    address = known.address if known else Address()
    country = (address.country or "").upper()
    if not _COUNTRY.fullmatch(country):
        return {}
    street = ", ".join(line for line in (address.line1, address.line2) if line)
    parts = {
        "street": street or None,
        "city": address.city,
        "state": address.state,
        "zipcode": address.postal_code,
    }
    return {"billing_address": {"country": country} | {name: part for name, part in parts.items() if part}}
