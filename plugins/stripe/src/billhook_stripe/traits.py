"""How Stripe behaves, as data."""

from __future__ import annotations

from typing import Final

from billhook.provider import ProviderInfo

INFO: Final = ProviderInfo(
    plugin="stripe",
    title="Stripe",
    unordered_events=True,
    thin_events=True,  # where an endpoint asks for them; snapshots otherwise
    late_failure=True,  # bank debits answer after days
    merchant_of_record=False,
    retries_itself=False,  # Smart Retries belong to Stripe's own invoices, not to the charges made here
)
"""Stripe only moves the money: tax, invoices and disputes are the merchant's."""
