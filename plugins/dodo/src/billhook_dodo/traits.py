"""How Dodo behaves, as data."""

from __future__ import annotations

from typing import Final

from billhook.provider import ProviderInfo

INFO: Final = ProviderInfo(
    plugin="dodo",
    title="Dodo Payments",
    unordered_events=True,
    late_failure=True,  # UPI and bank debits answer after days
    merchant_of_record=True,
    retries_itself=False,  # it repeats its own renewals only, never the charges made here
)
"""Dodo is the seller: it owns tax and disputes and writes an invoice of its own."""
