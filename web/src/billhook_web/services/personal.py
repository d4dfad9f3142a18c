"""Which parts of a fact are a person's data, and the fact without them. Ids, amounts, times and refs are not.

Card brand, last digits and expiry stay: they are what a receipt shows, and name nobody without the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from billhook.events import Event, PaymentFailed
from billhook.model import Address
from billhook_web.stores.ledger import Statement

PERSONAL: Final = ("name", "email", "tax_id", "locale", "reason")
"""Fields that are emptied wherever a fact has them; reasons are free text, which people write names into. The time zone
stays: days of access are counted in it."""

_OURS = re.compile(r"billhook_\w+|\w+_(invoice_id|invoice_number|customer_id)")


def without_personal_data(said: Statement) -> Statement:
    """Return a statement whose fact names no person; its key stays that of the original."""
    return replace(said, fact=_emptied(said.fact))


def _emptied(fact: Event) -> Event:
    changes: dict[str, Any] = {name: None for name in PERSONAL if hasattr(fact, name)}
    if hasattr(fact, "address"):
        changes["address"] = Address()
    if hasattr(fact, "metadata"):
        changes["metadata"] = _ids(fact.metadata)
    if isinstance(fact, PaymentFailed):
        changes["decline"] = replace(fact.decline, message="")
    return replace(fact, **changes)


def _ids(metadata: Mapping[str, str]) -> dict[str, str]:
    """Keep what ties a payment to its invoice; others write there what they like."""
    return {name: value for name, value in metadata.items() if _OURS.fullmatch(name)}
