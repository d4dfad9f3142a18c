"""Customers and their standing permissions, from what providers showed us."""

from __future__ import annotations

from collections.abc import Sequence

from billhook.events import CustomerObserved, MandateChanged
from billhook.model import Mandate
from billhook.projections.order import latest, latest_known, time_of


def project_customer(facts: Sequence[CustomerObserved]) -> CustomerObserved:
    """Return what was last seen of a customer at one provider."""
    return latest(facts)


def project_mandate(facts: Sequence[MandateChanged], *, customer_id: str | None) -> Mandate:
    """Compute a mandate from at least one fact about it."""
    last = latest(facts)
    return Mandate(
        ref=last.ref,
        status=last.status,
        at=time_of(last),
        customer_id=customer_id,
        provider_customer=latest_known(facts, lambda fact: fact.provider_customer),
        currency=latest_known(facts, lambda fact: fact.currency),
        method=latest_known(facts, lambda fact: fact.method),
    )
